//! Files on the operator's machine: written whole or not at all, with their mode before anything is
//! in them.

use std::io::Write;
use std::path::Path;

use crate::vault::VaultError;

/// Writes a file that must not exist yet.
pub(crate) fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), VaultError> {
    let written = prepared(path, text, mode)?;
    // Not looked for beforehand: two runs at once must not each write a CA key.
    written
        .persist_noclobber(path)
        .map_err(|error| refuse(path, error.error))?;
    Ok(())
}

/// Written beside its name and renamed, so that a cut-off run leaves nothing half.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), VaultError> {
    let written = prepared(path, text, mode)?;
    written
        .persist(path)
        .map_err(|error| refuse(path, error.error))?;
    Ok(())
}

fn prepared(path: &Path, text: &str, mode: u32) -> Result<tempfile::NamedTempFile, VaultError> {
    let refuse = |source| refuse(path, source);
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(refuse)?;
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(refuse)?;
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(file.path(), permissions).map_err(refuse)?;
    file.write_all(text.as_bytes()).map_err(refuse)?;
    file.as_file().sync_all().map_err(refuse)?;
    Ok(file)
}

fn refuse(path: &Path, source: std::io::Error) -> VaultError {
    VaultError::File {
        path: path.to_owned(),
        source,
    }
}
