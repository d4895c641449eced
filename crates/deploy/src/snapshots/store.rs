//! What is kept of a cluster's snapshots, wherever that is.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcdup_client::MemberClient;
use etcdup_core::digest::hex;
use etcdup_core::file::Snapshots;
use etcdup_core::name::ClusterName;
use etcdup_core::observation::SnapshotSeen;
use etcdup_core::plain::chain;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use super::copies_directory::CopiesDirectory;
use super::digest::{SnapshotDigest, SnapshotFault};
use super::directory::SnapshotDirectory;
use super::error::{FlowError, PlaceError};
use super::flow::{Filter, Read, Sent, Sink, flow};
use super::kept::{EncryptedSnapshot, KeptSnapshot, SnapshotDocument};
use super::objects::Objects;
use super::patience::Patient;
use super::place::{DOCUMENT, ENCRYPTED, Found, PLAIN, Piece, Place, Settled};
use crate::tasks::run_all;

/// How long a place may take to send a document.
const SENDS: Duration = Duration::from_secs(30);

/// More than any document has, in bytes.
const LONGEST: u64 = 64 << 10;

/// Where a cluster's snapshots are kept, and how they are encrypted there.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    place: Arc<dyn Place>,
    /// Where those that come from elsewhere are on this machine, before they are restored.
    pub(super) copies: CopiesDirectory,
    encrypt: Option<Filter>,
    decrypt: Option<Filter>,
}

/// A snapshot that was saved, and read again to its end where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedSnapshot {
    /// Its size, in bytes, as it was sent.
    pub size: u64,
    /// SHA-256 of the database in it, hex.
    pub sha256: String,
    /// What lies there, where a command encrypted it.
    pub encrypted: Option<EncryptedSnapshot>,
}

impl SnapshotStore {
    /// That of a cluster whose topology file is in this directory.
    ///
    /// # Errors
    /// When the URL or what it needs is wrong.
    pub fn of(
        base: &Path,
        settings: &Snapshots,
        cluster: &ClusterName,
    ) -> Result<Self, PlaceError> {
        let place: Arc<dyn Place> = match settings.url() {
            Some(url) => Arc::new(Objects::of(base, settings, url, cluster)?),
            None => Arc::new(SnapshotDirectory::of(base, settings, cluster)),
        };
        let filter = |command: &Vec<String>| {
            (!command.is_empty()).then(|| Filter {
                command: command.clone(),
                base: base.to_owned(),
            })
        };
        Ok(Self {
            place: Patient::with(place),
            copies: CopiesDirectory::of(base, cluster),
            encrypt: filter(&settings.encrypt),
            decrypt: filter(&settings.decrypt),
        })
    }

    /// Where it is, as people write it: a path or a URL.
    #[must_use]
    pub fn show(&self) -> String {
        self.place.show("")
    }

    /// Where the snapshot of this name is, or will be.
    #[must_use]
    pub fn show_one(&self, name: &str) -> String {
        self.place.show(&self.file(name))
    }

    fn file(&self, name: &str) -> String {
        let end = self.encrypt.as_ref().map_or(PLAIN, |_| ENCRYPTED);
        format!("{name}{end}")
    }

    /// What is in it, the oldest first; nothing where there is no such place yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn list(&self) -> Result<Vec<KeptSnapshot>, PlaceError> {
        let all = self.entries().await?.into_iter();
        Ok(all.map(|entry| entry.kept).collect())
    }

    async fn entries(&self) -> Result<Vec<Entry>, PlaceError> {
        let found = self.place.list().await?;
        let described = described(&found);
        let snapshots: Vec<KeptSnapshot> = found.iter().filter_map(|one| self.kept(one)).collect();
        let work = snapshots.iter().filter(|one| described.contains(&one.name));
        let work = work.map(|one| {
            let (place, name) = (Arc::clone(&self.place), one.name.clone());
            (
                one.name.clone(),
                async move { document(place, &name).await },
            )
        });
        let mut documents = run_all(work).await;
        let with_document = snapshots.into_iter().map(|mut kept| {
            kept.document = documents
                .remove(&kept.name)
                .and_then(|read| read.ok().flatten());
            let said = kept.document.as_ref().map(|document| document.taken);
            kept.taken = said.unwrap_or(kept.taken);
            let is_described = described.contains(&kept.name);
            Entry { kept, is_described }
        });
        let mut all: Vec<Entry> = with_document.collect();
        all.sort_by(|a, b| a.kept.age_order().cmp(&b.kept.age_order()));
        Ok(all)
    }

    /// The newest of them that is not of what a restore replaced.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn newest(&self) -> Result<Option<SnapshotSeen>, PlaceError> {
        self.newest_by(Timestamp::MAX).await
    }

    /// The newest that was taken by then: one of the future was taken by a clock that was wrong.
    pub(super) async fn newest_by(
        &self,
        then: Timestamp,
    ) -> Result<Option<SnapshotSeen>, PlaceError> {
        let found = self.place.list().await?;
        let described = described(&found);
        let all = found.iter().filter_map(|one| self.kept(one));
        // A document is written last of all, so that one without was never finished.
        let mut all: Vec<KeptSnapshot> = all
            .filter(|one| described.contains(&one.name) && one.taken <= then)
            .collect();
        all.sort_by(|a, b| a.age_order().cmp(&b.age_order()));
        // As a rule one document is read.
        while let Some(kept) = all.pop() {
            let document = document(Arc::clone(&self.place), &kept.name).await;
            if !document.is_some_and(|document| document.replaced) {
                return Ok(Some(SnapshotSeen {
                    name: kept.name,
                    taken: kept.taken,
                    size: kept.size,
                }));
            }
        }
        Ok(None)
    }

    /// The one of this name, or the newest for `latest`, where there is one.
    ///
    /// # Errors
    /// When those that are kept cannot be read; for `latest` also the document of a newer one.
    pub async fn find(&self, name: &str) -> Result<Option<KeptSnapshot>, PlaceError> {
        let mut found = self.entries().await?;
        let at = match name {
            "latest" => self.latest(&found)?,
            name => found.iter().position(|entry| entry.kept.name == name),
        };
        Ok(at.map(|at| found.swap_remove(at).kept))
    }

    /// Which of a list, the oldest first, is the latest: one that was never finished has no
    /// document, and what a restore replaced is not what anybody wants back by that name.
    fn latest(&self, found: &[Entry]) -> Result<Option<usize>, PlaceError> {
        for (at, Entry { kept, is_described }) in found.iter().enumerate().rev() {
            match &kept.document {
                Some(document) if document.replaced => {}
                Some(_) => return Ok(Some(at)),
                None if *is_described => {
                    let why = "its document cannot be read, so which is the latest is not known: name one";
                    return Err(PlaceError::new(self.show_one(&kept.name), why));
                }
                None => {}
            }
        }
        // Those that were put there by hand.
        Ok(found.iter().rposition(|entry| !entry.is_described))
    }

    /// The snapshot in a file of this machine, which is decrypted as those that are kept are.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn at(&self, path: &Path) -> std::io::Result<KeptSnapshot> {
        Ok(KeptSnapshot {
            decrypt: self.decrypt.clone(),
            ..KeptSnapshot::at(path)?
        })
    }

    /// A file that is a snapshot by its name.
    fn kept(&self, found: &Found) -> Option<KeptSnapshot> {
        let (name, encrypted) = match found.name.strip_suffix(ENCRYPTED) {
            Some(name) => (name, true),
            None => (found.name.strip_suffix(PLAIN)?, false),
        };
        Some(KeptSnapshot {
            name: name.to_owned(),
            size: found.size,
            taken: taken(name).unwrap_or(found.written),
            document: None,
            encrypted,
            file: found.name.clone(),
            place: Arc::clone(&self.place),
            decrypt: self.decrypt.clone(),
        })
    }

    /// A directory of this machine for what is needed for a moment, which nobody else looks into.
    pub(super) async fn scratch(&self) -> Result<&Path, PlaceError> {
        self.copies.prepare().await
    }

    /// Saves what a member sends under this name, readable by its owner alone, and reads it again
    /// where it lies. It has no name before all of it came, and nothing is left of it otherwise.
    /// `progress` receives how many bytes came, and of how many.
    ///
    /// # Errors
    /// When the member, the place or a command is at fault.
    pub async fn save(
        &self,
        client: &MemberClient,
        name: &str,
        mut progress: impl FnMut(u64, u64) + Send,
    ) -> Result<SavedSnapshot, FlowError> {
        self.place.prepare().await?;
        let file = self.file(name);
        let what = self.place.show(&file);
        let mut piece = self.place.write(&file).await?;
        let filled = self.fill(client, &file, piece.as_mut(), &mut progress);
        let filled = match filled.await {
            Ok(filled) => filled,
            Err(error) => {
                piece.discard().await;
                return Err(error);
            }
        };
        piece.finish().await?;
        let Filled {
            size,
            sha256,
            encrypted,
            back,
        } = filled;
        let back = match back {
            Some(back) => back,
            None => {
                let read = self.place.read(&file).await?;
                match read_back(&what, read, (sha256.as_deref(), encrypted.as_ref())).await {
                    Ok(found) => found,
                    Err(fault) => return Err(self.give_up(&file, fault).await),
                }
            }
        };
        // Where there is a way back it is gone: what cannot be decrypted is no backup.
        if self.encrypt.is_some() && self.decrypt.is_some() {
            let found = Found {
                name: file.clone(),
                size: encrypted.as_ref().map_or(size, |stored| stored.size),
                written: Timestamp::now(),
            };
            let back = self.kept(&found);
            let back = back.ok_or_else(|| PlaceError::new(&what, "it has no name"))?;
            if let Err(fault) = back.verify().await {
                return Err(self.give_up(&file, fault).await);
            }
        }
        Ok(SavedSnapshot {
            size,
            sha256: sha256.unwrap_or(back),
            encrypted,
        })
    }

    /// Writes what a member sends, and reads it back where that can be done before it has its name.
    async fn fill(
        &self,
        client: &MemberClient,
        file: &str,
        piece: &mut dyn Piece,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Filled, FlowError> {
        let what = self.place.show(file);
        // A plain one is digested as its file is read back: once is enough.
        let counts = self.encrypt.is_some() || self.place.file(file).is_none();
        let digest = counts.then(SnapshotDigest::default);
        let mut sent = Sent::new(client.snapshot().await?, digest, progress);
        let mut written = Written {
            piece,
            stored: self.encrypt.as_ref().map(|_| Sha256::new()),
            size: 0,
        };
        flow(&mut sent, self.encrypt.as_ref(), &mut written).await?;
        let (stored, stored_size) = (written.stored, written.size);
        if let Some(encrypt) = self.encrypt.as_ref().filter(|_| stored_size == 0) {
            // What is nothing has the size and the digest that were noted of it.
            return Err(encrypt.failed("ended well, and wrote nothing"));
        }
        let (digest, size) = sent.finish();
        let sha256 = digest.map(|digest| digest.finish(&what)).transpose()?;
        let encrypted = stored.map(|stored| EncryptedSnapshot {
            size: stored_size,
            sha256: hex(&stored.finalize()),
        });
        let back = match piece.settle().await? {
            Settled::ReadBack(digest) => Some(digest.finish(&what)?),
            Settled::Readable(reader) => {
                let meant = (sha256.as_deref(), encrypted.as_ref());
                Some(read_back(&what, reader, meant).await?)
            }
            Settled::Later => None,
        };
        Ok(Filled {
            size,
            sha256,
            encrypted,
            back,
        })
    }

    /// Deletes what was written and is wrong. What could not be read may be whole: without a
    /// document it counts for nothing, and stays.
    async fn give_up(&self, file: &str, why: FlowError) -> FlowError {
        let is_wrong = matches!(why, FlowError::Fault(_) | FlowError::Command { .. });
        if is_wrong && let Err(error) = self.place.delete(file).await {
            tracing::warn!(
                file,
                error = chain(&error),
                "a snapshot that is wrong is left"
            );
        }
        why
    }

    /// Writes the document beside a snapshot.
    pub(super) async fn describe(&self, document: &SnapshotDocument) -> Result<(), FlowError> {
        let name = format!("{}{DOCUMENT}", document.name);
        let text = serde_json::to_string_pretty(document);
        let text = text.map_err(|error| PlaceError::new(self.place.show(&name), error))?;
        let mut piece = self.place.write(&name).await?;
        piece.take(text.as_bytes()).await?;
        Ok(piece.finish().await?)
    }
}

/// When a snapshot was taken, by its name: `prod-20261126T221503.123Z-r81220113`.
fn taken(name: &str) -> Option<Timestamp> {
    let (rest, revision) = name.rsplit_once("-r")?;
    revision.parse::<u64>().ok()?;
    let (_, time) = rest.rsplit_once('-')?;
    time.parse().ok()
}

/// What was written.
struct Filled {
    size: u64,
    /// SHA-256 of the database, hex, where it was counted on its way.
    sha256: Option<String>,
    encrypted: Option<EncryptedSnapshot>,
    /// The same of what was read back, where it was.
    back: Option<String>,
}

/// A snapshot of a list.
struct Entry {
    kept: KeptSnapshot,
    /// Whether a document lies there, which may still not be read.
    is_described: bool,
}

/// The names of which there is a document.
fn described(found: &[Found]) -> BTreeSet<String> {
    let names = found.iter().map(|one| one.name.strip_suffix(DOCUMENT));
    names.flatten().map(str::to_owned).collect()
}

async fn document(place: Arc<dyn Place>, name: &str) -> Option<SnapshotDocument> {
    let read = async {
        let reader = place.read(&format!("{name}{DOCUMENT}")).await.ok()?;
        let mut text = Vec::new();
        reader.take(LONGEST).read_to_end(&mut text).await.ok()?;
        serde_json::from_slice(&text).ok()
    };
    tokio::time::timeout(SENDS, read).await.ok().flatten()
}

/// Whether what lies there is what was written: the database of this SHA-256, or what a command
/// made of it. The SHA-256 of what lies there, hex.
async fn read_back(
    what: &str,
    reader: Box<dyn tokio::io::AsyncRead + Send + Unpin>,
    (sha256, encrypted): (Option<&str>, Option<&EncryptedSnapshot>),
) -> Result<String, FlowError> {
    let mut read = Read {
        what: what.to_owned(),
        reader,
        stored: encrypted.map(|_| Sha256::new()),
    };
    if let Some(encrypted) = encrypted {
        read.drain().await?;
        read.check(&encrypted.sha256)?;
        return Ok(encrypted.sha256.clone());
    }
    let mut digest = SnapshotDigest::default();
    flow(&mut read, None, &mut digest).await?;
    let found = digest.finish(what)?;
    match sha256.filter(|sha256| *sha256 != found) {
        None => Ok(found),
        Some(sha256) => Err(FlowError::Fault(SnapshotFault::Another {
            what: what.to_owned(),
            found,
            meant: sha256.to_owned(),
        })),
    }
}

/// What is written, with a digest of it.
struct Written<'a> {
    piece: &'a mut dyn Piece,
    /// Where it is not the plain snapshot, which is digested as it is sent.
    stored: Option<Sha256>,
    size: u64,
}

#[async_trait]
impl Sink for Written<'_> {
    async fn take(&mut self, piece: &[u8]) -> Result<(), FlowError> {
        if let Some(stored) = &mut self.stored {
            stored.update(piece);
        }
        self.size += piece.len() as u64;
        self.piece.take(piece).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    /// Puts a snapshot into the directory, with a document where `replaced` says something.
    fn put(base: &Path, day: u32, replaced: Option<bool>) -> String {
        let name = format!("prod-202611{day:02}T120000Z-r7");
        let at = base.join("snapshots/prod");
        std::fs::write(at.join(format!("{name}{PLAIN}")), b"any").unwrap();
        if let Some(replaced) = replaced {
            let document = SnapshotDocument {
                taken: taken(&name).unwrap(),
                ..super::super::kept::tests::document(&name, replaced)
            };
            let text = serde_json::to_vec(&document).unwrap();
            std::fs::write(at.join(format!("{name}{DOCUMENT}")), text).unwrap();
        }
        name
    }

    fn store() -> (tempfile::TempDir, SnapshotStore) {
        let base = tempfile::tempdir().unwrap();
        let settings = Snapshots::default();
        let store = SnapshotStore::of(base.path(), &settings, &"prod".parse().unwrap()).unwrap();
        std::fs::create_dir_all(base.path().join("snapshots/prod")).unwrap();
        (base, store)
    }

    async fn latest_of(store: &SnapshotStore) -> Option<String> {
        let found = store.find("latest").await.unwrap();
        found.map(|found| found.name)
    }

    /// Whoever runs `restore latest` again means the same one.
    #[tokio::test]
    async fn what_a_restore_replaced_is_not_the_latest() {
        let (base, store) = store();
        assert_eq!(latest_of(&store).await, None);
        // One that was put there by hand has no document.
        let bare = put(base.path(), 9, None);
        assert_eq!(latest_of(&store).await, Some(bare.clone()));
        let first = put(base.path(), 2, Some(false));
        let second = put(base.path(), 3, Some(false));
        let replaced = put(base.path(), 4, Some(true));
        assert_eq!(latest_of(&store).await, Some(second));
        // Whether a newer one whose document is torn was replaced nobody can say.
        let torn = put(base.path(), 5, Some(false));
        let path = base.path().join(format!("snapshots/prod/{torn}{DOCUMENT}"));
        std::fs::write(path, "{").unwrap();
        let unknown = store.find("latest").await.unwrap_err();
        assert!(chain(&unknown).contains("cannot be read"), "{unknown:?}");
        for name in [bare, first, replaced, torn] {
            let found = store.find(&name).await.unwrap();
            assert_eq!(found.map(|found| found.name), Some(name));
        }
    }

    /// A clock that was wrong for a while must not have one taken at each look.
    #[tokio::test]
    async fn one_of_the_future_is_not_the_newest_that_counts() {
        let (base, store) = store();
        let past = put(base.path(), 2, Some(false));
        put(base.path(), 29, Some(false));
        put(base.path(), 4, Some(true));
        let now = "2026-11-15T00:00:00Z".parse().unwrap();
        let newest = store.newest_by(now).await.unwrap();
        assert_eq!(newest.map(|newest| newest.name), Some(past));
    }

    /// A store that took the bytes may hold fewer, or others.
    #[tokio::test]
    async fn what_is_read_back_is_what_was_sent() {
        use super::super::digest::tests::snapshot;
        let whole = snapshot(8);
        let back = async |bytes: &[u8], meant: &str| {
            let reader = Box::new(std::io::Cursor::new(bytes.to_vec()));
            read_back("a.db", reader, (Some(meant), None)).await
        };
        let reader = Box::new(std::io::Cursor::new(whole.clone()));
        let sha256 = read_back("a.db", reader, (None, None)).await.unwrap();
        assert_eq!(back(&whole, &sha256).await.unwrap(), sha256);
        for wrong in [&whole[..whole.len() - 1], &whole[..0], &snapshot(9)] {
            let fault = back(wrong, &sha256).await.unwrap_err();
            assert!(fault.is_damage(), "{fault}");
        }
    }
}
