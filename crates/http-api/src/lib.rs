//! A small read-only HTTP API over the topology files of a directory: each file is a cluster.
//!
//! ```no_run
//! use etcdup_deploy::{Cancel, Settings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = etcdup_http_api::Options {
//!     directory: "clusters".into(),
//!     listen: "127.0.0.1:8379".parse()?,
//!     settings: Settings::default(),
//! };
//! etcdup_http_api::serve(options, Cancel::new(), |address| println!("http://{address}/v1/health")).await?;
//! # Ok(())
//! # }
//! ```

mod call;
mod problem;
mod recent;
mod router;
mod routes;
mod serve;

pub use call::Options;
pub use router::ROUTES;
pub use serve::{ServeError, serve};
