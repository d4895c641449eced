//! Brings an etcd cluster to what a topology file says, and proves it. Everything that frontends need is here: a frontend
//! opens a [`Session`], asks for a [`Plan`], shows it, and has it carried out.
//!
//! ```no_run
//! use etcdup_core::stage::Goal;
//! use etcdup_deploy::{Session, Settings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let session = Session::open("etcdup.toml".as_ref(), &[], Settings::default()).await?;
//! let plan = session.plan(Goal::Converge { allow_outage: false }).await?;
//! session.execute(&plan, "apply").await?;
//! # Ok(())
//! # }
//! ```

mod alive;
mod catalogue;
mod cfssl;
mod dns;
mod documents;
mod error;
mod events;
mod execute;
mod files;
mod forward;
mod lease;
mod logs;
mod members;
mod observe;
mod release;
mod run;
mod scripts;
mod session;
mod stream;
mod tasks;
mod vagrant;
mod vault;

pub use catalogue::{Page, explain, nearest_page, pages};
pub use documents::{
    describe_file, describe_step, operator_words, plan_document, status_document, verify_document,
};
pub use error::{
    DeployError, ERRORS, HostFailure, chain, unit_template_check, unit_weakness_check,
};
pub use events::{Events, Progress};
pub use forward::{Forwards, Reached};
pub use logs::LogRange;
pub use observe::unit_template;
pub use run::{Plan, Report};
pub use session::{Cancel, Session, Settings};
pub use vault::{OperatorPair, Vault, VaultError, inspect_sources};

pub use etcdup_pki::inspect;
pub use etcdup_transport::{Credential, Prompt};
