//! Release archives: downloaded once, checked, kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use etcdup_core::file::{Binaries, Directory, Download, Release};
use etcdup_core::host::Architecture;
use etcdup_core::plain::chain;
use etcdup_core::topology::Topology;
use etcdup_core::url::is_loopback_http;
use etcdup_core::version::EtcdVersion;
use etcdup_host::Body;
use tokio::io::AsyncWriteExt;

use crate::events::Progress;
use crate::stream::digest_file;
use crate::tasks::blocking;

/// Upstream's own releases.
const UPSTREAM: &str = "https://github.com/etcd-io/etcd/releases/download";

/// Why binaries cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A download failed.
    #[error("cannot download {url}: {why}")]
    Download {
        /// What.
        url: String,
        /// What happened.
        why: String,
    },
    /// The mirror names no checksum for the archive.
    #[error("{url} has no SHA-256 for {file}; set it under [binaries.release.sha256]")]
    NoSum {
        /// The list.
        url: String,
        /// The archive.
        file: String,
    },
    /// The mirror can be read and changed by anyone on the way, and no checksum was given for this
    /// architecture.
    #[error(
        "{url} is not encrypted, so that its list of checksums proves nothing; set the SHA-256 for {architecture} under [binaries.release.sha256]"
    )]
    Unproven {
        /// The list.
        url: String,
        /// The architecture that has no checksum.
        architecture: String,
    },
    /// A directory has no tool that restores a snapshot.
    #[error("the directory of etcd {0} under [binaries] has no etcdutl, which restores snapshots")]
    NoTool(String),
    /// The archive is not what it should be.
    #[error("{file} has SHA-256 {found}, expected {expected}; nothing was changed")]
    WrongSum {
        /// The archive.
        file: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A file cannot be read or written.
    #[error("cannot read or write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// An archive or binary that is ready to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) path: PathBuf,
    pub(crate) sha256: String,
    pub(crate) size: u64,
}

impl Ready {
    pub(crate) fn into_body(self) -> Body {
        Body::File {
            path: self.path,
            size: self.size,
            sha256: self.sha256,
        }
    }
}

/// What a host of an architecture is to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Binary {
    /// This archive is pushed.
    Archive(Ready),
    /// These files are pushed, by name.
    Files(Vec<(String, Ready)>),
    /// The host downloads it.
    Fetch { url: String, sha256: String },
}

/// Gets binaries for these architectures ready: downloaded and checked before anything changes.
pub(crate) async fn prepare(
    binaries: &Binaries,
    version: &EtcdVersion,
    base: &Path,
    cache: &Path,
    architectures: &[Architecture],
    progress: Option<&Progress>,
) -> Result<BTreeMap<String, Binary>, ReleaseError> {
    let mut prepared = BTreeMap::new();
    let binaries = &binaries.of(version);
    for architecture in architectures {
        let binary = match binaries {
            Binaries::Host(_) => continue,
            Binaries::Directory(directory) => {
                let (base, directory) = (base.to_owned(), directory.clone());
                Binary::Files(blocking(move || files(&base, &directory)).await?)
            }
            Binaries::Archive(archive) => {
                let path = base.join(
                    archive
                        .path
                        .as_str()
                        .replace("{arch}", &architecture.to_string()),
                );
                let read = path.clone();
                let ready = blocking(move || ready(&read)).await?;
                if let Some(expected) = &archive.sha256 {
                    compare(&path, expected, &ready.sha256)?;
                }
                Binary::Archive(ready)
            }
            Binaries::Release(release) => {
                from_release(release, version, architecture, cache, progress).await?
            }
        };
        prepared.insert(architecture.to_string(), binary);
    }
    Ok(prepared)
}

/// Whether a tool is among files that a directory holds which restores a snapshot: an archive of
/// upstream's has one.
pub(crate) fn restores(
    binaries: &BTreeMap<String, Binary>,
    version: &EtcdVersion,
) -> Result<(), ReleaseError> {
    // etcdctl no longer does since 3.6.
    let restores = |name: &str| name == "etcdutl" || name == "etcdctl" && version.minor() < 6;
    let lacks = |binary: &Binary| match binary {
        Binary::Files(files) => !files.iter().any(|(name, _)| restores(name)),
        Binary::Archive(_) | Binary::Fetch { .. } => false,
    };
    match binaries.values().any(lacks) {
        true => Err(ReleaseError::NoTool(version.to_string())),
        false => Ok(()),
    }
}

pub(crate) fn ready(path: &Path) -> Result<Ready, ReleaseError> {
    let (sha256, size) = digest_file(path).map_err(|source| ReleaseError::File {
        path: path.to_owned(),
        source,
    })?;
    Ok(Ready {
        path: path.to_owned(),
        sha256,
        size,
    })
}

fn files(base: &Path, directory: &Directory) -> Result<Vec<(String, Ready)>, ReleaseError> {
    let programs = programs(base, directory).into_iter();
    programs
        .map(|(name, path)| Ok((name.to_owned(), ready(&path)?)))
        .collect()
}

/// The programs of a directory, etcd first, wherever they are in it: etcd always, so that a missing
/// one is named.
pub(crate) fn programs(base: &Path, directory: &Directory) -> Vec<(&'static str, PathBuf)> {
    let first = base.join(&directory.path);
    let mut places = vec![first.clone()];
    places.extend(directory.also.iter().map(|also| base.join(also)));
    let place = |name: &str| {
        places
            .iter()
            .map(|place| place.join(name))
            .find(|path| path.exists())
    };
    let mut programs = vec![("etcd", place("etcd").unwrap_or_else(|| first.join("etcd")))];
    let tools = ["etcdctl", "etcdutl"].into_iter();
    programs.extend(tools.filter_map(|name| Some((name, place(name)?))));
    programs
}

fn compare(file: &Path, expected: &str, found: &str) -> Result<(), ReleaseError> {
    if expected.eq_ignore_ascii_case(found) {
        return Ok(());
    }
    Err(ReleaseError::WrongSum {
        file: file.display().to_string(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    })
}

async fn from_release(
    release: &Release,
    version: &EtcdVersion,
    architecture: &Architecture,
    cache: &Path,
    progress: Option<&Progress>,
) -> Result<Binary, ReleaseError> {
    let file = format!("etcd-v{version}-linux-{architecture}.tar.gz");
    let mirror = release
        .mirror
        .as_deref()
        .unwrap_or(UPSTREAM)
        .trim_end_matches('/');
    let url = format!("{mirror}/v{version}/{file}");
    let given = release.sha256.get(&architecture.to_string());
    let kept = cache.join(format!("v{version}")).join(&file);
    let mut expected = given.cloned();
    if release.download == Download::Host {
        let sha256 = match expected {
            Some(sum) => sum,
            None => sum_from(mirror, version, &file, architecture).await?,
        };
        return Ok(Binary::Fetch { url, sha256 });
    }
    // A kept archive is trusted by the sum noted beside it when it was checked, so that no network
    // is needed.
    let note = kept.with_extension("gz.sha256");
    if expected.is_none() && kept.exists() {
        expected = std::fs::read_to_string(&note)
            .ok()
            .map(|sum| sum.trim().to_owned());
    }
    if kept.exists()
        && let Some(expected) = &expected
        && let Ok(found) = ready(&kept)
        && found.sha256.eq_ignore_ascii_case(expected)
    {
        return Ok(Binary::Archive(found));
    }
    let expected = match given {
        Some(sum) => sum.clone(),
        None => sum_from(mirror, version, &file, architecture).await?,
    };
    download(&url, &kept, &expected, progress).await?;
    let refuse = |source| ReleaseError::File {
        path: note.clone(),
        source,
    };
    std::fs::write(&note, &expected).map_err(refuse)?;
    Ok(Binary::Archive(ready(&kept)?))
}

fn client(url: &str) -> Result<reqwest::Client, ReleaseError> {
    reqwest::Client::builder()
        .user_agent(concat!("etcdup/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(std::time::Duration::from_secs(10))
        .read_timeout(std::time::Duration::from_secs(30))
        // An https mirror must not send the download to a place that anyone in between can answer
        // for.
        .https_only(url.starts_with("https://"))
        .build()
        .map_err(|error| ReleaseError::Download {
            url: url.to_owned(),
            why: format!("{}; does this machine have CA certificates (package ca-certificates, or SSL_CERT_FILE)?", chain(&error)),
        })
}

async fn get(url: &str) -> Result<reqwest::Response, ReleaseError> {
    let refuse = |why: String| ReleaseError::Download {
        url: url.to_owned(),
        why,
    };
    let response = client(url)?
        .get(url)
        .send()
        .await
        .map_err(|error| refuse(chain(&error)))?;
    if !response.status().is_success() {
        return Err(refuse(format!("the server says {}", response.status())));
    }
    Ok(response)
}

async fn sum_from(
    mirror: &str,
    version: &EtcdVersion,
    file: &str,
    architecture: &Architecture,
) -> Result<String, ReleaseError> {
    let url = format!("{mirror}/v{version}/SHA256SUMS");
    if url.starts_with("http://") && !is_loopback_http(&url) {
        return Err(ReleaseError::Unproven {
            url,
            architecture: architecture.to_string(),
        });
    }
    let text = get(&url)
        .await?
        .text()
        .await
        .map_err(|error| ReleaseError::Download {
            url: url.clone(),
            why: chain(&error),
        })?;
    let line = text.lines().find_map(|line| {
        line.split_once(char::is_whitespace)
            .filter(|(_, name)| name.trim().trim_start_matches('*') == file)
    });
    line.map(|(sum, _)| sum.to_owned())
        .ok_or_else(|| ReleaseError::NoSum {
            url,
            file: file.to_owned(),
        })
}

/// Written beside its name, checked, then renamed: what the cache holds is whole.
async fn download(
    url: &str,
    kept: &Path,
    expected: &str,
    progress: Option<&Progress>,
) -> Result<(), ReleaseError> {
    let failed = |why: String| ReleaseError::Download {
        url: url.to_owned(),
        why,
    };
    let refuse = |source| ReleaseError::File {
        path: kept.to_owned(),
        source,
    };
    let parent = kept.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(refuse)?;
    let partial = tempfile::NamedTempFile::new_in(parent).map_err(refuse)?;
    let mut response = get(url).await?;
    let total = response.content_length().unwrap_or(0);
    let mut file = tokio::fs::File::create(partial.path())
        .await
        .map_err(refuse)?;
    let mut so_far = 0;
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| failed(chain(&error)))?
    {
        file.write_all(&chunk).await.map_err(refuse)?;
        so_far += u64::try_from(chunk.len()).unwrap_or(0);
        if let Some(progress) = progress {
            progress("download", so_far, total);
        }
    }
    file.sync_all().await.map_err(refuse)?;
    let (found, _) = digest_file(partial.path()).map_err(refuse)?;
    compare(kept, expected, &found)?;
    partial.persist(kept).map_err(|error| refuse(error.error))?;
    Ok(())
}

/// The architecture of this machine.
pub(crate) fn own_architecture() -> Architecture {
    match std::env::consts::ARCH {
        "x86_64" => Architecture::Amd64,
        "aarch64" => Architecture::Arm64,
        other => Architecture::Other(other.to_owned()),
    }
}

/// These programs of a topology's binaries for a machine, by name: taken out of an archive into
/// `into` where they are in one. Those that are not there are left out.
pub(crate) async fn unpacked(
    topology: &Topology,
    (base, cache): (&Path, &Path),
    into: &Path,
    architecture: Architecture,
    programs: &'static [&'static str],
) -> Result<Vec<(String, Ready)>, ReleaseError> {
    let mut binaries = topology.binaries.tools().clone();
    if let Binaries::Release(release) = &mut binaries {
        // Whoever downloads for hosts, these are needed here.
        release.download = Download::Operator;
    }
    let wanted = [architecture];
    let prepared = prepare(&binaries, &topology.version, base, cache, &wanted, None).await?;
    match prepared.into_values().next() {
        Some(Binary::Files(mut files)) => {
            files.retain(|(name, _)| programs.contains(&name.as_str()));
            Ok(files)
        }
        Some(Binary::Archive(archive)) => {
            let into = into.to_owned();
            blocking(move || unpack(&archive.path, &into, programs)).await
        }
        Some(Binary::Fetch { .. }) | None => Ok(Vec::new()),
    }
}

/// Takes these programs out of an archive.
fn unpack(
    path: &Path,
    into: &Path,
    programs: &[&str],
) -> Result<Vec<(String, Ready)>, ReleaseError> {
    let failed = |source| ReleaseError::File {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut found = Vec::new();
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let name = entry.path().map_err(failed)?;
        let name = name.file_name().unwrap_or_default().to_string_lossy();
        if !programs.contains(&name.as_ref()) || found.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let (name, to) = (name.clone().into_owned(), into.join(&*name));
        let mut file = std::fs::File::create_new(&to).map_err(failed)?;
        std::io::copy(&mut entry, &mut file).map_err(failed)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        file.set_permissions(mode).map_err(failed)?;
        found.push((name, ready(&to)?));
        if found.len() == programs.len() {
            // The rest need not be unpacked.
            break;
        }
    }
    Ok(found)
}

/// The version of etcd in a binary or an archive, found out before anyone approves a plan with it.
/// None where this machine cannot run the binary, which is no fault: the host says so when it
/// installs it.
pub(crate) fn etcd_version(path: &Path) -> Option<String> {
    if path.file_name()? == "etcd" {
        let output = std::process::Command::new("timeout")
            .arg("5")
            .arg(path)
            .arg("--version")
            .env_clear()
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("etcd Version: "));
        return version.map(|version| version.trim().to_owned());
    }
    // Upstream's archives hold one directory, `etcd-vX.Y.Z-linux-ARCH`.
    let file = std::fs::File::open(path).ok()?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let first = archive.entries().ok()?.next()?.ok()?;
    let name = first.path().ok()?.to_string_lossy().into_owned();
    let version = name.strip_prefix("etcd-v")?.split('-').next()?;
    Some(version.to_owned())
}

#[cfg(test)]
mod tests {
    use etcdup_core::file::Document;

    use super::*;

    /// The archive of the host's own architecture is taken: an amd64 binary on arm is what
    /// etcdadm's issue 221 tells of.
    #[tokio::test]
    async fn each_architecture_gets_its_own_archive() {
        let place = tempfile::tempdir().unwrap();
        for architecture in ["amd64", "arm64"] {
            std::fs::write(
                place.path().join(format!("etcd-{architecture}.tgz")),
                architecture,
            )
            .unwrap();
        }
        let text = "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\nbinaries = { archive = { path = \"etcd-{arch}.tgz\" } }\n\
                    [[member]]\nname = \"m1\"\nhost = \"10.0.0.1\"\n";
        let spec = Document::parse("etcdup.toml", text, &[]).unwrap().spec;
        let both = [Architecture::Amd64, Architecture::Arm64];
        let ready = prepare(
            &spec.binaries,
            &spec.etcd,
            place.path(),
            place.path(),
            &both,
            None,
        )
        .await
        .unwrap();
        for architecture in ["amd64", "arm64"] {
            let Some(Binary::Archive(archive)) = ready.get(architecture) else {
                panic!("nothing for {architecture}");
            };
            assert!(
                archive.path.ends_with(format!("etcd-{architecture}.tgz")),
                "{archive:?}"
            );
        }
    }
}
