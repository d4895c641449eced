//! The handlers: thin calls of the library.

pub(crate) mod about;
pub(crate) mod adopt;
pub(crate) mod clusters;
pub(crate) mod operations;
pub(crate) mod people;
pub(crate) mod plans;
pub(crate) mod snapshots;
