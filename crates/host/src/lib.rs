//! The contract with a host, both directions in one place: the scripts that run there, what they
//! read, what they print.
//!
//! Nothing here runs anything. Questions become lines, and the lines of an answer become a
//! [`HostView`](etcdup_core::observation::HostView):
//!
//! ```
//! use etcdup_core::observation::Query;
//! use etcdup_host::query_text;
//!
//! assert_eq!(query_text(&[Query::Tool("tar")]), "tool|tar\nend\n");
//! ```
// A new step, content or decision must not compile until each place has said what it means there.
#![warn(clippy::wildcard_enum_match_arm)]

mod drill;
mod header;
mod history;
mod lease;
mod operations;
mod queries;
mod records;
mod reports;
pub mod scripts;

pub use drill::{DrillAnswer, DrillPlace, DrillRefused};
pub use header::Header;
pub use history::{LogEntry, LogLine, first_stages, read_log};
pub use lease::{LeaseAnswer, LeaseRequest};
pub use operations::{Body, Look, StageInput, Stamp, Supply, WrongSupply};
pub use queries::query_text;
pub use records::{Inspect, RecordsError, read_answer};
pub use reports::{StageReport, refusal};
