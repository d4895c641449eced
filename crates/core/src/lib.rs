//! The domain of etcdup: what an etcd cluster should be, what was seen of one, and what to do about
//! the difference.
//!
//! Nothing here reads a file, a clock or a network. A topology file becomes a
//! [`topology::Topology`]:
//!
//! ```
//! use etcdup_core::topology::{ClusterState, resolve};
//! use etcdup_core::file::Document;
//!
//! let file = r#"
//! format = 1
//! cluster = "prod"
//! etcd = "3.5.30"
//!
//! [[member]]
//! name = "m1"
//! host = "10.0.1.10"
//! "#;
//! let document = Document::parse("etcdup.toml", file, &[])?;
//! let topology = resolve(&document.spec, |_| None)?;
//! let flags = topology.flags(&topology.members[0], ClusterState::New);
//! assert_eq!(flags.get("initial-cluster"), Some("m1=https://10.0.1.10:2380"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod adopt;
pub mod certificate;
pub mod digest;
pub mod event;
pub mod file;
pub mod finding;
pub mod flag;
pub mod host;
pub mod known_issue;
pub mod lint;
pub mod membership;
pub mod name;
pub mod observation;
pub mod observed;
pub mod operation;
pub mod path;
pub mod plain;
pub mod recover;
pub mod restore;
pub mod runner;
pub mod secret;
pub mod sources;
pub mod stage;
pub mod topology;
pub mod url;
pub mod version;
