//! Snapshots that are kept, each with a document beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcdup_core::membership::ClusterId;
use etcdup_core::name::{ClusterName, MemberName};
use etcdup_core::restore::{KnownSnapshot, RestoreOrder};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::digest::{SnapshotDigest, SnapshotFault};
use super::directory::{SnapshotDirectory, directory_of};
use super::error::{FlowError, PlaceError};
use super::file_piece::piece_in;
use super::flow::{Filter, Read, ToFile, flow};
use super::patience::Patient;
use super::place::{DOCUMENT, ENCRYPTED, PLAIN, Place};
use super::stalled::{STALLED, in_time};
use crate::tasks::blocking;

/// The format that the document beside a snapshot names.
pub const SNAPSHOT_FORMAT: &str = "etcdup/snapshot/1";

/// What is known of a snapshot beside what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotDocument {
    /// The format, [`SNAPSHOT_FORMAT`].
    pub format: String,
    /// Its name, which the file has too: `<cluster>-<time>-r<revision>`.
    pub name: String,
    /// The cluster's name.
    pub cluster: ClusterName,
    /// The cluster's ID.
    pub cluster_id: ClusterId,
    /// The release of etcd that sent it.
    pub etcd: String,
    /// The member that sent it.
    pub member: MemberName,
    /// The revision that the member was at when it began to send: the snapshot is of this one or a
    /// later one.
    pub revision: i64,
    /// When it was begun.
    pub taken: Timestamp,
    /// Its size, in bytes, before it is encrypted.
    pub size: u64,
    /// SHA-256 of the database in it, hex: what etcd appended to it.
    pub sha256: String,
    /// What lies there, where a command encrypted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<EncryptedSnapshot>,
    /// Whether it was taken of what a restore replaced then: whoever asks for the latest one means
    /// an earlier one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaced: bool,
    /// Who took it, `user@machine`.
    pub who: String,
}

/// What a command made of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct EncryptedSnapshot {
    /// Its size, in bytes.
    pub size: u64,
    /// SHA-256 of all of it, hex.
    pub sha256: String,
}

/// A snapshot that was found.
#[derive(Debug, Clone)]
pub struct KeptSnapshot {
    /// Its name, without how its file ends.
    pub name: String,
    /// Its size where it lies, in bytes.
    pub size: u64,
    /// When it was taken: as its document or its name says, or else when the file was written.
    pub taken: Timestamp,
    /// What is known of it; `None` where there is no document that can be read.
    pub document: Option<SnapshotDocument>,
    pub(super) encrypted: bool,
    pub(super) file: String,
    pub(super) place: Arc<dyn Place>,
    pub(super) decrypt: Option<Filter>,
}

impl KeptSnapshot {
    /// The snapshot in a file of this machine, with the document beside it where that can be read.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn at(path: &Path) -> std::io::Result<Self> {
        let about = std::fs::metadata(path)?;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let encrypted = file.strip_suffix(ENCRYPTED);
        let name = encrypted.or_else(|| file.strip_suffix(PLAIN));
        let name = name.unwrap_or(&file).to_owned();
        let beside = path.with_file_name(format!("{name}{DOCUMENT}"));
        let document = std::fs::read(beside).ok();
        let document =
            document.and_then(|text| serde_json::from_slice::<SnapshotDocument>(&text).ok());
        let written = || Timestamp::try_from(about.modified().ok()?).ok();
        let taken = document.as_ref().map(|document| document.taken);
        Ok(Self {
            name,
            taken: taken.or_else(written).unwrap_or_default(),
            size: about.len(),
            document,
            encrypted: encrypted.is_some(),
            place: Patient::with(Arc::new(SnapshotDirectory::at(directory_of(path)))),
            file: file.into_owned(),
            decrypt: None,
        })
    }

    /// An order to restore a cluster from it, once it was read to its end: it lies on this machine
    /// as etcd sent it.
    ///
    /// # Errors
    /// When it is not whole, or another one than its document means.
    pub async fn order(&self, bump: bool, again: bool) -> Result<RestoreOrder, FlowError> {
        let sha256 = self.verify().await?;
        let elsewhere = || PlaceError::new(self.show(), "it is not a file of this machine");
        let path = self.file().ok_or_else(elsewhere)?;
        let path = std::path::absolute(&path).unwrap_or(path);
        let known = self.document.as_ref().map(|document| KnownSnapshot {
            cluster_id: document.cluster_id,
            etcd: document.etcd.clone(),
            revision: document.revision,
            taken: document.taken,
        });
        Ok(RestoreOrder {
            id: uuid::Uuid::now_v7().to_string(),
            path: path.to_string_lossy().into_owned(),
            sha256,
            size: self.size,
            known,
            bump,
            above: 0,
            again,
            cluster_id: None,
        })
    }

    /// Where it lies, as people write it: a path or a URL.
    #[must_use]
    pub fn show(&self) -> String {
        self.place.show(&self.file)
    }

    /// By what lists are sorted, the oldest first.
    pub(super) fn age_order(&self) -> (Timestamp, &str) {
        (self.taken, &self.name)
    }

    /// Whether it is of what a restore replaced.
    pub(super) fn is_replaced(&self) -> bool {
        self.document
            .as_ref()
            .is_some_and(|document| document.replaced)
    }

    /// Whether a command encrypted it.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// The file, where it lies on this machine as etcd sent it.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        match self.encrypted {
            true => None,
            false => self.place.file(&self.file),
        }
    }

    async fn read(&self) -> Result<Read, PlaceError> {
        Ok(Read {
            what: self.show(),
            reader: self.place.read(&self.file).await?,
            stored: self.encrypted.then(Sha256::new),
        })
    }

    /// Reads it to its end where it lies: whether it is whole, and the one that its document means.
    /// What is encrypted is compared with what was written, and decrypted where `[snapshots]
    /// decrypt` says how. The SHA-256 of the database, hex.
    ///
    /// # Errors
    /// When it is not whole, or another one.
    pub async fn verify(&self) -> Result<String, FlowError> {
        let mut read = self.read().await?;
        match (self.encrypted, &self.decrypt) {
            (true, None) => {
                read.drain().await?;
                let known = self.document.as_ref();
                let known = known.filter(|known| known.encrypted.is_some()).ok_or_else(|| {
                    let why = "it is encrypted, its document is missing, and [snapshots] does not say how to decrypt it";
                    PlaceError::new(self.show(), why)
                })?;
                self.check_stored(read)?;
                Ok(known.sha256.clone())
            }
            (encrypted, decrypt) => {
                let filter = decrypt.as_ref().filter(|_| encrypted);
                let mut digest = SnapshotDigest::default();
                flow(&mut read, filter, &mut digest).await?;
                self.check_stored(read)?;
                Ok(self.check(digest)?)
            }
        }
    }

    fn check_stored(&self, read: Read) -> Result<(), SnapshotFault> {
        let known = self.document.as_ref();
        match known.and_then(|known| known.encrypted.as_ref()) {
            Some(known) => read.check(&known.sha256),
            None => Ok(()),
        }
    }

    fn check(&self, digest: SnapshotDigest) -> Result<String, SnapshotFault> {
        let sha256 = digest.finish(&self.show())?;
        let document = self.document.as_ref();
        match document.filter(|document| document.sha256 != sha256) {
            None => Ok(sha256),
            Some(document) => Err(SnapshotFault::Another {
                what: self.show(),
                found: sha256,
                meant: document.sha256.clone(),
            }),
        }
    }

    /// Copies it, decrypted, into a file that nobody else may read and that is not there yet. The
    /// copy gets its name once it was read back and is whole; before that nothing is left of it.
    ///
    /// # Errors
    /// When it is not whole, or the file cannot be written.
    pub async fn copy_to(&self, to: &Path) -> Result<(), FlowError> {
        let failed = |source| PlaceError::new(to.display(), source);
        if self.encrypted && self.decrypt.is_none() {
            let why = "it is encrypted: say how to decrypt it with `decrypt` under [snapshots]";
            return Err(PlaceError::new(self.show(), why).into());
        }
        if to.exists() {
            let exists = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(failed(exists).into());
        }
        let directory = directory_of(to).to_owned();
        let piece = in_time(to.display(), STALLED, async {
            blocking(move || piece_in(&directory)).await.map_err(failed)
        });
        let piece = piece.await?;
        let mut read = self.read().await?;
        let mut copy = ToFile {
            path: to,
            file: tokio::fs::File::from_std(piece.reopen().map_err(failed)?),
            digest: SnapshotDigest::default(),
            unsynced: 0,
        };
        let filter = self.decrypt.as_ref().filter(|_| self.encrypted);
        flow(&mut read, filter, &mut copy).await?;
        let ToFile { file, digest, .. } = copy;
        self.check_stored(read)?;
        let sha256 = self.check(digest)?;
        let synced = async { file.sync_all().await.map_err(failed) };
        in_time(to.display(), STALLED, synced).await?;
        drop(file);
        let to = to.to_owned();
        let kept = blocking(move || {
            // What the disk has is what will be restored, and not what was sent.
            super::file_piece::leave_the_cache(piece.as_file(), 0)
                .map_err(|source| PlaceError::new(to.display(), source))?;
            let back = super::digest::verify(piece.path())?;
            if back != sha256 {
                return Err(FlowError::Fault(SnapshotFault::Another {
                    what: to.display().to_string(),
                    found: back,
                    meant: sha256,
                }));
            }
            let named = piece.persist_noclobber(&to);
            let failed = |source| PlaceError::new(to.display(), source);
            named.map_err(|error| failed(error.error))?;
            // Its name is there after a power cut as well.
            let directory = std::fs::File::open(directory_of(&to)).map_err(failed)?;
            directory.sync_all().map_err(failed)?;
            Ok(())
        });
        kept.await
    }

    /// Deletes it and its document, the document last: a file without one is still found.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub async fn delete(&self) -> Result<(), PlaceError> {
        self.place.delete(&self.file).await?;
        self.place.delete(&format!("{}{DOCUMENT}", self.name)).await
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    /// A document of a snapshot of this name.
    pub(in crate::snapshots) fn document(name: &str, replaced: bool) -> SnapshotDocument {
        SnapshotDocument {
            format: SNAPSHOT_FORMAT.to_owned(),
            name: name.to_owned(),
            cluster: "prod".parse().unwrap(),
            cluster_id: ClusterId::new(1),
            etcd: "3.5.30".to_owned(),
            member: "m1".parse().unwrap(),
            revision: 7,
            taken: Timestamp::UNIX_EPOCH,
            size: 3,
            sha256: String::new(),
            encrypted: None,
            replaced,
            who: "ann@desk".to_owned(),
        }
    }
}
