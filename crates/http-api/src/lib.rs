//! The HTTP API over the topology files of a directory: each file is a cluster.
//!
//! Every path but a few takes a token with a role; one table says which ([`TABLE`]), and
//! [`openapi`] tells the same to programs.
//!
//! ```no_run
//! use etcdup_deploy::{Cancel, Settings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = etcdup_http_api::Options {
//!     directory: "clusters".into(),
//!     listen: "127.0.0.1:8379".parse()?,
//!     tls: None,
//!     host_names: Vec::new(),
//!     origins: Vec::new(),
//!     watch_every: std::time::Duration::from_secs(10),
//!     settings: Settings::default(),
//! };
//! let bound = |bound: etcdup_http_api::Bound| println!("http://{}/healthz", bound.address);
//! etcdup_http_api::serve(options, Cancel::new(), bound).await?;
//! # Ok(())
//! # }
//! ```

mod audit;
mod blocking;
mod call;
mod gates;
mod guard;
mod keep;
mod keys;
mod metrics;
mod open;
mod openapi;
mod page;
mod plans;
mod problem;
mod recent;
mod respond;
mod router;
mod routes;
mod row;
mod schedule;
mod serve;
mod session;
mod stream;
mod table;
mod tls;
mod token;
mod topologies;
mod veil;
mod watch;

pub use audit::{AuditEntry, note};
pub use call::Options;
pub use openapi::openapi;
pub use page::HAS_DASHBOARD;
pub use problem::{CHECKS, Place, PlacedFinding, ProblemDocument};
pub use row::{
    Gives, Method, Parameter, ParameterPlace, ParameterValue, Row, SchemaOf, Takes, Verb,
};
pub use serve::{Bound, ServeError, serve};
pub use table::TABLE;
pub use tls::{TlsError, TlsFiles};
pub use token::{Role, Token, TokenError, Tokens};
