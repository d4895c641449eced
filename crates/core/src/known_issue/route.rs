//! Which version may follow which in a rolling change, and which lie on the way.

use crate::version::EtcdVersion;

/// Why a cluster cannot go from one version to another, with the way round.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// An older minor, where etcd has no downgrade.
    #[error(
        "{from} to {to} is a downgrade, which etcd has from 3.6 on: older releases refuse to start on newer data"
    )]
    Downgrade {
        /// What runs.
        from: EtcdVersion,
        /// What the file says.
        to: EtcdVersion,
    },
    /// A release that the file wants to pass through and that may not be left for the next minor.
    #[error("{through} is no release to pass through: {why}")]
    Through {
        /// What the file says.
        through: EtcdVersion,
        /// What happens otherwise.
        why: String,
    },
    /// A minor that this etcdup does not know lies in between.
    #[error("{from} to {to} passes through minors that this etcdup does not know")]
    Unknown {
        /// What runs.
        from: EtcdVersion,
        /// What the file says.
        to: EtcdVersion,
    },
}

/// The first patch of a minor from which the next minor may be started, and what happens before.
///
/// 3.5 to 3.6 from 3.5.32 on (upgrade_3_6; etcd issues 20793, 20809, 21849), 3.6 to 3.7 from 3.6.11
/// on (upgrade_3_7).
fn leaves_from(minor: u64) -> Option<(u64, &'static str)> {
    match minor {
        5 => Some((
            32,
            "v2 entries in the log of an earlier patch make 3.6 panic",
        )),
        6 => Some((11, "3.7 does not read the data of an earlier patch")),
        _ => None,
    }
}

/// The first minor that may be downgraded to the one before.
const FIRST_DOWNGRADED: u64 = 6;

/// The first minor that no longer replays the log of a member that came from 3.5, unless a raft
/// snapshot was taken since (upgrade_3_7; measured: 3.6.14 to 3.7.1 of a cluster born on 3.5.30
/// panics without).
pub const FIRST_WITHOUT_V2: u64 = 7;

/// The versions that a cluster takes one after the other to get from `from` to `to`; `to` is the
/// last, and the only one where nothing lies between.
///
/// etcd supports one minor at a time (its upgrade guides). On the way it is the newest patch that
/// is known, or what `through` names of that minor. A patch of the running minor comes first where
/// its own cannot be left.
///
/// # Errors
/// Why there is no way.
pub fn route(
    from: &EtcdVersion,
    to: &EtcdVersion,
    through: &[EtcdVersion],
) -> Result<Vec<EtcdVersion>, Box<NoRoute>> {
    let between = |minor: u64| {
        let named = through.iter().find(|version| version.minor() == minor);
        named
            .cloned()
            .or_else(|| EtcdVersion::newest(minor))
            .ok_or_else(|| {
                Box::new(NoRoute::Unknown {
                    from: from.clone(),
                    to: to.clone(),
                })
            })
    };
    let mut way = Vec::new();
    if to.minor() < from.minor() {
        if to.minor() + 1 < FIRST_DOWNGRADED {
            return Err(Box::new(NoRoute::Downgrade {
                from: from.clone(),
                to: to.clone(),
            }));
        }
        for minor in (to.minor() + 1..from.minor()).rev() {
            way.push(between(minor)?);
        }
    } else {
        let mut at = from.clone();
        while at.minor() < to.minor() {
            if let Some((least, why)) = leaves_from(at.minor())
                && at.patch() < least
            {
                at = between(at.minor())?;
                if at.patch() < least {
                    let why = format!("{why}; name 3.{}.{least} or later", at.minor());
                    return Err(Box::new(NoRoute::Through { through: at, why }));
                }
                way.push(at.clone());
            }
            if at.minor() + 1 == to.minor() {
                break;
            }
            at = between(at.minor() + 1)?;
            way.push(at.clone());
        }
    }
    way.push(to.clone());
    Ok(way)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(from: &str, to: &str, through: &[&str]) -> Result<String, String> {
        let version = |text: &str| text.parse::<EtcdVersion>().unwrap();
        let through: Vec<EtcdVersion> = through.iter().map(|text| version(text)).collect();
        let way = route(&version(from), &version(to), &through).map_err(|why| why.to_string())?;
        let way: Vec<String> = way.iter().map(ToString::to_string).collect();
        Ok(way.join(" "))
    }

    #[test]
    fn one_minor_at_a_time() {
        let of = |from: &str, to: &str| way(from, to, &[]).unwrap();
        assert_eq!(of("3.5.16", "3.5.33"), "3.5.33");
        assert_eq!(of("3.5.33", "3.5.16"), "3.5.16");
        assert_eq!(of("3.4.23", "3.5.30"), "3.5.30");
        assert_eq!(of("3.4.23", "3.6.14"), "3.5.33 3.6.14");
        assert_eq!(of("3.4.23", "3.7.1"), "3.5.33 3.6.16 3.7.1");
        assert_eq!(of("3.5.32", "3.6.14"), "3.6.14");
    }

    /// 3.5.30 to 3.6.14 panicked in the field, and so did 3.6.5 to 3.7.
    #[test]
    fn a_patch_that_may_not_be_left_is_left_first() {
        let of = |from: &str, to: &str| way(from, to, &[]).unwrap();
        assert_eq!(of("3.5.30", "3.6.14"), "3.5.33 3.6.14");
        assert_eq!(of("3.6.5", "3.7.1"), "3.6.16 3.7.1");
        assert_eq!(of("3.5.30", "3.7.1"), "3.5.33 3.6.16 3.7.1");
    }

    #[test]
    fn the_file_names_the_releases_on_the_way() {
        assert_eq!(
            way("3.4.23", "3.7.1", &["3.6.14", "3.5.32"]).unwrap(),
            "3.5.32 3.6.14 3.7.1"
        );
        let refused = way("3.4.23", "3.7.1", &["3.5.30"]).unwrap_err();
        assert!(refused.contains("name 3.5.32 or later"), "{refused}");
    }

    #[test]
    fn down_where_etcd_has_it() {
        assert_eq!(way("3.7.1", "3.6.14", &[]).unwrap(), "3.6.14");
        assert_eq!(way("3.7.1", "3.5.33", &[]).unwrap(), "3.6.16 3.5.33");
        let refused = way("3.5.30", "3.4.23", &[]).unwrap_err();
        assert!(refused.contains("is a downgrade"), "{refused}");
        assert!(way("3.6.14", "3.4.23", &[]).is_err());
    }
}
