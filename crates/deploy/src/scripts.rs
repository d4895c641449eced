//! The host's scripts with the time that each may be silent for.

use std::time::Duration;

use etcdup_host::scripts;
use etcdup_transport::Script;

/// Observes a host.
pub(crate) static OBSERVE: Script = Script::new("observe", scripts::OBSERVE);

/// Carries out a stage. What copies a database says all the time that it works. Other operations
/// are silent until they are done, and each has limits of its own in the script: the longest are
/// downloading and unpacking a release (15 minutes), and setting up time synchronization (20). A
/// host that is gone is noticed sooner: its SSH connection ends after 45 s without an answer.
pub(crate) static STAGE: Script =
    Script::new("stage", scripts::STAGE).with_idle_timeout(Duration::from_secs(22 * 60));

/// Takes, renews or gives back the lease. It waits for a lock of milliseconds, so a host that needs
/// longer is in trouble.
pub(crate) static LEASE: Script =
    Script::new("lease", scripts::LEASE).with_idle_timeout(Duration::from_secs(15));

/// Prints the operations log.
pub(crate) static HISTORY: Script =
    Script::new("history", scripts::HISTORY).with_idle_timeout(Duration::from_secs(15));

/// Prints the last segment of a member's raft log.
pub(crate) static RAFT_LOG: Script = Script::new("raft-log", scripts::RAFT_LOG)
    .with_idle_timeout(Duration::from_secs(60))
    .watched();

/// Restores a snapshot into a member that is thrown away. It says all the time that it works.
pub(crate) static DRILL: Script = Script::new("drill", scripts::DRILL);

/// Prints a member's log. A log may have nothing new to say for as long as anyone follows it.
pub(crate) static LOGS: Script = Script::new("logs", scripts::LOGS)
    .with_idle_timeout(Duration::from_secs(30 * 24 * 3600))
    .watched();

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds that commands of one shell function may take, each by its own limit.
    fn limits(function: &str) -> Vec<u64> {
        let start = format!("\n{function}() {{\n");
        let body = scripts::STAGE.split(&start).nth(1).unwrap_or_default();
        let body = body.split("\n}\n").next().unwrap_or_default();
        let words: Vec<&str> = body.split_whitespace().collect();
        let limit = |pair: &[&str]| {
            let command = pair[0].rsplit('(').next().unwrap_or_default();
            let is_limit = ["bounded", "timeout"].contains(&command);
            is_limit.then(|| pair[1].parse().ok()).flatten()
        };
        words.windows(2).filter_map(limit).collect()
    }

    #[test]
    fn no_operation_may_be_silent_for_longer_than_its_script() {
        let longest = |function: &str| limits(function).into_iter().max().unwrap_or_default();
        let sum = |function: &str| limits(function).into_iter().sum::<u64>();
        let fetch = longest("op_fetch") + sum("op_binaries") + sum("version_of");
        assert_eq!(fetch, 600 + 300 + 20);
        // Each service is asked about and enabled, then one package manager runs, then chrony is
        // enabled by both its names.
        let services = "time_services='";
        let services = scripts::STAGE.split(services).nth(1).unwrap_or_default();
        let services = services.split('\'').next().unwrap_or_default();
        let services = services.split(' ').count() as u64;
        let package = longest("op_time_sync");
        let time = services * (20 + 60) + package + 2 * 60;
        assert_eq!((services, package, time), (6, 600, 1200));
        // Room is looked for twice: where no rename works that is known late.
        let copy = sum("move_held") + 2 * sum("has_room");
        assert_eq!(copy, 2 * (60 + 60));
        for steady in ["restore_here", "log_here", "force_here", "take_over"] {
            assert_eq!(sum(steady), 0, "{steady} says that it works");
        }
        let margin = Duration::from_secs(60);
        for silence in [fetch, copy, time] {
            assert!(Duration::from_secs(silence) + margin <= STAGE.idle);
        }
    }
}
