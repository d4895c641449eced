//! What is known of etcd's releases: which to avoid, and which may follow which.

mod route;
mod table;

pub use route::{NoRoute, may_follow};
pub use table::{ADVISORIES, Advisory, Severity, advisories};
