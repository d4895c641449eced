//! What a run holds while it carries out stages.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use etcdup_core::operation::Verb;
use etcdup_core::stage::Goal;
use etcdup_core::version::EtcdVersion;
use etcdup_pki::Issued;
use etcdup_planner::Planner;
use tokio::sync::OnceCell;

use crate::binaries::release::{self, Binary, Ready};
use crate::error::DeployError;
use crate::lease::Leases;
use crate::session::Session;
use crate::snapshots::{SnapshotFault, verify};
use crate::tasks::blocking;

/// Binaries that are ready to be sent, by release and architecture.
pub(crate) type Prepared = BTreeMap<EtcdVersion, BTreeMap<String, Binary>>;

/// What a run holds while it carries out stages.
pub(crate) struct Run<'a> {
    pub(crate) session: &'a Session,
    pub(crate) planner: &'a Planner,
    pub(crate) leases: &'a Leases,
    pub(crate) binaries: &'a Prepared,
    pub(crate) verb: Verb,
    /// Pairs that were issued in this stage, so that certificate and key of one place belong
    /// together. They live on their hosts alone once it is done.
    pub(crate) pairs: Mutex<BTreeMap<String, Issued>>,
    /// The snapshot that is restored: read once, however many hosts get it.
    pub(crate) snapshot: OnceCell<Ready>,
}

impl Run<'_> {
    /// The snapshot that is restored, once it was read to its end and is the one that was ordered.
    pub(crate) async fn snapshot(&self) -> Result<Option<Ready>, DeployError> {
        let Goal::Restore { order } = self.planner.goal() else {
            return Ok(None);
        };
        let read = || async {
            let order = order.clone();
            blocking(move || {
                let path = Path::new(&order.path);
                let sha256 = verify(path)?;
                if sha256 != order.sha256 {
                    return Err(DeployError::Snapshot(SnapshotFault::Another {
                        what: path.display().to_string(),
                        found: sha256,
                        meant: order.sha256.clone(),
                    }));
                }
                Ok(release::ready(path)?)
            })
            .await
        };
        self.snapshot.get_or_try_init(read).await.cloned().map(Some)
    }
}
