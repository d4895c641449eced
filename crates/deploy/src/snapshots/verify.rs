//! Whether a file is a whole snapshot: etcd puts the SHA-256 of the database behind it.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use etcdup_core::digest::hex;
use sha2::{Digest, Sha256};

/// How long the digest behind the database is.
pub(super) const DIGEST: u64 = 32;
/// Databases grow by pages of this size or a multiple of it (bbolt).
const PAGE: u64 = 512;
/// What a page of bbolt's that says what the database is begins with, behind its header.
const MAGIC: u32 = 0xED0C_DAED;
/// The header and that.
const HEAD: usize = 20;

/// Why a file is no whole snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not as long as a snapshot can be: it was cut off, or is a database without its digest.
    #[error("{path} has {size} bytes, which no snapshot has: it was cut off, or is something else")]
    Size {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// What is in it is no database of etcd's, whatever its digest says.
    #[error("{path} is no snapshot of etcd: there is no database in it")]
    NoDatabase {
        /// The file.
        path: PathBuf,
    },
    /// What is in it is not what was sent.
    #[error("{path} is damaged: its SHA-256 is {found}, and the member sent {sent}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The digest of what is in it, hex.
        found: String,
        /// The digest that the member sent, hex.
        sent: String,
    },
    /// It is whole, and not the one that its document means.
    #[error(
        "{path} is another snapshot than its document says: its SHA-256 is {found}, and the document has {meant}"
    )]
    Another {
        /// The file.
        path: PathBuf,
        /// The digest of what is in it, hex.
        found: String,
        /// The digest in the document, hex.
        meant: String,
    },
}

/// Reads a snapshot to its end; the SHA-256 of its database, hex.
///
/// # Errors
/// When it is none, or not whole.
pub fn verify(path: &Path) -> Result<String, SnapshotFault> {
    let unreadable = |source| SnapshotFault::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    if size <= DIGEST || size % PAGE != DIGEST {
        let path = path.to_owned();
        return Err(SnapshotFault::Size { path, size });
    }
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut hasher = Sha256::new();
    let mut database = reader.by_ref().take(size - DIGEST);
    let mut piece = vec![0; 1 << 20];
    // The first page of a bbolt database is a meta page: a header of 16 bytes, then this.
    let mut head = [0; HEAD];
    database.read_exact(&mut head).map_err(unreadable)?;
    hasher.update(head);
    let is_database = head.ends_with(&MAGIC.to_le_bytes());
    loop {
        let read = database.read(&mut piece).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        hasher.update(&piece[..read]);
    }
    let mut sent = Vec::new();
    reader.read_to_end(&mut sent).map_err(unreadable)?;
    let found = hasher.finalize();
    if found[..] == sent[..] {
        let path = path.to_owned();
        return match is_database {
            true => Ok(hex(&found)),
            false => Err(SnapshotFault::NoDatabase { path }),
        };
    }
    Err(SnapshotFault::Damaged {
        path: path.to_owned(),
        found: hex(&found),
        sent: hex(&sent),
    })
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    pub(in crate::snapshots) fn snapshot(pages: usize) -> Vec<u8> {
        let mut bytes = vec![7; pages * 512];
        bytes[16..HEAD].copy_from_slice(&MAGIC.to_le_bytes());
        let digest = Sha256::digest(&bytes);
        bytes.extend(digest);
        bytes
    }

    fn verified(bytes: &[u8]) -> Result<String, SnapshotFault> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        verify(file.path())
    }

    #[test]
    fn a_whole_snapshot_passes_and_none_with_a_bit_flipped_or_a_byte_less() {
        let whole = snapshot(8);
        assert!(verified(&whole).is_ok());
        for at in [0, 100, 4095, 4096, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert!(
                matches!(verified(&flipped), Err(SnapshotFault::Damaged { .. })),
                "{at}"
            );
        }
        for less in [1, 32, 512, 544, whole.len()] {
            assert!(verified(&whole[..whole.len() - less]).is_err(), "{less}");
        }
        let mut more = whole;
        more.push(0);
        assert!(matches!(verified(&more), Err(SnapshotFault::Size { .. })));
    }
}
