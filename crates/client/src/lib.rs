//! A client of one etcd member, over any connection.
//!
//! Whoever uses it brings the [`Dial`], so a member's client port may be closed to this machine.
//!
//! ```no_run
//! use std::sync::Arc;
//! use etcdup_client::{Access, Endpoint, MemberClient, Plain, TcpDial};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint = Endpoint { authority: "127.0.0.1:2379".into(), server_name: "127.0.0.1".into(), also: Vec::new(), plain: Plain::Only };
//! let dial = Arc::new(TcpDial::new("127.0.0.1", 2379));
//! let client = MemberClient::new(&endpoint, &Access::Plain, dial)?;
//! println!("{:?}", client.view().await?);
//! # Ok(())
//! # }
//! ```

mod client;
mod dial;
mod get;
mod membership;
mod messages;
mod refusal;
mod snapshot;
mod stream;
mod tls;

pub use client::MemberClient;
pub use dial::{BoxIo, Dial, Endpoint, Io, Plain, TcpDial};
pub use get::get;
pub use membership::MembershipError;
pub use refusal::ClientError;
pub use snapshot::{Snapshot, SnapshotPiece};
pub use tls::{Access, Identities, TlsError};
