//! How a snapshot moves: from where it comes to where it goes, piece by piece, through a command
//! where one encrypts it. It is never whole in memory.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use etcdup_client::Snapshot;
use etcdup_core::digest::hex;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio_util::task::AbortOnDropHandle;

use super::digest::{SnapshotDigest, SnapshotFault};
use super::error::{FlowError, PlaceError};
use super::stalled::{STALLED, SYNCED, in_time};

/// How long a command may move nothing: it may wait for a person.
const SILENCE: Duration = Duration::from_secs(300);

/// How long what a command said last is waited for, once it has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How much is moved at once.
const PIECE: usize = 1 << 20;

/// Where a snapshot comes from.
#[async_trait]
pub(super) trait Source: Send {
    /// The next piece; none at the end.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, FlowError>;
}

/// Where it goes.
#[async_trait]
pub(super) trait Sink: Send {
    /// Takes a piece.
    async fn take(&mut self, piece: &[u8]) -> Result<(), FlowError>;
}

/// What a member sends. `progress` receives how many bytes came, and of how many.
pub(super) struct Sent<'a> {
    snapshot: Snapshot,
    size: u64,
    /// None where it is digested as it lies.
    digest: Option<SnapshotDigest>,
    progress: &'a mut (dyn FnMut(u64, u64) + Send),
}

impl<'a> Sent<'a> {
    pub(super) fn new(
        snapshot: Snapshot,
        digest: Option<SnapshotDigest>,
        progress: &'a mut (dyn FnMut(u64, u64) + Send),
    ) -> Self {
        Self {
            snapshot,
            size: 0,
            digest,
            progress,
        }
    }

    /// The digest of what came, where it was counted, and its size.
    pub(super) fn finish(self) -> (Option<SnapshotDigest>, u64) {
        (self.digest, self.size)
    }
}

#[async_trait]
impl Source for Sent<'_> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, FlowError> {
        let Some(piece) = self.snapshot.next().await? else {
            return Ok(None);
        };
        self.size += piece.bytes.len() as u64;
        (self.progress)(self.size, self.size + piece.remaining);
        if let Some(digest) = &mut self.digest {
            digest.push(&piece.bytes);
        }
        Ok(Some(piece.bytes))
    }
}

/// What is kept somewhere.
pub(super) struct Read {
    pub(super) what: String,
    pub(super) reader: Box<dyn AsyncRead + Send + Unpin>,
    /// SHA-256 of all that was read so far, where that is what proves it: a plain snapshot has a
    /// digest of its own.
    pub(super) stored: Option<Sha256>,
}

impl Read {
    /// Reads to the end, and keeps nothing.
    pub(super) async fn drain(&mut self) -> Result<(), FlowError> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    /// Whether what was read is what was written, by its SHA-256, where that was counted.
    pub(super) fn check(self, written: &str) -> Result<(), SnapshotFault> {
        let found = self.stored.map(|stored| hex(&stored.finalize()));
        match found.filter(|found| found != written) {
            None => Ok(()),
            Some(found) => Err(SnapshotFault::Stored {
                what: self.what,
                found,
                written: written.to_owned(),
            }),
        }
    }
}

#[async_trait]
impl Source for Read {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, FlowError> {
        let mut piece = vec![0; PIECE];
        let (what, reader) = (&self.what, &mut self.reader);
        let read = async {
            let read = reader.read(&mut piece).await;
            read.map_err(|source| PlaceError::new(what, source))
        };
        let read = in_time(what, STALLED, read).await?;
        piece.truncate(read);
        if let Some(stored) = &mut self.stored {
            stored.update(&piece);
        }
        Ok((read > 0).then_some(piece))
    }
}

/// Reads a snapshot, and keeps nothing of it.
#[async_trait]
impl Sink for SnapshotDigest {
    async fn take(&mut self, piece: &[u8]) -> Result<(), FlowError> {
        self.push(piece);
        Ok(())
    }
}

/// Writes it into a file, and reads it on the way.
pub(super) struct ToFile<'a> {
    pub(super) path: &'a Path,
    pub(super) file: tokio::fs::File,
    pub(super) digest: SnapshotDigest,
    /// What the disk need not have yet, in bytes.
    pub(super) unsynced: u64,
}

#[async_trait]
impl Sink for ToFile<'_> {
    async fn take(&mut self, piece: &[u8]) -> Result<(), FlowError> {
        self.digest.push(piece);
        self.unsynced += piece.len() as u64;
        let synced = self.unsynced >= SYNCED;
        if synced {
            self.unsynced = 0;
        }
        let (path, file) = (self.path, &mut self.file);
        let written = async {
            let written = async {
                file.write_all(piece).await?;
                match synced {
                    true => file.sync_data().await,
                    false => Ok(()),
                }
            };
            written
                .await
                .map_err(|source| PlaceError::new(path.display(), source))
        };
        Ok(in_time(path.display(), STALLED, written).await?)
    }
}

/// A command that a snapshot is piped through, run in the topology file's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) command: Vec<String>,
    pub(super) base: PathBuf,
}

impl Filter {
    pub(super) fn failed(&self, why: impl Into<String>) -> FlowError {
        FlowError::Command {
            command: self.command.first().cloned().unwrap_or_default(),
            why: why.into(),
        }
    }

    fn start(&self) -> Result<Child, FlowError> {
        let mut words = self.command.iter();
        let program = words.next().map(String::as_str).unwrap_or_default();
        let started = Command::new(program)
            .args(words)
            .current_dir(match self.base.as_os_str().is_empty() {
                true => Path::new("."),
                false => &self.base,
            })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        started.map_err(|error| self.failed(format!("cannot be started: {error}")))
    }
}

/// Moves all that comes from `source` to `sink`, through a command where there is one.
pub(super) async fn flow(
    source: &mut dyn Source,
    filter: Option<&Filter>,
    sink: &mut dyn Sink,
) -> Result<(), FlowError> {
    let Some(filter) = filter else {
        while let Some(piece) = source.next().await? {
            sink.take(&piece).await?;
        }
        return Ok(());
    };
    let mut child = filter.start()?;
    let (Some(mut input), Some(mut output), Some(mut errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(filter.failed("has no pipes"));
    };
    let pieces = AtomicU64::new(1);
    let feed = async {
        while let Some(piece) = source.next().await? {
            pieces.fetch_add(1, Ordering::Relaxed);
            match input.write_all(&piece).await {
                Ok(()) => {}
                // How it ended says why it takes no more.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
                Err(error) => return Err(filter.failed(format!("takes nothing: {error}"))),
            }
        }
        drop(input);
        Ok(())
    };
    let drain = async {
        let mut piece = vec![0; PIECE];
        loop {
            let read = output.read(&mut piece).await;
            let read = read.map_err(|error| filter.failed(format!("cannot be read: {error}")))?;
            if read == 0 {
                return Ok(());
            }
            pieces.fetch_add(1, Ordering::Relaxed);
            sink.take(&piece[..read]).await?;
        }
    };
    // What it says beyond the first 64 KiB is read as well, or it would wait and wait.
    let saying = AbortOnDropHandle::new(tokio::spawn(async move {
        let mut said = Vec::new();
        let mut first = (&mut errors).take(64 << 10);
        let _ = first.read_to_end(&mut said).await;
        let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
        said
    }));
    let moved = async {
        tokio::try_join!(feed, drain)?;
        child
            .wait()
            .await
            .map_err(|error| filter.failed(format!("cannot be waited for: {error}")))
    };
    let stalled = async {
        let mut before = 0;
        loop {
            tokio::time::sleep(SILENCE).await;
            let now = pieces.load(Ordering::Relaxed);
            if now == before {
                return filter.failed(format!("has moved nothing for {} s", SILENCE.as_secs()));
            }
            before = now;
        }
    };
    let ended = tokio::select! {
        ended = moved => ended?,
        error = stalled => return Err(error),
    };
    // What it left behind may hold its standard error open for as long as it likes.
    let said = tokio::time::timeout(LAST_WORDS, saying).await;
    let said = said.ok().and_then(Result::ok).unwrap_or_default();
    if ended.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    // Some programs say last where to report what they have just explained.
    let error = lines
        .clone()
        .find(|line| line.to_lowercase().contains("error"));
    let words = error.or_else(|| lines.next_back());
    let words = words.map(|line| format!(": {line}"));
    Err(filter.failed(format!("ended with {ended}{}", words.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    struct Once(Option<Vec<u8>>);

    #[async_trait]
    impl Source for Once {
        async fn next(&mut self) -> Result<Option<Vec<u8>>, FlowError> {
            Ok(self.0.take())
        }
    }

    #[derive(Default)]
    struct All(Vec<u8>);

    #[async_trait]
    impl Sink for All {
        async fn take(&mut self, piece: &[u8]) -> Result<(), FlowError> {
            self.0.extend_from_slice(piece);
            Ok(())
        }
    }

    async fn piped(script: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let filter = Filter {
            command: vec!["sh".into(), "-c".into(), script.into()],
            base: PathBuf::new(),
        };
        let mut all = All::default();
        let mut source = Once(Some(bytes.to_vec()));
        let piped = flow(&mut source, Some(&filter), &mut all).await;
        piped.map(|()| all.0).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_command_that_fails_is_an_error_whatever_it_wrote() {
        let bytes = vec![7; 3 << 20];
        assert_eq!(piped("cat", &bytes).await.unwrap(), bytes);
        let failed = piped("cat; echo no key >&2; exit 3", &bytes).await;
        let failed = failed.unwrap_err();
        assert!(
            failed.contains("no key") && failed.contains('3'),
            "{failed}"
        );
        // It takes nothing at all.
        let failed = piped("exec <&-; echo refused >&2; exit 1", &bytes).await;
        assert!(failed.unwrap_err().contains("refused"));
        // It says more than a pipe holds, and takes what comes afterwards.
        let talkative = "yes no | head -c 300000 >&2; cat";
        assert_eq!(piped(talkative, &bytes).await.unwrap(), bytes);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let filter = Filter {
            command: vec!["no-such-program".into()],
            base: PathBuf::new(),
        };
        let failed = flow(&mut Once(None), Some(&filter), &mut All::default()).await;
        let failed = failed.unwrap_err().to_string();
        assert!(
            failed.contains("`no-such-program` cannot be started"),
            "{failed}"
        );
    }
}
