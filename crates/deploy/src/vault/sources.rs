//! Files on this machine that a topology names: whether they are there, and what they hold.

use std::collections::BTreeMap;
use std::path::Path;

use etcdup_core::digest::sha256;
use etcdup_core::file::{Binaries, ProvidedFrom, Spec, TransportSecurity};
use etcdup_core::observation::SourceFacts;
use etcdup_core::observed::Observed;
use etcdup_core::plain::chain;
use etcdup_core::secret::Secret;
use etcdup_core::topology::Topology;
use etcdup_core::version::EtcdVersion;
use etcdup_pki::{damage, inspect, public_key_digest};

use crate::binaries::release::{etcd_version, programs};

/// Files here that the topology names: provided certificates, and a directory's or archive's
/// binaries.
#[must_use]
pub fn inspect_sources(
    spec: &Spec,
    base: &Path,
    topology: Option<&Topology>,
) -> BTreeMap<String, Observed<SourceFacts>> {
    let mut sources = BTreeMap::new();
    if let Some(provided) = &spec.certificates.provided {
        let mut paths: Vec<&str> = Vec::new();
        if provided.from == ProvidedFrom::Operator {
            let pairs = [Some(&provided.server), provided.peer.as_ref()];
            paths.push(&provided.ca);
            let pairs = pairs.into_iter().flatten();
            paths.extend(pairs.flat_map(|pair| [pair.cert.as_str(), pair.key.as_str()]));
        }
        if spec.security.client_tls() == TransportSecurity::Mutual {
            let pair = provided.client_pair().into_iter();
            paths.extend(pair.flat_map(|(cert, key)| [cert, key]));
        }
        if let Some(ca) = provided.operator.as_ref().and_then(|own| own.ca.as_ref()) {
            paths.push(ca);
        }
        for path in paths {
            for member in topology.into_iter().flat_map(|topology| &topology.members) {
                let path = path.replace("{member}", member.name.as_str());
                sources
                    .entry(path.clone())
                    .or_insert_with(|| source(base, &path, true));
            }
        }
    }
    for file in &spec.file {
        for member in topology.into_iter().flat_map(|topology| &topology.members) {
            let path = file.from.replace("{member}", member.name.as_str());
            sources
                .entry(path.clone())
                .or_insert_with(|| source(base, &path, true));
        }
    }
    sources.extend(inspect_binaries(&spec.binaries, base, &spec.etcd));
    sources
}

/// The file here that holds etcd of a release; nothing where it is downloaded, or on the hosts.
pub(crate) fn inspect_binaries(
    binaries: &Binaries,
    base: &Path,
    version: &EtcdVersion,
) -> Option<(String, Observed<SourceFacts>)> {
    let (path, mut found) = match binaries.of(version) {
        Binaries::Directory(directory) => {
            let places = std::iter::once(&directory.path).chain(&directory.also);
            let etcd = places
                .map(|place| format!("{place}/etcd"))
                .find(|path| base.join(path).exists())
                .unwrap_or_else(|| format!("{}/etcd", directory.path));
            let mut found = source(base, &etcd, false);
            if let Some(found) = found.known_mut() {
                let programs = programs(base, &directory);
                let sizes = programs.iter().map(|(_, path)| std::fs::metadata(path));
                found.size = sizes.filter_map(|meta| Some(meta.ok()?.len())).sum();
            }
            (etcd, found)
        }
        Binaries::Archive(archive) if !archive.path.as_str().contains("{arch}") => {
            let path = archive.path.to_string();
            let found = source(base, &path, false);
            (path, found)
        }
        Binaries::Archive(_) | Binaries::Release(_) | Binaries::Host(_) => return None,
    };
    if let Some(found) = found.known_mut() {
        found.wanted = Some(version.to_string());
    }
    Some((path, found))
}

fn source(base: &Path, path: &str, read: bool) -> Observed<SourceFacts> {
    let full = base.join(path);
    if !read {
        return match std::fs::metadata(&full) {
            Ok(meta) if meta.is_file() => Observed::Known(SourceFacts {
                size: meta.len(),
                sha256: String::new(),
                certificate: None,
                damage: None,
                public_key: None,
                version: etcd_version(&full),
                wanted: None,
            }),
            Ok(_) => Observed::unknown("it is not a file"),
            Err(error) => Observed::unknown(chain(&error)),
        };
    }
    match std::fs::read_to_string(&full) {
        Err(error) => Observed::unknown(chain(&error)),
        Ok(text) => Observed::Known(SourceFacts {
            size: text.len() as u64,
            sha256: sha256(text.as_bytes()),
            certificate: inspect(&text).ok(),
            damage: damage(&text),
            public_key: public_key_digest(&Secret::new(text)),
            version: None,
            wanted: None,
        }),
    }
}
