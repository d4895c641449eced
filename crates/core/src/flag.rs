//! etcd's flags: which exist when, who may set them, and how they are written and read back.

mod effective;
mod limits;
mod quota;
mod set;
mod table;
mod translate;
mod value;

pub use effective::{FlagSource, ReadBack, UnknownFlag};
pub use limits::{LIMITS, Limits, Word};
pub use quota::quota_of;
pub use set::{FlagSet, env_name, flag_of_env};
pub use table::{FLAGS, SUCCESSORS};
pub use translate::{Translated, translate};
pub(crate) use value::go_duration;
pub use value::{FlagValue, ValueError};

use crate::version::EtcdVersion;

/// What a flag's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; given alone it means `true`.
    Bool,
    /// A whole number from 0.
    Uint,
    /// A whole number.
    Int,
    /// A Go duration such as `100ms` or `1h30m`.
    Duration,
    /// URLs joined with commas.
    Urls,
    /// Words of a form of its own, often a list joined with commas.
    Value,
    /// Any text.
    Text,
}

/// Who decides a flag's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetBy {
    /// The user, in `[flags]`.
    User,
    /// etcdup, from the rest of the topology.
    Etcdup,
    /// etcdup, from `[security]` and `[certificates]`.
    Security,
    /// etcdup, and what the user gives is added to it.
    Append,
}

/// When a flag's value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppliesAt {
    /// At the first start only: etcd ignores it once a WAL exists, so it is never a reason to
    /// restart.
    Bootstrap,
    /// At each start.
    Start,
}

/// What became of a flag that went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Successor {
    /// Another flag.
    Flag(&'static str),
    /// A feature gate: `feature-gates = "Name=true"`.
    Gate(&'static str),
    /// Nothing.
    Nothing,
}

/// One row of [`FLAGS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlagSpec {
    /// The flag's name without dashes in front.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    releases: &'static str,
    /// Who decides its value.
    pub owned: SetBy,
    /// When its value counts.
    pub when: AppliesAt,
}

const fn row(
    name: &'static str,
    kind: Kind,
    releases: &'static str,
    owned: SetBy,
    when: AppliesAt,
) -> FlagSpec {
    FlagSpec {
        name,
        kind,
        releases,
        owned,
        when,
    }
}

/// Whether a release has a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It does not.
    Absent,
    /// It does.
    Present,
    /// It does, and prints a warning that the flag will go.
    Deprecated,
}

impl FlagSpec {
    /// The table's cell for the minor in this column of [`crate::version::KNOWN_MINORS`].
    #[must_use]
    pub fn cell(&self, column: usize) -> &'static str {
        self.releases.split_whitespace().nth(column).unwrap_or("-")
    }

    /// Whether this release has the flag. An unknown newer patch counts as the newest known one.
    #[must_use]
    pub fn presence(&self, version: &EtcdVersion) -> Support {
        presence_of(self.releases, version)
    }

    /// Which values of its kind the flag takes.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let found = LIMITS.iter().find(|(name, _)| *name == self.name);
        found.map_or(Limits::Any, |(_, limits)| *limits)
    }

    /// What the flag became where it no longer exists.
    #[must_use]
    pub fn successor(&self) -> Option<Successor> {
        SUCCESSORS
            .iter()
            .find(|(name, _)| *name == self.name)
            .map(|(_, successor)| *successor)
    }
}

/// Whether a release is among those that a row's cells name.
fn presence_of(releases: &str, version: &EtcdVersion) -> Support {
    let Some(column) = version.column() else {
        return Support::Absent;
    };
    let cell = releases.split_whitespace().nth(column).unwrap_or("-");
    let (cell, deprecated) = cell
        .strip_suffix('!')
        .map_or((cell, false), |cell| (cell, true));
    let there = match cell.strip_suffix('+') {
        Some(first) => first
            .parse::<u64>()
            .is_ok_and(|first| version.patch() >= first),
        None => cell == "all",
    };
    match (there, deprecated) {
        (false, _) => Support::Absent,
        (true, false) => Support::Present,
        (true, true) => Support::Deprecated,
    }
}

/// The row of a flag.
#[must_use]
pub fn lookup(name: &str) -> Option<&'static FlagSpec> {
    FLAGS
        .binary_search_by(|row| row.name.cmp(name))
        .ok()
        .map(|index| &FLAGS[index])
}

/// The flag of this release whose name is nearest to a misspelt one.
#[must_use]
pub fn nearest(name: &str, version: &EtcdVersion) -> Option<&'static str> {
    FLAGS
        .iter()
        .filter(|row| row.presence(version) != Support::Absent)
        .map(|row| (strsim::jaro_winkler(row.name, name), row.name))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> EtcdVersion {
        text.parse().unwrap()
    }

    #[test]
    fn the_whole_table_is_sorted_unique_and_well_formed() {
        assert!(FLAGS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for row in FLAGS {
            assert!(
                row.name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            );
            let cells: Vec<_> = row.releases.split_whitespace().collect();
            assert_eq!(cells.len(), 4, "{}", row.name);
            for cell in cells {
                let bare = cell.trim_end_matches('!');
                let patch = bare
                    .strip_suffix('+')
                    .map(|patch| patch.parse::<u64>().is_ok());
                assert!(
                    bare == "-" || bare == "all" || patch == Some(true),
                    "{}: {cell}",
                    row.name
                );
            }
        }
    }

    #[test]
    fn every_successor_belongs_to_a_flag_and_names_one() {
        for (name, successor) in SUCCESSORS {
            assert!(lookup(name).is_some(), "{name}");
            if let Successor::Flag(next) = successor {
                assert!(lookup(next).is_some(), "{name} -> {next}");
            }
        }
    }

    #[test]
    fn every_flag_that_the_newest_minor_lost_says_what_it_became() {
        for row in FLAGS
            .iter()
            .filter(|row| row.cell(3) == "-" && row.cell(2) != "-")
        {
            assert!(row.successor().is_some(), "{}", row.name);
        }
    }

    #[test]
    fn flags_come_and_go_in_patch_releases() {
        let flag = lookup("tls-min-version").unwrap();
        assert_eq!(flag.presence(&version("3.5.7")), Support::Absent);
        assert_eq!(flag.presence(&version("3.5.8")), Support::Present);
        let old = lookup("experimental-corrupt-check-time").unwrap();
        assert_eq!(old.presence(&version("3.6.0")), Support::Deprecated);
        assert_eq!(old.presence(&version("3.7.1")), Support::Absent);
    }

    #[test]
    fn a_misspelt_flag_has_a_neighbour() {
        assert_eq!(
            nearest("quota-backend-byte", &version("3.5.30")),
            Some("quota-backend-bytes")
        );
        assert_eq!(nearest("xyzzy", &version("3.5.30")), None);
    }
}
