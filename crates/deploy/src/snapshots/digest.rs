//! Whether a file is a whole snapshot: etcd puts the SHA-256 of the database behind it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use etcdup_core::digest::hex;
use sha2::{Digest, Sha256};

/// How long the digest behind the database is.
const DIGEST: u64 = 32;
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
    #[error("cannot read {what}")]
    Unreadable {
        /// The file or object.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not as long as a snapshot can be: it was cut off, or is a database without its digest.
    #[error("{what} has {size} bytes, which no snapshot has: it was cut off, or is something else")]
    Size {
        /// The file or object.
        what: String,
        /// Its size.
        size: u64,
    },
    /// What is in it is no database of etcd's, whatever its digest says.
    #[error("{what} is no snapshot of etcd: there is no database in it")]
    NoDatabase {
        /// The file or object.
        what: String,
    },
    /// What is in it is not what was sent.
    #[error("{what} is damaged: its SHA-256 is {found}, and the member sent {sent}")]
    Damaged {
        /// The file or object.
        what: String,
        /// The digest of what is in it, hex.
        found: String,
        /// The digest that the member sent, hex.
        sent: String,
    },
    /// It is encrypted, and not what was written.
    #[error("{what} is damaged: its SHA-256 is {found}, and {written} was written")]
    Stored {
        /// The file or object.
        what: String,
        /// The digest of what lies there, hex.
        found: String,
        /// The digest of what was written, hex.
        written: String,
    },
    /// It is whole, and not the one that its document means.
    #[error(
        "{what} is another snapshot than its document says: its SHA-256 is {found}, and the document has {meant}"
    )]
    Another {
        /// The file or object.
        what: String,
        /// The digest of what is in it, hex.
        found: String,
        /// The digest in the document, hex.
        meant: String,
    },
}

/// Reads a snapshot piece by piece, whatever the pieces are.
#[derive(Debug, Default)]
pub struct SnapshotDigest {
    hasher: Sha256,
    /// The beginning.
    head: Vec<u8>,
    /// The last bytes so far: they may be the digest, which is not hashed.
    tail: Vec<u8>,
    size: u64,
}

impl SnapshotDigest {
    /// Takes a piece up.
    pub fn push(&mut self, piece: &[u8]) {
        self.size += piece.len() as u64;
        let missing = HEAD.saturating_sub(self.head.len()).min(piece.len());
        self.head.extend_from_slice(&piece[..missing]);
        let hold = usize::try_from(DIGEST).unwrap_or_default();
        if piece.len() >= hold {
            self.hasher.update(&self.tail);
            self.tail.clear();
            let (hashed, held) = piece.split_at(piece.len() - hold);
            self.hasher.update(hashed);
            self.tail.extend_from_slice(held);
            return;
        }
        self.tail.extend_from_slice(piece);
        let over = self.tail.len().saturating_sub(hold);
        self.hasher.update(&self.tail[..over]);
        self.tail.drain(..over);
    }

    /// The SHA-256 of the database, hex, if it was a whole snapshot that was read. `what` names it.
    ///
    /// # Errors
    /// When it is none, or not whole.
    pub fn finish(self, what: &str) -> Result<String, SnapshotFault> {
        let what = || what.to_owned();
        if self.size <= DIGEST || self.size % PAGE != DIGEST {
            return Err(SnapshotFault::Size {
                what: what(),
                size: self.size,
            });
        }
        let found = self.hasher.finalize();
        if found[..] != self.tail[..] {
            return Err(SnapshotFault::Damaged {
                what: what(),
                found: hex(&found),
                sent: hex(&self.tail),
            });
        }
        // The first page of a bbolt database is a meta page: a header of 16 bytes, then this.
        match self.head.ends_with(&MAGIC.to_le_bytes()) {
            true => Ok(hex(&found)),
            false => Err(SnapshotFault::NoDatabase { what: what() }),
        }
    }
}

/// Reads a snapshot to its end; the SHA-256 of its database, hex.
///
/// # Errors
/// When it is none, or not whole.
pub fn verify(path: &Path) -> Result<String, SnapshotFault> {
    let what = path.display().to_string();
    let unreadable = |source| SnapshotFault::Unreadable {
        what: what.clone(),
        source,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut digest = SnapshotDigest::default();
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut piece).map_err(unreadable)?;
        if read == 0 {
            return digest.finish(&what);
        }
        digest.push(&piece[..read]);
    }
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
        // However it comes.
        for size in [1, 31, 32, 33, 500] {
            let mut digest = SnapshotDigest::default();
            whole.chunks(size).for_each(|piece| digest.push(piece));
            assert!(digest.finish("it").is_ok(), "in pieces of {size}");
        }
        let mut more = whole;
        more.push(0);
        assert!(matches!(verified(&more), Err(SnapshotFault::Size { .. })));
    }
}
