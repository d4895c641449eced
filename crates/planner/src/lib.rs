//! Decides what to do next. Pure: no host, no clock, no randomness.
//!
//! [`Planner::next`] looks at what was seen and says one stage, or that all is done, or what stands
//! in the way. [`Planner::predict`] says what the world looks like if the stage works.
//! [`Planner::forecast`] unfolds the one over the other; that is the plan a person reads.
//!
//! ```
//! use etcdup_core::{observation::Observation, stage::Goal, file::Document, topology::resolve};
//! use etcdup_planner::{Ending, Planner};
//!
//! let file = "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n[[member]]\nname = \"m1\"\nhost = \"10.0.1.10\"\n";
//! let topology = resolve(&Document::parse("etcdup.toml", file, &[])?.spec, |_| None)?;
//! let planner = Planner::new(topology, Goal::CONVERGE, None)?;
//! let forecast = planner.forecast(&Observation::new(jiff::Timestamp::UNIX_EPOCH));
//! assert!(matches!(forecast.ending, Ending::Blocked(_)), "no host was seen");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
// A new step, content or decision must not compile until each place has said what it means there.
#![warn(clippy::wildcard_enum_match_arm)]

mod assess;
mod forecast;
mod generation;
mod identity;
mod leg;
mod listed;
mod lists;
mod places;
mod plan_context;
mod planner;
mod predict;
mod preflight;
mod questions;
mod recovering;
mod restoring;
mod roster;
mod rules;
mod target;
mod trusted;

pub use assess::{Assessment, Cost, Difference};
pub use forecast::{Ending, Forecast};
pub use lists::converge::{CONVERGE, RuleRow};
pub use planner::{PLANNER_CHECKS, Planner};
pub use preflight::{HOST_UNSEEN, SOURCE_UNREADABLE};
pub use restoring::restore_under_way;
pub use rules::conflict::AUTH_DENIED;
pub use rules::put_back::PutBack;
pub use rules::transition::VERSION_FAILED;
pub use target::{DesiredFiles, Target};
