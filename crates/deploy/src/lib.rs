//! Brings an etcd cluster to what a topology file says, and proves it. Everything that frontends
//! need is here: an [`Engine`] has what a process has once, a [`Cluster`] is a topology that can be
//! planned, verified and changed, and an [`Operation`] changes it.
//!
//! ```no_run
//! use etcdup_core::operation::{Verb, Who};
//! use etcdup_core::stage::Goal;
//! use etcdup_deploy::{Begin, Engine, Settings, Store, read_topology};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::new(Settings::default(), Store::beside(".".as_ref()));
//! let cluster = engine.cluster(read_topology("etcdup.toml".as_ref(), &[])?, "etcdup.toml".as_ref())?;
//! let plan = cluster.plan(Goal::CONVERGE).await?;
//! let who = Who::new("ann@laptop");
//! let begin = Begin { plan, approved: None, verb: Verb::Apply, who, token: None, request: None };
//! let operation = cluster.begin(begin).await?;
//! let mut events = operation.events(0);
//! while let Some(event) = events.next().await {
//!     println!("{}", event.json());
//! }
//! assert!(operation.ended().await.is_ok());
//! # Ok(())
//! # }
//! ```
// A new step, content or decision must not compile until each place has said what it means there.
#![warn(clippy::wildcard_enum_match_arm)]

mod alive;
mod binaries;
mod catalogue;
mod cluster;
mod documents;
mod engine;
mod error;
mod events;
mod forward;
mod history;
mod lease;
mod links;
mod logs;
mod look;
mod observe;
mod operation;
mod plan;
mod process;
mod run;
mod scripts;
mod session;
mod settings;
pub mod snapshots;
mod store;
mod stream;
mod tasks;
mod topology_file;
mod vault;

pub use catalogue::{Page, explain, nearest_page, pages};
pub use cluster::{Begin, Cluster};
pub use documents::{
    CERTIFICATES_FORMAT, CertificateDocument, CertificatesDocument, EndingDocument, HOSTS_FORMAT,
    HostDocument, HostSeen, HostsDocument, MemberAnswer, MemberHealth, MemberStanding,
    MemberStatus, PLAN_FORMAT, PlanDocument, PlanDocumentError, STATUS_FORMAT, StageDocument,
    StatusDocument, StepDocument, VERIFY_FORMAT, VerifyDocument, changed_lines, describe_call,
    describe_file, describe_step, operator_words,
};
pub use engine::Engine;
pub use error::{
    DeployError, ERRORS, HostFailure, PLAN_CHANGED, ReleaseFailed, unit_template_check,
    unit_weakness_check,
};
pub use events::{BytesMoved, Progress, RecordedEvent};
pub use forward::{Forwards, Reached};
pub use history::{HISTORY_FORMAT, HistoryDocument, PastOperation, PastState, UnseenLog};
pub use logs::LogRange;
pub use look::Look;
pub use observe::unit_template;
pub use operation::{EventStream, Operation, Outcome};
pub use plan::{Plan, Report};
pub use session::Session;
pub use settings::{Cancel, Limits, Settings};
pub use store::{Store, StoreError, StoredOperation};
pub use topology_file::{read_sources, read_topology, topology_of};
pub use vault::{OperatorPair, Vault, VaultError, ca_certificate, inspect_sources};

pub use etcdup_core::plain::chain;
pub use etcdup_pki::inspect;
pub use etcdup_transport::{Credential, Prompt};
