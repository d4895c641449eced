//! The scripts that run on hosts: constants, put together from the files in `host/`.

use std::time::Duration;

use etcdup_transport::Script;

/// Looks at a host. Changes nothing.
pub static OBSERVE: Script = Script::new(
    "observe",
    concat!(
        include_str!("host/common.sh"),
        include_str!("host/observe.sh"),
        include_str!("host/observe_main.sh")
    ),
);

/// Carries out a stage, then looks at the host. May be silent while it unpacks or downloads.
pub static STAGE: Script = Script::new(
    "stage",
    concat!(
        include_str!("host/common.sh"),
        include_str!("host/observe.sh"),
        include_str!("host/stage.sh")
    ),
)
.silent_for(Duration::from_secs(660));

/// Takes, renews or gives back the lease.
pub static LEASE: Script = Script::new(
    "lease",
    concat!(
        include_str!("host/common.sh"),
        include_str!("host/lease.sh")
    ),
)
.silent_for(Duration::from_secs(15));

/// Prints a member's log. A log may have nothing new to say for as long as anyone follows it.
pub static LOGS: Script = Script::new(
    "logs",
    concat!(include_str!("host/common.sh"), include_str!("host/logs.sh")),
)
.silent_for(Duration::from_secs(30 * 24 * 3600))
.watched();
