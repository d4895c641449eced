//! Proves that an etcd cluster is healthy: evidence gathered from its members, and checks over the
//! evidence.
//!
//! ```no_run
//! use std::sync::Arc;
//! use etcdup_client::{Access, Endpoint, Plain, TcpDial};
//! use etcdup_verify::gather;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint = Endpoint { authority: "127.0.0.1:2379".into(), server_name: "127.0.0.1".into(), also: Vec::new(), plain: Plain::Only };
//! let dial = Arc::new(TcpDial::new("127.0.0.1", 2379));
//! let evidence = gather(vec![("m1".parse()?, endpoint, dial)], &Access::Plain, false).await;
//! println!("{evidence:?}");
//! # Ok(())
//! # }
//! ```

mod checks;
mod gather;
mod metrics;

pub use checks::{Evidence, VERIFY_CHECKS, evaluate};
pub use gather::{Anonymous, MemberEvidence, MemberTarget, gather};
pub use metrics::Metrics;
