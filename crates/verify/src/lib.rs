//! Proves that an etcd cluster is healthy: a small etcd client, evidence gathered by it, and checks over the evidence.
//!
//! The client speaks through any [`Dial`], so the client port may be closed to whoever verifies.
//!
//! ```no_run
//! use std::sync::Arc;
//! use etcdup_verify::{Access, Endpoint, MemberClient, TcpDial};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint = Endpoint { authority: "127.0.0.1:2379".into(), server_name: "127.0.0.1".into() };
//! let dial = Arc::new(TcpDial::new("127.0.0.1", 2379));
//! let client = MemberClient::new(&endpoint, &Access::Plain, dial)?;
//! println!("{:?}", client.view().await?);
//! # Ok(())
//! # }
//! ```

mod checks;
mod client;
mod dial;
mod gather;
mod messages;
mod metrics;
mod tls;

pub use checks::{Evidence, VERIFY_CHECKS, judge};
pub use client::{ClientError, Endpoint, MemberClient};
pub use dial::{BoxIo, Dial, Io, TcpDial};
pub use gather::{Anonymous, Asked, MemberEvidence, gather};
pub use tls::{Access, TlsError};
