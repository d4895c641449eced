//! What a stage script reports: each operation as it ends, then the host as it is now.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use etcdup_core::observation::HostView;
use etcdup_core::plain::chain;
use etcdup_core::plain::harmless;

use crate::records::{Inspect, read_answer};

/// What a stage script reported.
#[derive(Debug)]
pub struct StageReport {
    /// How many operations went well.
    pub done: usize,
    /// The operation that failed, and its last lines.
    pub failed: Option<(usize, Vec<String>)>,
    /// Why nothing was done at all.
    pub refused: Option<String>,
    /// The host as it is now; `None` where the script was told to leave looking to later.
    pub view: Result<Option<HostView>, String>,
}

impl StageReport {
    /// Reads what the script printed.
    #[must_use]
    pub fn read(output: &str, inspect: Inspect<'_>) -> Self {
        let mut read = Self {
            done: 0,
            failed: None,
            refused: None,
            view: Err("the host's answer is incomplete".to_owned()),
        };
        let Some((_, body)) = output.split_once("@etcdup\n") else {
            return read;
        };
        let (reports, answer) = body
            .split_once("@observe\n")
            .map_or((body, None), |(reports, answer)| (reports, Some(answer)));
        for line in reports.lines() {
            let fields: Vec<&str> = line.split('|').collect();
            match fields[..] {
                ["@ok", _] => read.done += 1,
                ["@fail", number, _, said] => {
                    read.failed = Some((number.parse().unwrap_or(0), lines(said)));
                }
                ["@later"] => read.view = Ok(None),
                ["@refused", why] => read.refused = Some(lines(why).join(" ")),
                _ => {}
            }
        }
        if let Some(answer) = answer {
            let answer = read_answer(answer, inspect);
            read.view = answer.map(Some).map_err(|error| chain(&error));
        }
        read
    }
}

/// Why a script refused to begin, where it says so.
#[must_use]
pub fn refusal(output: &str) -> Option<String> {
    let field = output
        .lines()
        .find_map(|line| line.strip_prefix("@refused|"))?;
    Some(lines(field).join(" "))
}

pub(crate) fn lines(field: &str) -> Vec<String> {
    let bytes = BASE64_STANDARD.decode(field).unwrap_or_default();
    harmless(&String::from_utf8_lossy(&bytes))
        .lines()
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use etcdup_core::observed::Observed;

    #[test]
    fn a_failed_operation_and_its_words_are_told() {
        let output = "motd\n@etcdup\n@ok|0\n@fail|1|2|bm8gc3BhY2UK\n@observe\n";
        let read = StageReport::read(output, &|_| Observed::unknown("not read"));
        assert_eq!(
            (read.done, read.failed),
            (1, Some((1, vec!["no space".to_owned()])))
        );
        assert!(read.view.is_err());
    }
}
