//! What can go wrong on the way to a host.

use std::io;

use crate::script::OUTPUT_LIMIT;

/// Why a script could not be run. What it did is unknown where the link was lost.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The shell could not be started here.
    #[error("cannot start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// What the script was to read could not be read here.
    #[error("cannot read script input")]
    Input(#[source] io::Error),
    /// The script was silent for too long.
    #[error("script `{script}` produced no output for {seconds} s")]
    Silent {
        /// The script.
        script: &'static str,
        /// For so long.
        seconds: u64,
    },
    /// The script prints without end.
    #[error("`{script}` printed more than {} MiB", OUTPUT_LIMIT >> 20)]
    TooMuch {
        /// The script.
        script: &'static str,
    },
    /// sudo wants a password, or does not take the one it was given.
    #[error("sudo: {0}")]
    Sudo(String),
    /// By SSH.
    #[error(transparent)]
    Ssh(#[from] SshError),
}

/// What became of a dial that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// Nothing listens there; the port is reachable.
    #[error("connection refused")]
    Refused,
    /// No answer in time.
    #[error("no answer within {0} s")]
    Silent(u64),
    /// The host may not forward connections.
    #[error("the host's sshd does not allow TCP forwarding (AllowTcpForwarding)")]
    Forbidden,
    /// Anything else, in the system's words.
    #[error("{0}")]
    Other(String),
}

/// Why SSH does not work.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// The name does not resolve, or nothing answers.
    #[error("cannot connect to {host} port {port}: {why}")]
    Connect {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
        /// What happened.
        why: String,
    },
    /// The host's key is not trusted.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// No way to log in worked.
    #[error("SSH authentication failed for {user}@{host} (tried {tried})")]
    Auth {
        /// The login user.
        user: String,
        /// The host.
        host: String,
        /// What was tried.
        tried: String,
    },
    /// The jump hosts' list is not one.
    #[error("invalid jump host `{0}`: write [user@]host[:port], several joined with commas")]
    Jump(String),
    /// The way through jump hosts does not end.
    #[error(
        "{host} is reached through more than {most} jump hosts: see ProxyJump in the SSH configuration"
    )]
    TooManyJumps {
        /// The host.
        host: String,
        /// How many are followed.
        most: usize,
    },
    /// The user's ssh configuration reaches the host through a program, which etcdup does not run.
    #[error(
        "{host} is reached through a ProxyCommand in the SSH configuration (`{command}`), which etcdup does not run"
    )]
    ProxyCommand {
        /// The host.
        host: String,
        /// The command.
        command: String,
    },
    /// The link was lost: what a running script did is unknown.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The protocol failed.
    #[error("ssh: {0}")]
    Protocol(String),
}

impl From<russh::Error> for SshError {
    fn from(error: russh::Error) -> Self {
        match error {
            russh::Error::Disconnect
            | russh::Error::SendError
            | russh::Error::RecvError
            | russh::Error::HUP
            | russh::Error::KeepaliveTimeout
            | russh::Error::InactivityTimeout
            | russh::Error::IO(_) => SshError::Lost(error.to_string()),
            other => SshError::Protocol(other.to_string()),
        }
    }
}

/// Why a host's key is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// known_hosts does not name the host.
    #[error(
        "{host} is not in {file}; it shows {fingerprint}. Connect once with ssh, or set host-key = \"accept-new\" under [ssh]"
    )]
    Unknown {
        /// The host.
        host: String,
        /// The known_hosts file.
        file: String,
        /// The key it shows.
        fingerprint: String,
    },
    /// known_hosts names another key.
    #[error(
        "THE KEY OF {host} HAS CHANGED: {file}:{line} has {known}, it shows {fingerprint}. Find out why before you trust it"
    )]
    Changed {
        /// The host.
        host: String,
        /// The known_hosts file.
        file: String,
        /// Its line.
        line: usize,
        /// The key in it.
        known: String,
        /// The key the host shows.
        fingerprint: String,
    },
    /// The key is revoked.
    #[error("the key of {host}, {fingerprint}, is revoked by {file}:{line}")]
    Revoked {
        /// The host.
        host: String,
        /// The known_hosts file.
        file: String,
        /// Its line.
        line: usize,
        /// The key.
        fingerprint: String,
    },
    /// The file cannot be read or written.
    #[error("{file}: {why}")]
    File {
        /// The known_hosts file.
        file: String,
        /// What happened.
        why: String,
    },
}

impl From<HostKeyError> for russh::Error {
    fn from(_: HostKeyError) -> Self {
        russh::Error::UnknownKey
    }
}
