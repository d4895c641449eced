//! Which version may follow which in a rolling change of one step.

use crate::version::EtcdVersion;

/// Why a cluster cannot go from one version to another in one step, with the way round.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// An older minor.
    #[error("{from} to {to} is a downgrade, which etcd refuses to start on its data")]
    Downgrade {
        /// What runs.
        from: EtcdVersion,
        /// What the file says.
        to: EtcdVersion,
    },
    /// More than one minor.
    #[error("{from} to {to} skips a minor version; etcd supports one at a time")]
    Skips {
        /// What runs.
        from: EtcdVersion,
        /// What the file says.
        to: EtcdVersion,
    },
    /// The next minor, from a patch release that cannot be upgraded safely.
    #[error("{from} to {to} needs 3.{}.{through} or later first: {why}", .from.minor())]
    Through {
        /// What runs.
        from: EtcdVersion,
        /// What the file says.
        to: EtcdVersion,
        /// The first patch of the running minor that can be upgraded.
        through: u64,
        /// What happens otherwise.
        why: &'static str,
    },
    /// The next minor, where each member must have taken a raft snapshot before.
    #[error(
        "{from} to {to} needs a raft snapshot on every member first: without one the first 3.7 member panics when it \
         replays its log"
    )]
    RaftSnapshot {
        /// What runs.
        from: EtcdVersion,
        /// What the file says.
        to: EtcdVersion,
    },
}

/// Whether members that run `from` can be restarted with `to`, one at a time.
///
/// Patches of one minor go either way. Between minors: one at a time (etcd's upgrade guides); 3.5
/// to 3.6 from 3.5.32 on (etcd issues 20793, 20809, 21849: v2 entries in the WAL panic); 3.6 to 3.7
/// not yet, since it needs a raft snapshot first (upgrade_3_7; measured: 3.6.14 to 3.7.1 of a
/// cluster born on 3.5.30 panics without).
///
/// # Errors
/// Why not.
pub fn may_follow(from: &EtcdVersion, to: &EtcdVersion) -> Result<(), Box<NoRoute>> {
    let pair = || (from.clone(), to.clone());
    if to.minor() < from.minor() {
        let (from, to) = pair();
        return Err(Box::new(NoRoute::Downgrade { from, to }));
    }
    match to.minor() - from.minor() {
        0 => Ok(()),
        1 => match from.minor() {
            5 if from.patch() < 32 => {
                let (from, to) = pair();
                Err(Box::new(NoRoute::Through {
                    from,
                    to,
                    through: 32,
                    why: "v2 entries in its log make 3.6 panic",
                }))
            }
            6 => {
                let (from, to) = pair();
                Err(Box::new(NoRoute::RaftSnapshot { from, to }))
            }
            _ => Ok(()),
        },
        _ => {
            let (from, to) = pair();
            Err(Box::new(NoRoute::Skips { from, to }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_minor_at_a_time_and_never_down() {
        let route = |from: &str, to: &str| may_follow(&from.parse().unwrap(), &to.parse().unwrap());
        assert!(route("3.5.16", "3.5.33").is_ok());
        assert!(route("3.5.33", "3.5.16").is_ok());
        assert!(route("3.4.45", "3.5.33").is_ok());
        assert!(route("3.5.33", "3.6.14").is_ok());
        let refused = |from: &str, to: &str| *route(from, to).unwrap_err();
        let through = refused("3.5.30", "3.6.14");
        assert!(matches!(through, NoRoute::Through { .. }));
        assert!(through.to_string().contains("needs 3.5.32 or later"));
        assert!(matches!(refused("3.5.30", "3.7.1"), NoRoute::Skips { .. }));
        assert!(matches!(
            refused("3.6.14", "3.7.1"),
            NoRoute::RaftSnapshot { .. }
        ));
        assert!(matches!(
            refused("3.5.30", "3.4.23"),
            NoRoute::Downgrade { .. }
        ));
    }
}
