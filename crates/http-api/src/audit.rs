//! The audit trail: who changed what, and what was refused, a line each in `.etcdup/audit.jsonl`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who, by the token's name; nobody where there was no valid token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// From which address.
    pub from: String,
    /// The method.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// The answer's status.
    pub status: u16,
    /// The request's id.
    pub request: String,
}

/// The file.
pub(crate) struct Audit {
    path: PathBuf,
    writing: Mutex<()>,
}

impl Audit {
    pub(crate) fn beside(directory: &Path) -> Self {
        Self {
            path: directory.join(".etcdup/audit.jsonl"),
            writing: Mutex::default(),
        }
    }

    /// Appends a line.
    pub(crate) fn append(&self, entry: &AuditEntry) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = self.path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let mut options = std::fs::File::options();
        let mut file = options.create(true).append(true).open(&self.path)?;
        file.write_all(&line)
    }

    /// The newest lines, the newest first. A line that was cut off by a crash is left out.
    pub(crate) fn newest(&self, most: usize) -> std::io::Result<Vec<AuditEntry>> {
        let file = match std::fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut kept = std::collections::VecDeque::with_capacity(most);
        for line in BufReader::new(file).lines() {
            if let Ok(entry) = serde_json::from_str(&line?) {
                if kept.len() == most {
                    kept.pop_front();
                }
                kept.push_back(entry);
            }
        }
        Ok(kept.into_iter().rev().collect())
    }
}
