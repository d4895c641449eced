//! The audit trail: who changed what, and what was refused, a line each in `.etcdup/audit.jsonl`.

use std::collections::VecDeque;
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
const LARGEST: u64 = 16 << 20;
/// Requests that nobody with a token made are noted this often at most, the others counted: who has
/// no token must not fill the disk, nor push what happened out of sight.
const STRANGERS: Duration = Duration::from_secs(1);
const FILE: &str = "audit.jsonl";
const ASIDE: &str = "audit.1.jsonl";
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
    /// When a stranger's request was noted, and how many were not since.
    strangers: Mutex<(Option<Instant>, u64)>,
}

impl Audit {
    pub(crate) fn beside(directory: &Path) -> Self {
        Self {
            store: Store::beside(directory),
            strangers: Mutex::default(),
        }
    }

    /// Appends a line.
    pub(crate) fn append(&self, mut entry: AuditEntry) -> Result<()> {
        let strangers = self.strangers.lock();
        let mut strangers = strangers.unwrap_or_else(PoisonError::into_inner);
        if entry.token.is_none() && entry.from != TERMINAL && entry.status >= 400 {
            let (last, skipped) = &mut *strangers;
            if last.is_some_and(|last| last.elapsed() < STRANGERS) {
                *skipped += 1;
                return Ok(());
            }
            entry.skipped = std::mem::take(skipped);
            *last = Some(Instant::now());
        }
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        let directory = self.directory()?;
        let path = directory.join(FILE);
        if std::fs::metadata(&path).is_ok_and(|file| file.len() > LARGEST) {
            std::fs::rename(&path, directory.join(ASIDE))?;
        }
        let mut options = File::options();
        let mut file = options.create(true).append(true).mode(0o600).open(&path)?;
        file.write_all(&line)?;
        file.sync_data()
    }

    /// The newest lines, the newest first; those before a request where one is named, and none
    /// where it is not there. A line that was cut off by a crash is left out.
    pub(crate) fn newest(
        &self,
        most: usize,
        before: Option<&str>,
    ) -> Result<Option<Vec<AuditEntry>>> {
        let mut kept: VecDeque<AuditEntry> = VecDeque::with_capacity(most);
        // What was put aside is older.
        for name in [ASIDE, FILE] {
            let file = match File::open(self.directory()?.join(name)) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for line in BufReader::new(file).lines() {
                let Ok(entry) = serde_json::from_str::<AuditEntry>(&line?) else {
                    continue;
                };
                if before.is_some_and(|before| before == entry.request) {
                    return Ok(Some(kept.into_iter().rev().collect()));
                }
                if kept.len() >= most {
                    kept.pop_front();
                }
                kept.push_back(entry);
            }
        }
        let whole = kept.into_iter().rev().collect();
        Ok(before.is_none().then_some(whole))
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

    fn entry(number: u32, token: Option<&str>) -> AuditEntry {
        AuditEntry {
            at: Timestamp::UNIX_EPOCH,
            who: None,
            token: token.map(str::to_owned),
            from: "127.0.0.1".to_owned(),
            method: "POST".to_owned(),
            path: "/v1/x".to_owned(),
            made: None,
            status: 401,
            request: number.to_string(),
            skipped: 0,
        }
    }

    #[test]
    fn strangers_push_nothing_out_of_sight() {
        let place = tempfile::tempdir().unwrap();
        let audit = Audit::beside(place.path());
        audit.append(entry(0, Some("t"))).unwrap();
        for number in 1..500 {
            audit.append(entry(number, None)).unwrap();
        }
        audit.append(entry(500, Some("t"))).unwrap();
        let ids = |most, before| {
            let newest = audit.newest(most, before).unwrap().unwrap().into_iter();
            newest.map(|entry| entry.request).collect::<Vec<_>>()
        };
        assert_eq!(ids(200, None), ["500", "1", "0"]);
        assert_eq!(ids(1, None), ["500"]);
        assert_eq!(ids(200, Some("500")), ["1", "0"]);
        assert_eq!(audit.newest(200, Some("nope")).unwrap(), None);
    }
}
