//! The audit trail: who changed what, and what was refused, a line each in
//! `.etcdup/audit.jsonl` and `refused.jsonl`.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Error, ErrorKind, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use etcdup_core::plain::chain;
use etcdup_deploy::Store;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A file of this size is put aside, and the one that was aside goes.
const LARGEST: u64 = 4 << 20;
/// What was refused is noted this often at most for each name, and counted beyond that: nobody must
/// fill the disk, nor push what happened out of sight.
const REFUSALS: Duration = Duration::from_secs(1);
/// A name that nothing was refused to for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Names that are counted one by one.
const MOST_NAMES: usize = 1000;
/// What was changed: the file put aside, and the one that is written.
const CHANGED: [&str; 2] = ["audit.1.jsonl", "audit.jsonl"];
/// What was refused, in the same way.
const REFUSED: [&str; 2] = ["refused.1.jsonl", "refused.jsonl"];
/// Where a line of the command line's comes from.
const TERMINAL: &str = "terminal";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who, by the token's name; nobody where there was no valid token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// The ID of that token: names may be given again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// From which address; `terminal` for the command line.
    pub from: String,
    /// The method.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// What was made: the path of an operation, a plan or a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
    /// The answer's status.
    pub status: u16,
    /// The request's id.
    pub request: String,
    /// How many more were refused since the last line that nobody with a token made.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The file.
pub(crate) struct Audit {
    store: Store,
    /// When something was last refused to a token, or to whoever has none, and how often it was not
    /// noted since.
    refusals: Mutex<HashMap<String, (Instant, u64)>>,
}

impl Audit {
    pub(crate) fn beside(directory: &Path) -> Self {
        Self {
            store: Store::beside(directory),
            refusals: Mutex::default(),
        }
    }

    /// Appends a line. What was refused goes into a log of its own, a line a second and a name at
    /// most: nobody pushes out of sight what was changed.
    pub(crate) fn append(&self, mut entry: AuditEntry) -> Result<()> {
        let refused = entry.status >= 400 && entry.from != TERMINAL;
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refused {
            refusals.retain(|_, (last, skipped)| last.elapsed() < FORGOTTEN || *skipped > 0);
            let known = refusals.len() < MOST_NAMES;
            // Beyond so many names all further ones count as one.
            let name = entry.token.clone().filter(|_| known).unwrap_or_default();
            match refusals.get_mut(&name) {
                Some((last, skipped)) if last.elapsed() < REFUSALS => {
                    *skipped += 1;
                    return Ok(());
                }
                Some((last, skipped)) => {
                    entry.skipped = std::mem::take(skipped);
                    *last = Instant::now();
                }
                None => {
                    refusals.insert(name, (Instant::now(), 0));
                }
            }
        }
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        let directory = self.directory()?;
        let [aside, file] = if refused { REFUSED } else { CHANGED };
        let path = directory.join(file);
        if std::fs::metadata(&path).is_ok_and(|file| file.len() > LARGEST) {
            std::fs::rename(&path, directory.join(aside))?;
        }
        let mut options = File::options();
        let mut file = options.create(true).append(true).mode(0o600).open(&path)?;
        file.write_all(&line)?;
        if refused { Ok(()) } else { file.sync_data() }
    }

    /// The newest lines of both logs, the newest first; those before a request where one is named.
    /// A line that was cut off by a crash is left out.
    pub(crate) fn newest(&self, most: usize, before: Option<&str>) -> Result<Vec<AuditEntry>> {
        let mut found = Vec::new();
        for name in CHANGED.into_iter().chain(REFUSED) {
            let file = match File::open(self.directory()?.join(name)) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let mut kept: VecDeque<AuditEntry> = VecDeque::with_capacity(most);
            for line in BufReader::new(file).lines() {
                let Ok(entry) = serde_json::from_str::<AuditEntry>(&line?) else {
                    continue;
                };
                // Requests' IDs sort by their time.
                if before.is_some_and(|before| *before <= *entry.request) {
                    break;
                }
                if kept.len() >= most {
                    kept.pop_front();
                }
                kept.push_back(entry);
            }
            found.extend(kept);
        }
        found.sort_by(|a, b| b.request.cmp(&a.request));
        found.truncate(most);
        Ok(found)
    }

    fn directory(&self) -> Result<PathBuf> {
        let made = self.store.prepare().map(Path::to_owned);
        made.map_err(|error| Error::other(chain(&error)))
    }
}

/// Notes what was done at a terminal beside the server: a token that was made or ended.
///
/// # Errors
/// When it cannot be written.
pub fn note(directory: &Path, who: &str, method: &str, token: &str) -> Result<()> {
    let path = format!("/v1/tokens/{token}");
    Audit::beside(directory).append(AuditEntry {
        at: Timestamp::now(),
        who: Some(who.to_owned()),
        token: None,
        from: TERMINAL.to_owned(),
        method: method.to_owned(),
        path: path.clone(),
        made: (method == "POST").then_some(path),
        status: if method == "POST" { 201 } else { 204 },
        request: uuid::Uuid::now_v7().to_string(),
        skipped: 0,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    fn entry(number: u32, token: Option<&str>, status: u16) -> AuditEntry {
        AuditEntry {
            at: Timestamp::UNIX_EPOCH,
            who: None,
            token: token.map(str::to_owned),
            from: "127.0.0.1".to_owned(),
            method: "POST".to_owned(),
            path: "/v1/x".to_owned(),
            made: None,
            status,
            request: format!("{number:04}"),
            skipped: 0,
        }
    }

    #[test]
    fn whoever_is_refused_pushes_nothing_out_of_sight() {
        let place = tempfile::tempdir().unwrap();
        let audit = Audit::beside(place.path());
        audit.append(entry(0, Some("t"), 201)).unwrap();
        for number in 1..500 {
            audit.append(entry(number, None, 401)).unwrap();
            audit.append(entry(number, Some("v"), 403)).unwrap();
        }
        audit.append(entry(500, Some("t"), 201)).unwrap();
        let ids = |most, before| {
            let newest = audit.newest(most, before).unwrap().into_iter();
            newest.map(|entry| entry.request).collect::<Vec<_>>()
        };
        assert_eq!(ids(200, None), ["0500", "0001", "0001", "0000"]);
        assert_eq!(ids(1, None), ["0500"]);
        assert_eq!(ids(200, Some("0500")), ["0001", "0001", "0000"]);
    }
}
