//! The host's scripts with the time that each may be silent for.

use std::time::Duration;

use etcdup_host::scripts;
use etcdup_transport::Script;

/// Observes a host.
pub(crate) static OBSERVE: Script = Script::new("observe", scripts::OBSERVE);

/// Carries out a stage. It may be silent while it downloads a release, which has ten minutes, and unpacks it.
pub(crate) static STAGE: Script =
    Script::new("stage", scripts::STAGE).with_idle_timeout(Duration::from_secs(660));

/// Takes, renews or gives back the lease. It waits for a lock of milliseconds, so a host that needs longer is in trouble.
pub(crate) static LEASE: Script =
    Script::new("lease", scripts::LEASE).with_idle_timeout(Duration::from_secs(15));

/// Prints a member's log. A log may have nothing new to say for as long as anyone follows it.
pub(crate) static LOGS: Script = Script::new("logs", scripts::LOGS)
    .with_idle_timeout(Duration::from_secs(30 * 24 * 3600))
    .watched();
