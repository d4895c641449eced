//! The rules: one file for each family. `lists` says in which order they are asked.

pub(crate) mod clean_up;
pub(crate) mod conflict;
pub(crate) mod expired;
pub(crate) mod files;
pub(crate) mod grow;
pub(crate) mod install;
pub(crate) mod moved;
pub(crate) mod needs;
pub(crate) mod operator;
pub(crate) mod provided;
pub(crate) mod put_back;
pub(crate) mod record;
pub(crate) mod relocate;
pub(crate) mod restart;
pub(crate) mod restored;
pub(crate) mod roll;
pub(crate) mod roster;
pub(crate) mod shrink;
pub(crate) mod spare;
pub(crate) mod start;
pub(crate) mod time;
pub(crate) mod transition;
pub(crate) mod trust;
pub(crate) mod version;
pub(crate) mod wait;
