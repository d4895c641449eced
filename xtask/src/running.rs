//! etcdup at work, while a test goes on.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::outcome::{Outcome, ensure};

/// How often it is looked at.
const EACH: Duration = Duration::from_millis(50);

/// A program that was started, killed when dropped.
pub(crate) struct Running {
    child: Child,
    /// What it prints, both streams in one file that has no name any more.
    printed: File,
}

impl Running {
    /// Starts it. What it prints is kept for whoever asks why something did not come about.
    pub(crate) fn start(mut command: Command) -> Result<Self, String> {
        let mut start = || {
            let printed = tempfile::tempfile()?;
            command.stdout(Stdio::from(printed.try_clone()?));
            command.stderr(Stdio::from(printed.try_clone()?));
            let child = command.spawn()?;
            Ok(Self { child, printed })
        };
        start().map_err(|error: std::io::Error| error.to_string())
    }

    /// Its process ID.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        self.child.try_wait().map_err(|error| error.to_string())
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus, String> {
        self.child.wait().map_err(|error| error.to_string())
    }

    /// Kills it. Whether that cut it short: it may have ended by itself before.
    pub(crate) fn kill(&mut self) -> Result<bool, String> {
        if self.ended()?.is_some() {
            return Ok(false);
        }
        // It may end in between, which `wait` says.
        let _ = self.child.kill();
        Ok(self.wait()?.code().is_none())
    }

    /// Waits until `holds`, while it runs; otherwise fails with what it printed.
    pub(crate) fn until(
        &mut self,
        within: Duration,
        what: &str,
        holds: impl Fn() -> Result<bool, String>,
    ) -> Outcome {
        let start = Instant::now();
        while !holds()? {
            let ended = self.ended()?;
            // What it brought about may have come just before its end.
            if ended.is_some() && holds()? {
                break;
            }
            let how = match ended {
                Some(status) => format!("it ended with {status}"),
                None => format!("within {} s", within.as_secs()),
            };
            ensure(
                ended.is_none() && start.elapsed() < within,
                format!("not {what}: {how}\n{}", self.printed()),
            )?;
            thread::sleep(EACH);
        }
        Ok(())
    }

    /// What it has printed so far.
    pub(crate) fn printed(&self) -> String {
        // Read by position: the program's own place in the file is the same one, and stays.
        let mut text = vec![0; 1 << 16];
        match self.printed.read_at(&mut text, 0) {
            Ok(length) => String::from_utf8_lossy(&text[..length]).into_owned(),
            Err(error) => format!("what it printed could not be read: {error}"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
