//! Flags of one release in the terms of another: renamed, a feature gate, or gone.

use std::collections::BTreeMap;

use super::{FlagSpec, Successor, Support, lookup};
use crate::flag::table::SUCCESSORS;
use crate::version::EtcdVersion;

/// The flag that turns feature gates on and off, in 3.6 and later.
const GATES: &str = "feature-gates";

/// Flags as one release knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translated {
    /// The flags.
    pub flags: BTreeMap<String, String>,
    /// What the release has nothing for, each with what was given.
    pub dropped: Vec<String>,
    /// What became of the others that changed: what was given, and what it is here.
    pub renamed: Vec<(String, String)>,
}

/// The flags in the terms of this release. What it has nothing for is left out: a flag of a later
/// release waits until that runs, and one that is gone for good is refused when the file is read.
#[must_use]
pub fn translate(given: &BTreeMap<String, String>, to: &EtcdVersion) -> Translated {
    let mut translated = Translated::default();
    let mut gates: Vec<String> = Vec::new();
    for (name, value) in given {
        if name == GATES && !has(GATES, to) {
            value.split(',').for_each(|gate| translated.gate(gate, to));
            continue;
        }
        match place_in(name, value, to) {
            Place::Same if name == GATES => gates.push(value.clone()),
            Place::Same => {
                translated.flags.insert(name.clone(), value.clone());
            }
            Place::Flag(other, value) => {
                translated.renamed.push((name.clone(), other.to_owned()));
                // What is given under its own name there counts.
                if !given.contains_key(other) {
                    translated.flags.insert(other.to_owned(), value);
                }
            }
            Place::Gate(gate) => {
                let here = format!("{GATES}={gate}={value}");
                translated.renamed.push((name.clone(), here));
                gates.push(format!("{gate}={value}"));
            }
            Place::Nothing => translated.dropped.push(name.clone()),
        }
    }
    if !gates.is_empty() {
        translated.flags.insert(GATES.to_owned(), gates.join(","));
    }
    translated
}

impl Translated {
    /// A gate in a release without gates.
    fn gate(&mut self, gate: &str, to: &EtcdVersion) {
        let here = format!("{GATES}={gate}");
        match switch_of_gate(gate, to) {
            Some((old, on)) => {
                self.renamed.push((here, old.to_owned()));
                self.flags.insert(old.to_owned(), on.to_owned());
            }
            None => self.dropped.push(here),
        }
    }
}

/// What a flag is in another release.
enum Place {
    Same,
    Flag(&'static str, String),
    Gate(&'static str),
    Nothing,
}

fn has(name: &str, version: &EtcdVersion) -> bool {
    lookup(name).is_some_and(|row| row.presence(version) != Support::Absent)
}

fn place_in(name: &str, value: &str, to: &EtcdVersion) -> Place {
    let later = lookup(name).and_then(FlagSpec::successor);
    match later {
        // Where gates are known the switch counts as its gate: etcd takes one of both, not two.
        Some(Successor::Gate(gate)) if has(GATES, to) => return Place::Gate(gate),
        _ if has(name, to) => return Place::Same,
        // A switch became a level (etcd 3.5's changelog); the levels of packages became nothing.
        Some(Successor::Flag(next @ "log-level")) => {
            return if name == "debug" && value == "true" {
                Place::Flag(next, "debug".to_owned())
            } else {
                Place::Nothing
            };
        }
        Some(Successor::Flag(next)) if has(next, to) => return Place::Flag(next, value.to_owned()),
        Some(_) | None => {}
    }
    let before = SUCCESSORS.iter().find(|(old, next)| {
        // Not every level was the switch.
        let became_it = matches!(next, Successor::Flag(new) if *new == name);
        became_it && name != "log-level" && has(old, to)
    });
    match before {
        Some((old, _)) => Place::Flag(old, value.to_owned()),
        None => Place::Nothing,
    }
}

/// The switch that a gate was, in a release without gates.
fn switch_of_gate<'g>(gate: &'g str, to: &EtcdVersion) -> Option<(&'static str, &'g str)> {
    let (name, on) = gate.split_once('=')?;
    let mut rows = SUCCESSORS.iter();
    rows.find_map(|(old, next)| match next {
        Successor::Gate(known) if *known == name && has(old, to) => Some((*old, on)),
        Successor::Gate(_) | Successor::Flag(_) | Successor::Nothing => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(version: &str, given: &[(&str, &str)]) -> Translated {
        let given = given.iter();
        let given = given.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        translate(&given.collect(), &version.parse().unwrap())
    }

    fn text(translated: &Translated) -> String {
        let flags = translated.flags.iter();
        flags
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn a_flag_that_was_renamed_is_renamed_either_way() {
        let new = ("watch-progress-notify-interval", "5s");
        let old = ("experimental-watch-progress-notify-interval", "5s");
        assert_eq!(
            text(&to("3.5.30", &[new])),
            "experimental-watch-progress-notify-interval=5s"
        );
        assert_eq!(
            text(&to("3.7.1", &[old])),
            "watch-progress-notify-interval=5s"
        );
        // 3.6 still knows it by its old name.
        assert!(to("3.6.14", &[old]).renamed.is_empty());
    }

    #[test]
    fn a_switch_and_its_feature_gate_are_one() {
        let switch = ("experimental-initial-corrupt-check", "true");
        let gates = (
            "feature-gates",
            "InitialCorruptCheck=true,LeaseCheckpoint=false",
        );
        assert_eq!(
            text(&to("3.7.1", &[switch])),
            "feature-gates=InitialCorruptCheck=true"
        );
        assert_eq!(
            text(&to("3.5.30", &[gates])),
            "experimental-enable-lease-checkpoint=false experimental-initial-corrupt-check=true"
        );
        let both = text(&to(
            "3.7.1",
            &[switch, ("feature-gates", "LeaseCheckpoint=true")],
        ));
        assert_eq!(
            both,
            "feature-gates=InitialCorruptCheck=true,LeaseCheckpoint=true"
        );
    }

    /// What a later release brings is no reason to stop on the way to it.
    #[test]
    fn a_flag_of_a_later_release_waits_for_it() {
        let early = to(
            "3.5.30",
            &[("max-learners", "2"), ("snapshot-count", "10000")],
        );
        assert_eq!(text(&early), "snapshot-count=10000");
        assert_eq!(early.dropped, ["max-learners"]);
        let gate = to("3.5.30", &[("feature-gates", "PriorityRequest=true")]);
        assert_eq!(gate.dropped, ["feature-gates=PriorityRequest=true"]);
    }

    #[test]
    fn a_value_that_means_something_else_is_not_taken_over() {
        assert_eq!(text(&to("3.5.30", &[("debug", "true")])), "log-level=debug");
        assert_eq!(text(&to("3.5.30", &[("debug", "false")])), "");
        assert_eq!(
            text(&to("3.4.23", &[("log-level", "info")])),
            "log-level=info"
        );
        assert_eq!(
            to("3.6.14", &[("enable-v2", "true")]).dropped,
            ["enable-v2"]
        );
    }
}
