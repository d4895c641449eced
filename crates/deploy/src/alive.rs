//! Which operations of this machine still run: each holds a lock on a file of its own, which the
//! kernel releases when its process ends, however it ends. An operator's own dead process is then
//! known to be dead, and its leases need not be waited out.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The lock of a running operation. Dropping it ends the operation, as does the end of the process.
pub(crate) struct Alive {
    path: PathBuf,
    _file: File,
}

impl Alive {
    /// Marks an operation as running on this machine.
    ///
    /// Where the cache cannot be written the operation is not known here after its death, and its
    /// leases are waited out as those of any other machine are.
    pub(crate) fn mark(cache: &Path, operation: &str) -> Option<Self> {
        let path = file(cache, operation)?;
        std::fs::create_dir_all(path.parent()?).ok()?;
        let file = File::create(&path).ok()?;
        file.try_lock().ok()?;
        Some(Self { path, _file: file })
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        // An operation that ended by itself has released its leases: no one will ask for it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether an operation ran on this machine and its process has ended. False where that is not
/// known.
pub(crate) fn has_died(cache: &Path, operation: &str) -> bool {
    let Some(file) = file(cache, operation).and_then(|path| File::open(path).ok()) else {
        return false;
    };
    match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    }
}

/// The lock's file; none for an ID that is no file name: it comes from a host.
fn file(cache: &Path, operation: &str) -> Option<PathBuf> {
    let safe = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (!operation.is_empty() && operation.chars().all(safe))
        .then(|| cache.join("operations").join(format!("{operation}.lock")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_dead_once_its_lock_is_free() {
        let cache = tempfile::tempdir().unwrap();
        let alive = Alive::mark(cache.path(), "0198-a").unwrap();
        assert!(!has_died(cache.path(), "0198-a"), "it runs");
        assert!(!has_died(cache.path(), "0198-b"), "it never ran here");
        assert!(!has_died(cache.path(), "../x"), "not an ID");
        // What a killed process leaves: the file, and no lock on it.
        let path = alive.path.clone();
        drop(alive);
        File::create(path).unwrap();
        assert!(has_died(cache.path(), "0198-a"));
    }
}
