//! The topology file and what lies beside it.

use std::path::Path;

use etcdup_core::file::Document;
use etcdup_core::sources::Sources;

use crate::error::DeployError;
use crate::vault::cfssl;

/// The directory that relative paths in a topology file start from.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Reads a topology file, with `--set`s, without touching any host.
///
/// # Errors
/// When the file cannot be read or is no topology.
pub fn read_topology(path: &Path, sets: &[String]) -> Result<Document, DeployError> {
    let text = std::fs::read_to_string(path).map_err(|source| DeployError::File {
        path: path.to_owned(),
        source,
    })?;
    topology_of(path, text, sets)
}

/// The topology that a text of this file says.
///
/// # Errors
/// When it is no topology, or names a source that is not there.
pub fn topology_of(path: &Path, text: String, sets: &[String]) -> Result<Document, DeployError> {
    let name = path.display().to_string();
    let mut document = Document::parse(&name, &text, sets).map_err(|error| DeployError::Parse {
        name,
        text,
        error,
    })?;
    let directory = directory_of(path);
    let sources = read_sources(directory)?;
    sources
        .fill_in(&mut document.spec)
        .map_err(DeployError::Blocked)?;
    document.spec.certificates.requests = cfssl::read(&document.spec, directory)
        .map_err(|finding| DeployError::Blocked(vec![*finding]))?;
    Ok(document)
}

/// Reads `sources.toml` of a directory of topologies. One that is not there has none.
///
/// # Errors
/// When it cannot be read or is none.
pub fn read_sources(directory: &Path) -> Result<Sources, DeployError> {
    let path = directory.join("sources.toml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Sources::default());
        }
        Err(source) => return Err(DeployError::File { path, source }),
    };
    Sources::parse(&text).map_err(|finding| DeployError::Blocked(vec![*finding]))
}
