//! The operations log of a host: who began what, and how it ended.

use etcdup_core::plain::harmless;
use etcdup_core::stage::StageKey;
use jiff::Timestamp;

use crate::reports::refusal;

/// The stages that a line has room for.
const MOST_STAGES: usize = 30;

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When, by the operator's clock.
    pub at: Timestamp,
    /// The cluster: a host may have members of several.
    pub cluster: String,
    /// The operation.
    pub operation: String,
    /// Which of the processes that carried it out, on this host.
    pub epoch: u64,
    /// What happened.
    pub what: LogEntry,
}

/// What a line of the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEntry {
    /// A process began with it, or went on.
    Began {
        /// What it is for.
        verb: String,
        /// Who, and from which machine.
        who: String,
        /// The stages that were approved; `+3` where there were three more.
        stages: Vec<String>,
    },
    /// It gave the host back.
    Ended {
        /// `done`, `failed` or `stopped`.
        state: String,
    },
}

/// What was approved, as a log has it: a last `+3` where there were three more.
#[must_use]
pub fn first_stages(stages: &[StageKey]) -> Vec<String> {
    let first = stages.iter().take(MOST_STAGES);
    let mut named: Vec<String> = first.map(ToString::to_string).collect();
    let more = stages.len().saturating_sub(MOST_STAGES);
    if more > 0 {
        named.push(format!("+{more}"));
    }
    named
}

/// The same as a field of a line.
pub(crate) fn stages_field(stages: &[StageKey]) -> String {
    first_stages(stages).join(",")
}

/// Reads what the script printed. A line that is no line of the log is left out: a write that was
/// cut off leaves one.
///
/// # Errors
/// Why the script did not get to the log; `complaint` is the last line of its standard error.
pub fn read_log(output: &str, complaint: &str) -> Result<Vec<LogLine>, String> {
    let text = harmless(output);
    // What is in the log is no refusal, whatever it says.
    let Some((_, log)) = text.split_once("@history\n") else {
        return Err(refusal(&text).unwrap_or_else(|| complaint.to_owned()));
    };
    let Some((log, _)) = log.rsplit_once("@end") else {
        return Err("the answer was cut off".to_owned());
    };
    Ok(log.lines().filter_map(line).collect())
}

fn line(text: &str) -> Option<LogLine> {
    let fields: Vec<&str> = text.strip_prefix('@')?.split('|').collect();
    let [kind, at, cluster, operation, epoch, rest @ ..] = &fields[..] else {
        return None;
    };
    let what = match (*kind, rest) {
        ("began", [verb, who, stages]) => LogEntry::Began {
            verb: (*verb).to_owned(),
            who: (*who).to_owned(),
            stages: stages
                .split(',')
                .filter(|stage| !stage.is_empty())
                .map(str::to_owned)
                .collect(),
        },
        ("ended", [state]) => LogEntry::Ended {
            state: (*state).to_owned(),
        },
        _ => return None,
    };
    Some(LogLine {
        at: Timestamp::from_millisecond(at.parse().ok()?).ok()?,
        cluster: (*cluster).to_owned(),
        operation: (*operation).to_owned(),
        epoch: epoch.parse().ok()?,
        what,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_hides_no_other() {
        let log = "motd\n@history\n@began|1000|prod|op|1|apply|me@here|install,roll:m2\n@ended|2000|pr\n\
                   @ended|2000|prod|op|1|done\n@end\n";
        let lines = read_log(log, "").unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[0].what,
            LogEntry::Began {
                verb: "apply".into(),
                who: "me@here".into(),
                stages: vec!["install".into(), "roll:m2".into()],
            }
        );
        assert_eq!(
            (lines[1].at.as_second(), &lines[1].what),
            (
                2,
                &LogEntry::Ended {
                    state: "done".into()
                }
            )
        );
        assert_eq!(
            read_log("@history\n@began", "x"),
            Err("the answer was cut off".into())
        );
        assert_eq!(read_log("", "sh: not found"), Err("sh: not found".into()));
    }

    #[test]
    fn a_long_plan_says_how_much_more_it_was() {
        let key: StageKey = "roll:m2".parse().unwrap();
        let field = stages_field(&vec![key; 33]);
        assert!(field.ends_with("roll:m2,+3"), "{field}");
    }
}
