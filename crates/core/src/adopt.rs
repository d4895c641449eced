//! From a running cluster to the topology file that describes it: for clusters that etcdup did not
//! create.

mod read;
mod write;

pub use read::{AdoptError, AdoptTarget};
pub use write::{AdoptFilter, OperatorFiles, adopt};
