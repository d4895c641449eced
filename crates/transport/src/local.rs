//! This very machine.

use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use zeroize::Zeroizing;

use crate::error::{DialError, TransportError};
use crate::script::Script;
use crate::transport::{BoxIo, Input, Output, Transport, Watch};

const DIAL: Duration = Duration::from_secs(2);

/// Runs scripts here, in a shell of choice.
#[derive(Clone)]
pub struct Local {
    program: Vec<String>,
    /// sudo's password, sent before all else.
    password: Option<Zeroizing<String>>,
}

impl Local {
    /// With this shell, which may have arguments: `sh`, `busybox sh`, `sudo -n sh`.
    #[must_use]
    pub fn new(shell: &str) -> Self {
        Self {
            program: shell.split_whitespace().map(str::to_owned).collect(),
            password: None,
        }
    }

    /// Whether sudo works here without a password.
    pub async fn sudo_is_free() -> bool {
        let tried = Command::new("sudo")
            .args(["-k", "-n", "--", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .status();
        let ended = tokio::time::timeout(Duration::from_secs(30), tried).await;
        matches!(ended, Ok(Ok(status)) if status.success())
    }

    /// As root, by sudo with this password.
    ///
    /// # Errors
    /// When sudo refuses: a wrong password must show before any payload, whose lines sudo would
    /// read as the next tries.
    pub async fn with_sudo(password: Zeroizing<String>) -> Result<Self, TransportError> {
        // Where sudo asks for nothing, the password would stay on standard input and become the
        // script's first line.
        if Self::sudo_is_free().await {
            return Ok(Self::new("sudo -n sh"));
        }
        let refused = |why: String| TransportError::Sudo(why);
        let mut child = Command::new("sudo")
            .args(["-k", "-S", "-p", "", "--", "true"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| refused(error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            let line = Zeroizing::new(format!("{}\n", password.as_str()));
            stdin.write_all(line.as_bytes()).await.ok();
        }
        let ended = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output()).await;
        match ended {
            Ok(Ok(output)) if output.status.success() => Ok(Self {
                password: Some(password),
                ..Self::new("sudo -k -S -p= -- sh")
            }),
            Ok(Ok(output)) => {
                let words = String::from_utf8_lossy(&output.stderr);
                Err(refused(
                    words.trim().lines().last().unwrap_or("no").to_owned(),
                ))
            }
            Ok(Err(error)) => Err(refused(error.to_string())),
            Err(_) => Err(refused("no answer within 30 s".to_owned())),
        }
    }
}

#[async_trait]
impl Transport for Local {
    async fn run_watched(
        &self,
        script: &'static Script,
        mut input: Input<'_>,
        watch: Watch<'_>,
    ) -> Result<Output, TransportError> {
        let start = |source| TransportError::Start {
            program: self.program.join(" "),
            source,
        };
        let (program, arguments) = self
            .program
            .split_first()
            .ok_or_else(|| start(std::io::ErrorKind::NotFound.into()))?;
        let mut child = Command::new(program)
            .args(arguments)
            .arg("-c")
            .arg(script.text())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C at the terminal is for etcdup, which lets the script come to its end.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let moved = AtomicU64::new(0);
        let feed = async {
            if let Some(mut stdin) = stdin {
                if let Some(password) = &self.password {
                    let line = Zeroizing::new(format!("{}\n", password.as_str()));
                    stdin.write_all(line.as_bytes()).await.ok();
                }
                let mut buffer = vec![0; 64 * 1024];
                loop {
                    let read = input
                        .read(&mut buffer)
                        .await
                        .map_err(TransportError::Input)?;
                    // A script that stops reading has its reasons: its stderr explains why.
                    if read == 0 || stdin.write_all(&buffer[..read]).await.is_err() {
                        break;
                    }
                    moved.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok::<(), TransportError>(())
        };
        let collect = async {
            let mut output = Output::default();
            let mut complaints = Vec::new();
            let (mut out, mut err) = (stdout, stderr);
            let read_out = async {
                let Some(out) = &mut out else {
                    return Ok::<(), TransportError>(());
                };
                let mut buffer = vec![0; 16 * 1024];
                while let Ok(read @ 1..) = out.read(&mut buffer).await {
                    moved.fetch_add(1, Ordering::Relaxed);
                    watch(&buffer[..read]);
                    output.add(&buffer[..read], script)?;
                }
                Ok(())
            };
            let read_err = async {
                if let Some(err) = &mut err {
                    err.read_to_end(&mut complaints).await.ok()
                } else {
                    None
                }
            };
            let (read, _) = tokio::join!(read_out, read_err);
            output.stderr = complaints;
            (read, output)
        };
        let silence = async {
            let mut before = 0;
            loop {
                tokio::time::sleep(script.idle).await;
                let now = moved.load(Ordering::Relaxed);
                if now == before {
                    return TransportError::Silent {
                        script: script.name,
                        seconds: script.idle.as_secs(),
                    };
                }
                before = now;
            }
        };
        let (fed, (read, mut output)) = tokio::select! {
            ended = async { tokio::join!(feed, collect) } => ended,
            silent = silence => return Err(silent),
        };
        read?;
        let status = child.wait().await.map_err(start)?;
        fed?;
        output.status = status.code().and_then(|code| u32::try_from(code).ok());
        Ok(output)
    }

    async fn dial(&self, address: &str, port: u16) -> Result<BoxIo, DialError> {
        let bare = address.trim_matches(['[', ']']);
        match tokio::time::timeout(DIAL, TcpStream::connect((bare, port))).await {
            Err(_) => Err(DialError::Silent(DIAL.as_secs())),
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).ok();
                Ok(Box::new(stream))
            }
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Err(DialError::Refused)
            }
            Ok(Err(error)) => Err(DialError::Other(error.to_string())),
        }
    }

    fn is_open(&self) -> bool {
        true
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    /// How long a script may take is its own affair, as long as it says something.
    #[tokio::test]
    async fn a_script_is_given_up_when_it_is_silent() {
        static SAYS: Script = Script::new("says", "for n in 1 2 3 4; do sleep 0.4; echo $n; done")
            .with_idle_timeout(Duration::from_millis(900));
        static SILENT: Script =
            Script::new("silent", "sleep 30").with_idle_timeout(Duration::from_millis(900));
        let run = |script| {
            let local = Local::new("sh");
            async move { local.run(script, Box::new(tokio::io::empty())).await }
        };
        assert_eq!(run(&SAYS).await.unwrap().text(), "1\n2\n3\n4\n");
        let silent = run(&SILENT).await;
        assert!(
            matches!(
                silent,
                Err(TransportError::Silent {
                    script: "silent",
                    ..
                })
            ),
            "{silent:?}"
        );
    }
}
