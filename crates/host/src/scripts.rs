//! The scripts that run on hosts: constants, put together from the files in `sh/`.

/// Observes a host. Changes nothing.
pub const OBSERVE: &str = concat!(
    include_str!("sh/functions.sh"),
    include_str!("sh/report.sh"),
    include_str!("sh/observe.sh"),
    include_str!("sh/observe_main.sh")
);

/// Carries out a stage, then observes the host.
pub const STAGE: &str = concat!(
    include_str!("sh/functions.sh"),
    include_str!("sh/report.sh"),
    include_str!("sh/observe.sh"),
    include_str!("sh/data.sh"),
    include_str!("sh/stage.sh")
);

/// Takes, renews or gives back the lease.
pub const LEASE: &str = concat!(include_str!("sh/functions.sh"), include_str!("sh/lease.sh"));

/// Prints the operations log.
pub const HISTORY: &str = concat!(
    include_str!("sh/functions.sh"),
    include_str!("sh/history.sh")
);

/// Prints the last segment of a member's raft log, packed. Changes nothing.
pub const RAFT_LOG: &str = concat!(
    include_str!("sh/functions.sh"),
    include_str!("sh/raft_log.sh")
);

/// Restores a snapshot into a member that is thrown away.
pub const DRILL: &str = concat!(include_str!("sh/functions.sh"), include_str!("sh/drill.sh"));

/// Prints a member's log.
pub const LOGS: &str = concat!(include_str!("sh/functions.sh"), include_str!("sh/logs.sh"));

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The second of two functions of one name would quietly be called for the first.
    #[test]
    fn no_script_defines_a_function_twice() {
        for script in [OBSERVE, STAGE, LEASE, HISTORY, LOGS, RAFT_LOG, DRILL] {
            let mut known = BTreeSet::new();
            let named = script.lines().filter_map(|line| line.split_once("()"));
            let plain = |name: &str| name.chars().all(|c| c == '_' || c.is_ascii_lowercase());
            for (name, _) in named.filter(|(name, _)| !name.is_empty() && plain(name)) {
                assert!(known.insert(name), "{name} is defined twice");
            }
        }
    }
}
