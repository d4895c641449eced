//! What a handler is given, and what it answers.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use etcdup_deploy::{Engine, Settings};
use serde_json::Value;

use crate::problem::Problem;

/// What to serve, and where.
#[derive(Clone)]
pub struct Options {
    /// The directory of topology files.
    pub directory: PathBuf,
    /// The loopback address to listen on.
    pub listen: SocketAddr,
    /// What the engine is made with.
    pub settings: Settings,
}

/// What a handler is given: the engine, the directory of topologies, and the cluster's name where
/// the path has one.
pub(crate) struct Call {
    pub(crate) engine: Engine,
    pub(crate) directory: Arc<PathBuf>,
    pub(crate) cluster: String,
}

pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Value, Problem>> + Send>>;
