//! Where the files of a cluster's CA are.

use std::path::{Path, PathBuf};

use camino::Utf8PathBuf;
use etcdup_core::file::Spec;

use crate::topology_file::directory_of;

/// Where the CA's certificate of a topology file is, or will be once etcdup made one.
#[must_use]
pub fn ca_certificate(spec: &Spec, file: &Path) -> PathBuf {
    place(
        spec,
        directory_of(file),
        spec.certificates.ca.cert.as_ref(),
        "ca.crt",
    )
}

/// A file that the topology names, or that has this name in the cluster's own directory.
pub(super) fn place(
    spec: &Spec,
    base: &Path,
    given: Option<&Utf8PathBuf>,
    standard: &str,
) -> PathBuf {
    given.map_or_else(
        || own_directory(spec, base).join(standard),
        |path| base.join(path),
    )
}

/// The directory of a cluster's CA and of its clients' certificates.
pub(super) fn own_directory(spec: &Spec, base: &Path) -> PathBuf {
    base.join("pki").join(spec.cluster.as_str())
}
