//! What lands on a host for an etcd member: its unit or start file, and its certificates.
//!
//! Needs neither SSH nor etcd. A member's files follow from the topology alone:
//!
//! ```
//! use etcdup_core::topology::{ClusterState, resolve};
//! use etcdup_core::file::Document;
//! use etcdup_render::Renderer;
//!
//! let file = "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n[[member]]\nname = \"m1\"\nhost = \"10.0.1.10\"\n";
//! let topology = resolve(&Document::parse("etcdup.toml", file, &[])?.spec, |_| None)?;
//! let artifacts = Renderer::new(None)?.artifacts(&topology, &topology.members[0], ClusterState::New)?;
//! let paths: Vec<_> = artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
//! assert!(paths.contains(&"/etc/systemd/system/etcd.service"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod artifacts;
mod connect;
mod process;
mod static_pod;
mod systemd;
mod template;

pub use connect::{ClientFiles, Program};
pub use static_pod::image;
pub use template::{Form, RenderError, Renderer, UnitTemplate};
