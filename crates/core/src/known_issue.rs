//! What is known of etcd's releases: which to avoid, and which may follow which.

mod route;
mod table;

pub use route::{FIRST_WITHOUT_V2, NoRoute, route};
pub use table::{ADVISORIES, Advisory, Severity, advisories};
