//! What tells one stage from another.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::MemberName;
use crate::version::EtcdVersion;

/// The kind of a stage, by what it does. Each is made by one rule of the planner; approvals, events
/// and `etcdup plan` name stages by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Sets up time synchronization.
    Time,
    /// Creates the CA.
    Ca,
    /// Issues the client certificates that the file names.
    Clients,
    /// Records that members were healthy.
    Record,
    /// Installs what members need before they run.
    Install,
    /// Starts all members of a cluster for the first time.
    Bootstrap,
    /// Starts the members that a bootstrap missed.
    FinishBootstrap,
    /// Starts members that do not run.
    Start,
    /// Starts the members whose data is intact, so that their list decides about the others.
    StartQuorum,
    /// Writes files that need no restart.
    RefreshFiles,
    /// Replaces the certificates of one running member.
    Renew,
    /// Waits for members to become healthy.
    Wait,
    /// Moves leadership to another member.
    MoveLeader,
    /// Has every member take a raft snapshot.
    RaftSnapshot,
    /// Begins a downgrade, gives it up, or waits for its end.
    Downgrade,
    /// Restarts one member.
    Roll,
    /// Adds one member to the cluster's list, as a learner.
    Add,
    /// Starts a member that was added, and lets it catch up.
    Join,
    /// Makes a learner a voter.
    Promote,
    /// Gives a member another peer URL in the cluster's list.
    Move,
    /// Removes one member from the cluster's list.
    Remove,
    /// Stops a member that was removed, and moves its data aside.
    CleanUp,
    /// Stops and disables the cluster.
    Reset,
    /// Begins a restore: every host knows of it.
    BeginRestore,
    /// Stops every member and moves its data aside, before a snapshot is restored.
    SetAside,
    /// Forgets the cluster that was moved aside, on every host.
    Forget,
    /// Ends a restore: what was restored is as it should be, and clients may come in.
    EndRestore,
    /// Gives a restore up that was begun.
    AbortRestore,
    /// Begins a recovery: every host that answers knows of it.
    BeginRecover,
    /// Stops every member before one of them goes on alone.
    StopAll,
    /// Notes which member goes on.
    Choose,
    /// Makes a member's data name it as the only member, and starts it.
    ForceNew,
    /// Ends a recovery.
    EndRecover,
    /// Drops history.
    Compact,
    /// Has one member write its database again.
    Defragment,
    /// Takes the alarm of a full database back.
    Disarm,
}

/// Which intermediate topology a stage leads to. A reset gives a cluster a new generation of its
/// token: whoever approved a bootstrap of the one has not approved a bootstrap of the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegTag {
    /// The generation of the cluster's token; 0 before the first reset.
    pub generation: u64,
    /// The release of etcd, where it is one on the way to the file's.
    pub version: Option<EtcdVersion>,
    /// Where a change of CAs stands, while it is under way.
    pub trust: Option<TrustLeg>,
    /// Whether peers speak plain HTTP while all have what TLS takes.
    pub peers_ready: bool,
    /// Whether members come to lie or to run elsewhere on their hosts.
    pub place: bool,
    /// Whether members hold what was restored, and clients are kept out until that is verified.
    pub restore: bool,
}

/// Where a change of CAs stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrustLeg {
    /// Members come to trust the new CA beside the old one, whose certificates they keep.
    Spread,
    /// The same where nothing that all members accept can be signed, for want of the old CA's key.
    Keyless,
    /// Certificates of a CA that is to go are replaced, while members still trust it.
    Reissue,
}

impl TrustLeg {
    /// Whether members still come to trust the new CA.
    #[must_use]
    pub const fn spreads(self) -> bool {
        matches!(self, Self::Spread | Self::Keyless)
    }

    /// As keys spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spread => "trust",
            Self::Keyless => "keyless",
            Self::Reissue => "reissue",
        }
    }
}

/// What tells one stage from another: `install`, `roll:m2`, `bootstrap@g1`, `roll:m2@v3.5.33`,
/// `roll:m2@trust`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageKey {
    /// What it does.
    pub rule: Rule,
    /// The member that it is about, where it is about one.
    pub subject: Option<MemberName>,
    /// Where it leads.
    pub leg: LegTag,
}

/// A text that is no key of a stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the key of a stage")]
pub struct StageKeyError(String);

impl Rule {
    /// Every kind of stage.
    pub const ALL: [Rule; 36] = [
        Rule::Time,
        Rule::Ca,
        Rule::Clients,
        Rule::Record,
        Rule::Install,
        Rule::Bootstrap,
        Rule::FinishBootstrap,
        Rule::Start,
        Rule::StartQuorum,
        Rule::RefreshFiles,
        Rule::Renew,
        Rule::Wait,
        Rule::MoveLeader,
        Rule::RaftSnapshot,
        Rule::Downgrade,
        Rule::Roll,
        Rule::Add,
        Rule::Join,
        Rule::Promote,
        Rule::Move,
        Rule::Remove,
        Rule::CleanUp,
        Rule::Reset,
        Rule::BeginRestore,
        Rule::SetAside,
        Rule::Forget,
        Rule::EndRestore,
        Rule::AbortRestore,
        Rule::BeginRecover,
        Rule::StopAll,
        Rule::Choose,
        Rule::ForceNew,
        Rule::EndRecover,
        Rule::Compact,
        Rule::Defragment,
        Rule::Disarm,
    ];

    /// As keys and documents spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Rule::Time => "time",
            Rule::Ca => "ca",
            Rule::Clients => "clients",
            Rule::Record => "record",
            Rule::Install => "install",
            Rule::Bootstrap => "bootstrap",
            Rule::FinishBootstrap => "finish-bootstrap",
            Rule::Start => "start",
            Rule::StartQuorum => "start-quorum",
            Rule::RefreshFiles => "refresh-files",
            Rule::Renew => "renew",
            Rule::Wait => "wait",
            Rule::MoveLeader => "move-leader",
            Rule::RaftSnapshot => "raft-snapshot",
            Rule::Downgrade => "downgrade",
            Rule::Roll => "roll",
            Rule::Add => "add",
            Rule::Join => "join",
            Rule::Promote => "promote",
            Rule::Move => "move",
            Rule::Remove => "remove",
            Rule::CleanUp => "clean-up",
            Rule::Reset => "reset",
            Rule::BeginRestore => "begin-restore",
            Rule::SetAside => "set-aside",
            Rule::Forget => "forget",
            Rule::EndRestore => "end-restore",
            Rule::AbortRestore => "abort-restore",
            Rule::BeginRecover => "begin-recover",
            Rule::StopAll => "stop-all",
            Rule::Choose => "choose",
            Rule::ForceNew => "force-new",
            Rule::EndRecover => "end-recover",
            Rule::Compact => "compact",
            Rule::Defragment => "defragment",
            Rule::Disarm => "disarm",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl StageKey {
    /// A key for the leg that the file itself is.
    #[must_use]
    pub fn new(rule: Rule, subject: Option<&MemberName>) -> Self {
        Self {
            rule,
            subject: subject.cloned(),
            leg: LegTag::default(),
        }
    }
}

impl fmt::Display for StageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.rule.as_str().to_owned();
        if let Some(subject) = &self.subject {
            text = format!("{text}:{subject}");
        }
        if self.leg.generation != 0 {
            text = format!("{text}@g{}", self.leg.generation);
        }
        if let Some(version) = &self.leg.version {
            text = format!("{text}@v{version}");
        }
        if let Some(trust) = &self.leg.trust {
            text = format!("{text}@{}", trust.as_str());
        }
        if self.leg.peers_ready {
            text.push_str("@peers");
        }
        if self.leg.place {
            text.push_str("@place");
        }
        if self.leg.restore {
            text.push_str("@restore");
        }
        f.pad(&text)
    }
}

impl FromStr for StageKey {
    type Err = StageKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || StageKeyError(text.to_owned());
        let mut parts = text.split('@');
        let rest = parts.next().unwrap_or_default();
        let mut leg = LegTag::default();
        for part in parts {
            let trust = [TrustLeg::Spread, TrustLeg::Keyless, TrustLeg::Reissue];
            if let Some(trust) = trust.into_iter().find(|leg| leg.as_str() == part) {
                leg.trust = Some(trust);
            } else if part == "peers" {
                leg.peers_ready = true;
            } else if part == "place" {
                leg.place = true;
            } else if part == "restore" {
                leg.restore = true;
            } else if let Some(generation) = part.strip_prefix('g') {
                leg.generation = generation.parse().map_err(|_| refuse())?;
            } else {
                let version = part.strip_prefix('v').ok_or_else(refuse)?;
                leg.version = Some(version.parse().map_err(|_| refuse())?);
            }
        }
        let (rule, subject) = match rest.split_once(':') {
            Some((rule, subject)) => (rule, Some(subject.parse().map_err(|_| refuse())?)),
            None => (rest, None),
        };
        let mut rules = Rule::ALL.into_iter();
        let rule = rules.find(|known| known.as_str() == rule);
        Ok(Self {
            rule: rule.ok_or_else(refuse)?,
            subject,
            leg,
        })
    }
}

impl Serialize for StageKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StageKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for StageKey {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StageKey".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "examples": ["install", "roll:m2", "bootstrap@g1"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_back_as_it_is_written() {
        let member: MemberName = "m-2".parse().unwrap();
        let mut legs = Vec::new();
        for generation in [0, 1, 12] {
            for version in [None, Some(EtcdVersion::new(3, 5, 33))] {
                let trusts = [TrustLeg::Spread, TrustLeg::Keyless, TrustLeg::Reissue];
                for trust in std::iter::once(None).chain(trusts.map(Some)) {
                    for (peers_ready, place) in [(false, false), (true, false), (false, true)] {
                        let version = version.clone();
                        legs.push(LegTag {
                            generation,
                            version,
                            trust,
                            peers_ready,
                            place,
                            restore: generation == 12,
                        });
                    }
                }
            }
        }
        for rule in Rule::ALL {
            for subject in [None, Some(&member)] {
                for leg in legs.clone() {
                    let key = StageKey {
                        leg,
                        ..StageKey::new(rule, subject)
                    };
                    assert_eq!(key.to_string().parse(), Ok(key));
                }
            }
        }
        for wrong in [
            "",
            "rol",
            "roll:",
            "roll:m 1",
            "roll@g",
            "roll@gx",
            "roll@2",
            "roll@v3.5",
            "roll@",
        ] {
            assert!(wrong.parse::<StageKey>().is_err(), "{wrong}");
        }
    }
}
