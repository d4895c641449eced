//! Snapshots that are kept in a directory, each with a document beside it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcdup_core::file::Snapshots;
use etcdup_core::membership::ClusterId;
use etcdup_core::name::{ClusterName, MemberName};
use etcdup_core::observation::SnapshotSeen;
use etcdup_core::restore::{KnownSnapshot, RestoreOrder};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::save::{PIECE, SaveError, piece_in};
use super::verify::{SnapshotFault, verify};

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
    /// Its size, in bytes.
    pub size: u64,
    /// SHA-256 of the database in it, hex: what etcd appended to it.
    pub sha256: String,
    /// Who took it, `user@machine`.
    pub who: String,
}

/// A snapshot that was found in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSnapshot {
    /// The file.
    pub path: PathBuf,
    /// Its size, in bytes.
    pub size: u64,
    /// When it was taken: as its document says, or else when the file was written.
    pub taken: Timestamp,
    /// What is known of it; `None` where there is no document that can be read.
    pub document: Option<SnapshotDocument>,
}

impl KeptSnapshot {
    /// The snapshot in a file, with the document beside it where that can be read.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn at(path: PathBuf) -> std::io::Result<Self> {
        let about = std::fs::metadata(&path)?;
        let document = std::fs::read(path.with_extension("json")).ok();
        let document =
            document.and_then(|text| serde_json::from_slice::<SnapshotDocument>(&text).ok());
        let written = || Timestamp::try_from(about.modified().ok()?).ok();
        let taken = document.as_ref().map(|document| document.taken);
        Ok(Self {
            taken: taken.or_else(written).unwrap_or_default(),
            size: about.len(),
            path,
            document,
        })
    }

    /// An order to restore a cluster from it, once it was read to its end.
    ///
    /// # Errors
    /// When it is not whole, or another one than its document means.
    pub fn order(&self, bump: bool, again: bool) -> Result<RestoreOrder, SnapshotFault> {
        let sha256 = self.verify()?;
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
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
            again,
            cluster_id: None,
        })
    }

    /// Its name: the file's, without `.db`.
    #[must_use]
    pub fn name(&self) -> String {
        let stem = self.path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }

    /// Reads it to its end: whether it is whole, and the one that its document means.
    ///
    /// # Errors
    /// When it is not whole, or another one.
    pub fn verify(&self) -> Result<String, SnapshotFault> {
        self.verify_file(&self.path)
    }

    fn verify_file(&self, path: &Path) -> Result<String, SnapshotFault> {
        let sha256 = verify(path)?;
        let document = self.document.as_ref();
        match document.filter(|document| document.sha256 != sha256) {
            None => Ok(sha256),
            Some(document) => Err(SnapshotFault::Another {
                path: path.to_owned(),
                found: sha256,
                meant: document.sha256.clone(),
            }),
        }
    }

    /// Copies it into a file that nobody else may read and that is not there yet. The copy gets its
    /// name once it was read back and is whole; before that nothing is left of it.
    ///
    /// # Errors
    /// When it is not whole, or the file cannot be written.
    pub fn copy_to(&self, to: &Path) -> Result<(), SaveError> {
        let failed = |source| SaveError::File {
            path: to.to_owned(),
            source,
        };
        let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut copy = piece_in(directory.unwrap_or(Path::new("."))).map_err(failed)?;
        let copied =
            File::open(&self.path).and_then(|mut from| std::io::copy(&mut from, &mut copy));
        copied.map_err(failed)?;
        copy.as_file().sync_all().map_err(failed)?;
        if let Err(fault) = self.verify_file(copy.path()) {
            // Most likely it is this one that is damaged, and then it is the one to be named.
            self.verify()?;
            return Err(fault.into());
        }
        let named = copy.persist_noclobber(to);
        named.map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// Deletes it and its document, the document last: a file without one is still found.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub fn delete(&self) -> std::io::Result<()> {
        std::fs::remove_file(&self.path)?;
        match std::fs::remove_file(self.path.with_extension("json")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// The directory that a cluster's snapshots are kept in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotDirectory {
    path: PathBuf,
    /// What must be there already.
    given: Option<PathBuf>,
}

/// How old a piece of a snapshot must be that nobody writes any more.
const LEFT: Duration = Duration::from_secs(24 * 3600);

impl SnapshotDirectory {
    /// That of a cluster whose topology file is in this directory.
    #[must_use]
    pub fn of(base: &Path, settings: &Snapshots, cluster: &ClusterName) -> Self {
        let given = settings.to.as_ref().map(|to| base.join(to));
        let all = given.clone().unwrap_or_else(|| base.join("snapshots"));
        Self {
            path: all.join(cluster.as_str()),
            given,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the snapshot of this name.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.db"))
    }

    /// Makes it where it is missing, and deletes what a process left that was killed while it
    /// wrote.
    ///
    /// # Errors
    /// When it cannot be made, or other users may look into it.
    pub fn prepare(&self) -> std::io::Result<()> {
        let mut builder = std::fs::DirBuilder::new();
        if let Some(given) = self.given.as_ref().filter(|given| !given.is_dir()) {
            return Err(std::io::Error::new(
                std::io::ErrorKind::NotFound,
                format!("{} is no directory: mount it, or make it", given.display()),
            ));
        }
        builder.recursive(true).mode(0o700).create(&self.path)?;
        let mode = std::fs::metadata(&self.path)?.permissions().mode();
        if mode & 0o007 != 0 {
            return Err(std::io::Error::new(
                std::io::ErrorKind::PermissionDenied,
                "every user may look into it, and a snapshot holds all secrets of the cluster: `chmod 700` it",
            ));
        }
        // Topology files lie in repositories.
        let ignore = self.path.join(".gitignore");
        if !ignore.exists() {
            std::fs::write(ignore, "*\n")?;
        }
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let is_piece = entry.file_name().to_string_lossy().starts_with(PIECE);
            let modified = entry.metadata().and_then(|about| about.modified());
            let old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT));
            if is_piece && old {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// What is in it, the oldest first; nothing where there is no directory.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> std::io::Result<Vec<KeptSnapshot>> {
        let entries = match std::fs::read_dir(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "db") {
                continue;
            }
            found.push(KeptSnapshot::at(path)?);
        }
        found.sort_by(|a, b| (a.taken, &a.path).cmp(&(b.taken, &b.path)));
        Ok(found)
    }

    /// The newest of them.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn newest(&self) -> std::io::Result<Option<SnapshotSeen>> {
        let newest = self.list()?.pop();
        Ok(newest.map(|kept| SnapshotSeen {
            name: kept.name(),
            taken: kept.taken,
            size: kept.size,
        }))
    }

    /// Writes the document beside a snapshot.
    pub(super) fn describe(&self, document: &SnapshotDocument) -> std::io::Result<()> {
        let text = serde_json::to_string_pretty(document)?;
        let mut file = piece_in(&self.path)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        let path = self.path.join(format!("{}.json", document.name));
        file.persist(path).map_err(|error| error.error)?;
        File::open(&self.path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    #[test]
    fn a_directory_that_others_may_look_into_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let directory =
            SnapshotDirectory::of(base.path(), &Snapshots::default(), &"prod".parse().unwrap());
        assert!(directory.list().unwrap().is_empty());
        directory.prepare().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).unwrap();
        let refused = directory.prepare().unwrap_err().to_string();
        assert!(refused.contains("chmod 700"), "{refused}");
    }

    /// A disk that is not mounted must not fill the one below it.
    #[test]
    fn a_directory_that_is_named_must_be_there() {
        let base = tempfile::tempdir().unwrap();
        let settings = Snapshots {
            to: Some("backup".into()),
            ..Snapshots::default()
        };
        let directory = SnapshotDirectory::of(base.path(), &settings, &"prod".parse().unwrap());
        let refused = directory.prepare().unwrap_err().to_string();
        assert!(refused.contains("mount it"), "{refused}");
        std::fs::create_dir(base.path().join("backup")).unwrap();
        directory.prepare().unwrap();
        assert_eq!(directory.path(), base.path().join("backup/prod"));
    }

    /// A document that cannot be read, or is of another snapshot, does not hide what is there.
    #[test]
    fn what_is_there_is_listed_whatever_its_document_says() {
        let base = tempfile::tempdir().unwrap();
        let directory =
            SnapshotDirectory::of(base.path(), &Snapshots::default(), &"prod".parse().unwrap());
        directory.prepare().unwrap();
        for (name, text) in [("a.db", "x"), ("b.db", "y"), ("b.json", "{"), ("notes", "")] {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let listed = directory.list().unwrap();
        assert_eq!(listed.len(), 2);
        assert!(listed.iter().all(|kept| kept.document.is_none()));
        assert!(listed[0].verify().is_err());
        listed[0].delete().unwrap();
        assert_eq!(directory.list().unwrap().len(), 1);
    }

    /// A copy has a name only once it is whole, and takes nobody's place.
    #[test]
    fn a_copy_is_whole_or_is_not_there() {
        let base = tempfile::tempdir().unwrap();
        let directory =
            SnapshotDirectory::of(base.path(), &Snapshots::default(), &"prod".parse().unwrap());
        directory.prepare().unwrap();
        let (file, to) = (directory.file("a"), base.path().join("copy.db"));
        let mut bytes = crate::snapshots::verify::tests::snapshot(8);
        bytes[100] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        let damaged = directory.list().unwrap().remove(0);
        let why = damaged.copy_to(&to).unwrap_err().to_string();
        assert!(why.contains("a.db is damaged"), "{why}");
        bytes[100] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        let whole = directory.list().unwrap().remove(0);
        whole.copy_to(&to).unwrap();
        let mode = std::fs::metadata(&to).unwrap().permissions().mode();
        assert_eq!((std::fs::read(&to).unwrap(), mode & 0o777), (bytes, 0o600));
        assert!(whole.copy_to(&to).is_err());
        let left = std::fs::read_dir(base.path()).unwrap().count();
        assert_eq!(left, 2, "the copy and the directory");
    }
}
