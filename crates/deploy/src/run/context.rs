//! What a run holds while it carries out stages.

use std::collections::BTreeMap;
use std::sync::Mutex;

use etcdup_core::operation::Verb;
use etcdup_core::version::EtcdVersion;
use etcdup_pki::Issued;
use etcdup_planner::Planner;

use crate::binaries::release::Binary;
use crate::lease::Leases;
use crate::session::Session;

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
}
