//! Checks of the topology that need no host: all at once, each with its place and a way out.

mod binaries;
mod duplicate;
mod file;
mod flags;
mod resolved;
mod rows;
mod version;

pub use file::lint;
pub use resolved::lint_resolved;
pub use rows::LINTS;
