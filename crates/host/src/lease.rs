//! The lease's words: what is asked of a host, and what it answers.

use etcdup_core::operation::{OperationState, Verb, Who};
use etcdup_core::plain::harmless;
use etcdup_core::stage::StageKey;

use crate::reports::refusal;

/// What is asked of a host's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseRequest {
    /// To have it.
    Take {
        /// What it is for.
        verb: Verb,
        /// Who asks.
        who: Who,
        /// Since when, for people.
        since: String,
        /// An operation that is known to have died: its lease is not waited out.
        died: Option<String>,
        /// What was approved, for the operations log.
        stages: Vec<StageKey>,
    },
    /// To keep it.
    Renew,
    /// To give it back.
    Release {
        /// How the operation ended, for the operations log.
        ended: OperationState,
    },
}

impl LeaseRequest {
    /// The line that the script reads below its header.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Take {
                verb,
                who,
                since,
                died,
                stages,
            } => {
                let died = died.as_deref().unwrap_or_default();
                let stages = crate::history::stages_field(stages);
                format!("take|{verb}|{who}|{since}|{died}|{stages}\n")
            }
            Self::Renew => "renew\n".to_owned(),
            Self::Release { ended } => format!("release|{ended}\n"),
        }
    }
}

/// What a host answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// It is ours, under this epoch.
    Taken {
        /// The epoch, which fences the holders before.
        epoch: u64,
        /// What the last stage on the host left to be known by; empty where none ever ran.
        last: String,
    },
    /// It is still ours, or no longer, as was asked.
    Done,
    /// It has expired, and the last script of its holder still runs.
    Busy {
        /// The holder.
        who: String,
    },
    /// Another operation has it.
    Held {
        /// The operation.
        operation: String,
        /// Who runs it.
        who: String,
        /// What it does.
        verb: String,
        /// Since when.
        since: String,
        /// When it was renewed last, by the host's uptime: it changes as long as the holder lives.
        renewed: String,
    },
    /// The script did not get to the lease, and why.
    Refused(String),
}

impl LeaseAnswer {
    /// Reads what the script printed; `complaint` is the last line of its standard error.
    #[must_use]
    pub fn read(output: &str, complaint: &str) -> Self {
        // It holds names that anyone with root on that host may have written.
        let text = harmless(output);
        let line = text
            .lines()
            .find(|line| line.starts_with("@lease|") || line.starts_with("@refused|"));
        let fields: Vec<&str> = line.unwrap_or_default().split('|').collect();
        match fields[..] {
            ["@lease", "taken", epoch, last] => epoch.parse().map_or_else(
                |_| Self::Refused(text.clone()),
                |epoch| Self::Taken {
                    epoch,
                    last: last.to_owned(),
                },
            ),
            ["@lease", "kept" | "released"] => Self::Done,
            ["@lease", "busy", who] => Self::Busy {
                who: who.to_owned(),
            },
            ["@lease", "held", operation, verb, _, who, since, renewed] => Self::Held {
                operation: operation.to_owned(),
                who: who.to_owned(),
                verb: verb.to_owned(),
                since: since.to_owned(),
                renewed: renewed.to_owned(),
            },
            _ => Self::Refused(refusal(&text).unwrap_or_else(|| complaint.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_told_from_the_others() {
        let read = |text: &str| LeaseAnswer::read(text, "sh: not found");
        let taken = LeaseAnswer::Taken {
            epoch: 7,
            last: "op 1".into(),
        };
        assert_eq!(read("motd\n@lease|taken|7|op 1\n"), taken);
        assert_eq!(read("@lease|kept\n"), LeaseAnswer::Done);
        assert!(matches!(
            read("@lease|held|op|apply|3|ann@a|noon|12.5\n"),
            LeaseAnswer::Held { who, .. } if who == "ann@a"
        ));
        assert_eq!(read("@refused|bm8K\n"), LeaseAnswer::Refused("no".into()));
        assert_eq!(read(""), LeaseAnswer::Refused("sh: not found".into()));
        // An epoch that is no number is no lease.
        assert!(matches!(read("@lease|taken|x|\n"), LeaseAnswer::Refused(_)));
    }

    #[test]
    fn a_dead_operation_is_named_behind_the_rest() {
        let take = LeaseRequest::Take {
            verb: Verb::Apply,
            who: Who::new("ann@a"),
            since: "noon".into(),
            died: Some("op".into()),
            stages: vec!["roll:m2".parse().unwrap(), "install".parse().unwrap()],
        };
        assert_eq!(take.line(), "take|apply|ann@a|noon|op|roll:m2,install\n");
        let ended = OperationState::Done;
        assert_eq!(LeaseRequest::Release { ended }.line(), "release|done\n");
    }
}
