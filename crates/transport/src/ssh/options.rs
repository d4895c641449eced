//! Where to connect, and how.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::ask::Prompt;
use super::config::SshHop;

/// How to become root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SudoUse {
    /// Not at all.
    No,
    /// Without a password.
    Free,
    /// With a password, asked once.
    Password,
}

/// Where to connect and how.
#[derive(Clone)]
pub struct SshOptions {
    /// The host and the jump hosts before it.
    pub hop: SshHop,
    /// Jump hosts, first to last, as `[user@]host[:port]`.
    pub jump: Vec<String>,
    /// How to become root; `None` decides by the login user.
    pub sudo: Option<SudoUse>,
    /// The known_hosts file; the user's own when `None`.
    pub known_hosts: Option<PathBuf>,
    /// What to do with a host it does not name.
    pub unknown_hosts: UnknownHosts,
    /// Who is asked for passwords and passphrases.
    pub ask: Arc<dyn Prompt>,
    /// How long connecting and logging in may take.
    pub connect: Duration,
    /// How long a dial may take.
    pub dial: Duration,
}

/// What to do with a host that known_hosts does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownHosts {
    /// Refuse it.
    Refuse,
    /// Accept it and write its key down.
    AcceptNew,
    /// Accept any key, as Vagrant does for machines that are recreated all the time.
    AcceptAny,
}
