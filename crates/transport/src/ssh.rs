//! SSH hosts: one connection for a whole run, scripts on channels, dials by direct-tcpip.

mod ask;
mod auth;
mod config;
mod connect;
mod exec;
mod handler;
mod host_key;
mod options;

pub use ask::{Credential, Prompt};
pub use config::SshHop;
pub use options::{SshOptions, SudoUse, UnknownHosts};

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use russh::ChannelOpenFailure;
use russh::client::Handle;
use tokio::sync::{Mutex, Semaphore};
use zeroize::Zeroizing;

use self::handler::{Client, Shared};
use crate::error::{DialError, SshError, TransportError};
use crate::script::Script;
use crate::transport::{BoxIo, Input, Output, Transport, Watch};

/// sshd allows ten sessions a connection (MaxSessions); two are left for others.
const SESSIONS: usize = 8;

/// Asks sudo for nothing but whether it lets us in; its PAM modules may take their time.
static SUDO: Script = Script::new("sudo", "").with_idle_timeout(Duration::from_secs(30));

/// A connection to a host.
pub struct Ssh {
    handle: Arc<Handle<Client>>,
    shared: Arc<Shared>,
    /// Connections to jump hosts, which must outlive this one.
    _through: Vec<Arc<Handle<Client>>>,
    sudo: SudoUse,
    password: Option<Zeroizing<String>>,
    sessions: Semaphore,
    dialling: Mutex<()>,
    dial: Duration,
}

impl Ssh {
    /// Connects, through jump hosts where there are some, checks host keys and logs in.
    ///
    /// # Errors
    /// When any of that fails or takes too long.
    pub async fn connect(options: &SshOptions) -> Result<Self, TransportError> {
        let (handle, shared, through, hop) = connect::open(options).await?;
        tracing::debug!(
            host = hop.host,
            user = hop.user,
            port = hop.port,
            "connected"
        );
        let sudo = options.sudo.unwrap_or(if hop.user == "root" {
            SudoUse::No
        } else {
            SudoUse::Free
        });
        let sudo = if hop.user == "root" {
            SudoUse::No
        } else {
            sudo
        };
        let mut ssh = Self {
            handle,
            shared,
            _through: through,
            sudo,
            password: None,
            sessions: Semaphore::new(SESSIONS),
            dialling: Mutex::new(()),
            dial: options.dial,
        };
        // Where sudo asks for nothing, the password would stay on standard input and become the
        // script's first line.
        if sudo == SudoUse::Password && ssh.sudo_is_free().await? {
            ssh.sudo = SudoUse::Free;
        }
        if ssh.sudo == SudoUse::Password {
            let question = Credential::Sudo {
                user: hop.user.clone(),
                host: hop.host.clone(),
            };
            let ask = Arc::clone(&options.ask);
            let password = tokio::task::spawn_blocking(move || ask.ask(&question))
                .await
                .ok()
                .flatten();
            let password = password.ok_or_else(|| {
                TransportError::Sudo("a password is needed and none was given".to_owned())
            })?;
            ssh.check_password(&password).await?;
            ssh.password = Some(password);
        }
        Ok(ssh)
    }

    async fn sudo_is_free(&self) -> Result<bool, TransportError> {
        let output = exec::exec(
            &self.handle,
            "sudo -k -n -- true",
            Box::new(&b""[..]),
            &SUDO,
            &|_| {},
        )
        .await?;
        Ok(output.status == Some(0))
    }

    /// A wrong password must show before any payload: sudo would read the payload's lines as the
    /// next tries.
    async fn check_password(&self, password: &Zeroizing<String>) -> Result<(), TransportError> {
        let line = Zeroizing::new(format!("{}\n", password.as_str()));
        let output = exec::exec(
            &self.handle,
            "sudo -k -S -p '' -- true",
            Box::new(line.as_bytes()),
            &SUDO,
            &|_| {},
        )
        .await?;
        if output.status == Some(0) {
            Ok(())
        } else {
            Err(TransportError::Sudo(output.last_stderr_line()))
        }
    }

    fn command(&self, script: &Script) -> String {
        match self.sudo {
            SudoUse::No => format!("exec {}", script.command()),
            SudoUse::Free => format!("exec sudo -n -- {}", script.command()),
            // Without -k a cached credential would leave the password in the payload.
            SudoUse::Password => format!("exec sudo -k -S -p '' -- {}", script.command()),
        }
    }
}

#[async_trait]
impl Transport for Ssh {
    async fn run_watched(
        &self,
        script: &'static Script,
        input: Input<'_>,
        watch: Watch<'_>,
    ) -> Result<Output, TransportError> {
        let _permit = self
            .sessions
            .acquire()
            .await
            .map_err(|_| SshError::Lost("closed".to_owned()))?;
        let input: Input<'_> = match &self.password {
            Some(password) => {
                let line = Zeroizing::new(format!("{}\n", password.as_str()).into_bytes());
                Box::new(tokio::io::AsyncReadExt::chain(
                    std::io::Cursor::new(line),
                    input,
                ))
            }
            None => input,
        };
        let output = exec::exec(&self.handle, &self.command(script), input, script, watch).await?;
        if self.sudo == SudoUse::Free
            && output.status == Some(1)
            && output.last_stderr_line().starts_with("sudo:")
        {
            return Err(TransportError::Sudo(
                output
                    .last_stderr_line()
                    .trim_start_matches("sudo: ")
                    .to_owned(),
            ));
        }
        Ok(output)
    }

    async fn dial(&self, address: &str, port: u16) -> Result<BoxIo, DialError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let handle = Arc::clone(&self.handle);
        let address = address.trim_matches(['[', ']']).to_owned();
        // Opened by a task of its own: one that is given up must still be closed when its answer
        // comes.
        tokio::spawn(async move {
            let opened = handle
                .channel_open_direct_tcpip(address, u32::from(port), "127.0.0.1", 0)
                .await;
            let _ = sender.send(opened.map(russh::Channel::into_stream));
        });
        match tokio::time::timeout(self.dial, receiver).await {
            Err(_) => Err(DialError::Silent(self.dial.as_secs())),
            Ok(Err(_)) => Err(DialError::Other("connection lost".to_owned())),
            Ok(Ok(Ok(stream))) => Ok(Box::new(stream)),
            Ok(Ok(Err(russh::Error::ChannelOpenFailure(failure)))) => {
                Err(self.failure(&failure).await)
            }
            Ok(Ok(Err(error))) => Err(DialError::Other(error.to_string())),
        }
    }

    fn is_open(&self) -> bool {
        !self.handle.is_closed()
    }

    async fn close(&self) {
        self.handle
            .disconnect(russh::Disconnect::ByApplication, "", "en")
            .await
            .ok();
    }
}

impl Ssh {
    /// What an open failure means. The code does not tell refused from unreachable; sshd's words
    /// do, and they come a moment later by another way.
    async fn failure(&self, failure: &ChannelOpenFailure) -> DialError {
        let _one = self.dialling.lock().await;
        if *failure == ChannelOpenFailure::AdministrativelyProhibited {
            return DialError::Forbidden;
        }
        for _ in 0..50 {
            if let Some(words) = self.shared.take_words() {
                let low = words.to_lowercase();
                let silent = ["timed out", "no route", "unreachable"]
                    .iter()
                    .any(|part| low.contains(part));
                return if low.contains("refused") || low.is_empty() {
                    DialError::Refused
                } else if silent {
                    DialError::Silent(self.dial.as_secs())
                } else {
                    DialError::Other(words)
                };
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        DialError::Other("no reason given".to_owned())
    }
}
