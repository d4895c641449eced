//! From names and records to clusters.

use std::sync::Arc;

use etcdup_core::operation::OperationRecord;
use etcdup_deploy::Cluster;

use crate::blocking::blocking;
use crate::call::State;
use crate::problem::Problem;

/// The cluster of this name.
pub(crate) async fn open(state: &Arc<State>, name: &str) -> Result<Cluster, Problem> {
    let (state, name) = (Arc::clone(state), name.to_owned());
    blocking(move || {
        let (document, path) = state.topologies.open(&name)?;
        Ok(state.engine.cluster(document, &path)?)
    })
    .await?
}

/// The cluster of a record, if its file is as it was when the operation was begun.
pub(crate) async fn open_recorded(
    state: &Arc<State>,
    record: &OperationRecord,
) -> Result<Cluster, Problem> {
    let (state, record) = (Arc::clone(state), record.clone());
    blocking(move || {
        let (document, path) = state.topologies.recorded(&record)?;
        Ok(state.engine.cluster(document, &path)?)
    })
    .await?
}
