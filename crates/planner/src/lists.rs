//! Which rules are asked in which order, for each goal.

pub(crate) mod abort_restore;
pub(crate) mod care;
pub(crate) mod converge;
pub(crate) mod on_hosts;
pub(crate) mod recover;
pub(crate) mod reset;
pub(crate) mod restore;
