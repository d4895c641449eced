//! Clients that open connections all the time, to run beside whatever might refuse one.

use std::process::{Child, Command, Stdio};

use crate::lab::Lab;
use crate::outcome::{Outcome, ensure, note};
use crate::setup::root;

/// Where the record of a run lies, in the lab's directory.
const RECORD: &str = "connected";

/// Clients that run.
pub(crate) struct Reconnects<'a> {
    lab: &'a Lab,
    running: Child,
}

impl<'a> Reconnects<'a> {
    /// Starts to connect to members 1 to `members` with each of these certificates: `tester` is
    /// `tester.crt` with its key.
    pub(crate) fn start(
        lab: &'a Lab,
        ca: &str,
        names: &[&str],
        members: u32,
    ) -> Result<Self, String> {
        let program = root().join("xtask/testbed/reconnects.py");
        let mut arguments = vec![program.to_str().unwrap_or_default(), RECORD, ca];
        arguments.extend(names);
        arguments.push("--");
        let urls = Lab::endpoints(members);
        arguments.extend(urls.split(','));
        let mut command = lab.command("python3", &arguments);
        let spawned = command.stdout(Stdio::null()).spawn();
        let running = spawned.map_err(|error| format!("clients: {error}"))?;
        Ok(Self { lab, running })
    }

    /// Stops them. Fails where one was refused, or few connected.
    pub(crate) fn stop(mut self) -> Outcome {
        let ask = Command::new("kill")
            .arg(self.running.id().to_string())
            .status();
        ask.map_err(|error| error.to_string())?;
        let ended = self.running.wait().map_err(|error| error.to_string())?;
        ensure(ended.success(), format!("the clients ended with {ended}"))?;
        let record = self.lab.read(RECORD)?;
        ensure(!record.contains("refused"), &record)?;
        for line in record.lines() {
            let count = |word: &str| {
                let after = line.split_once(word).map_or("", |(_, after)| after);
                let digits = after.split([' ', ',']).next().unwrap_or_default();
                digits.parse::<u64>().unwrap_or(0)
            };
            // Members that restart one at a time cut fewer than they serve. One that is down
            // refuses at once, so that a slow start is many attempts.
            ensure(
                count("connected ") >= 100 && count(", cut ") <= count("connected "),
                &record,
            )?;
            note!("{line}, none refused");
        }
        Ok(())
    }
}

impl Drop for Reconnects<'_> {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}
