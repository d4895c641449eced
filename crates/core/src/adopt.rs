//! From what runs to a topology file that says the same: for clusters that somebody else made.

mod read;
mod write;

pub use read::{AdoptError, AdoptTarget};
pub use write::{AdoptFilter, OperatorFiles, adopt};
