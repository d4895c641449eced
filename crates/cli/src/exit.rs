//! What the exit status says.

/// All is done, or there was nothing to do.
pub(crate) const DONE: u8 = 0;
/// Something failed, or a check found an error.
pub(crate) const FAILED: u8 = 1;
/// There are changes to apply (`plan --detailed-exitcode`).
pub(crate) const CHANGES: u8 = 2;
/// The plan was not approved, or is no longer the one that was.
pub(crate) const UNAPPROVED: u8 = 3;
/// A check blocks what comes next; stages that were done before it stay done.
pub(crate) const BLOCKED: u8 = 4;
/// The command line is not understood.
pub(crate) const USAGE: u8 = 64;
/// Another operator is at work.
pub(crate) const LOCKED: u8 = 75;
/// The operator stopped it.
pub(crate) const STOPPED: u8 = 130;
