//! A stage for one host as one tar: sums, operations, queries, files. Large files are streamed, never held.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use etcdup_core::path::{HostPath, Owner};
use etcdup_core::stage::{HostStep, Noted};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncWriteExt, DuplexStream};
use zeroize::Zeroizing;

use crate::vault::sha256;

/// Where the bytes of a file come from.
pub(crate) enum Body {
    /// These bytes.
    Bytes(Zeroizing<Vec<u8>>),
    /// This file here, of this size and SHA-256.
    File {
        path: PathBuf,
        size: u64,
        sha256: String,
    },
}

/// A stage for one host, being put together.
#[derive(Default)]
pub(crate) struct StageInput {
    operations: String,
    titles: Vec<String>,
    files: Vec<Body>,
    uncommitted: bool,
    /// Digests of the files that the stage writes, for the host record.
    pub(crate) written: BTreeMap<HostPath, String>,
    /// Files that the stage deletes, for the host record.
    pub(crate) removed: Vec<HostPath>,
}

fn owner(owner: Option<&Owner>) -> String {
    owner.map_or_else(|| "-".to_owned(), ToString::to_string)
}

impl StageInput {
    fn operation(&mut self, title: impl Into<String>, fields: &str) {
        self.operations
            .push_str(&format!("{}|{fields}\n", self.titles.len()));
        self.titles.push(title.into());
    }

    fn payload(&mut self, body: Body) -> String {
        self.files.push(body);
        format!("f/{}", self.files.len() - 1)
    }

    /// Files that wait under their dot names get their own, together.
    fn commit(&mut self) {
        if std::mem::take(&mut self.uncommitted) {
            self.operation("put files in place", "commit");
        }
    }

    /// Adds a file with these bytes.
    pub(crate) fn file(
        &mut self,
        path: &HostPath,
        mode: &str,
        of: Option<&Owner>,
        bytes: Zeroizing<Vec<u8>>,
    ) {
        self.written.insert(path.clone(), sha256(&bytes));
        let payload = self.payload(Body::Bytes(bytes));
        let owner = owner(of);
        self.operation(
            format!("write {path}"),
            &format!("file|{payload}|{mode}|{owner}|{path}"),
        );
        self.uncommitted = true;
    }

    /// Adds a copy of a file that is on the host.
    pub(crate) fn copy(
        &mut self,
        source: &HostPath,
        path: &HostPath,
        mode: &str,
        of: Option<&Owner>,
    ) {
        let owner = owner(of);
        self.operation(
            format!("copy {source} to {path}"),
            &format!("file|{source}|{mode}|{owner}|{path}"),
        );
        self.uncommitted = true;
    }

    /// Adds the binaries of a version from an archive that is here.
    pub(crate) fn archive(&mut self, body: Body, directory: &HostPath, version: &str) {
        self.commit();
        let payload = self.payload(body);
        self.operation(
            format!("unpack etcd {version}"),
            &format!("binaries|{payload}|{directory}|{version}"),
        );
    }

    /// Adds single binaries.
    pub(crate) fn binaries(
        &mut self,
        bodies: Vec<(String, Body)>,
        directory: &HostPath,
        version: &str,
    ) {
        self.commit();
        for (name, body) in bodies {
            let payload = self.payload(body);
            self.operation(
                format!("write {name}"),
                &format!("binary_file|{payload}|{directory}|{name}"),
            );
        }
        self.operation(
            format!("install etcd {version}"),
            &format!("binaries_done|{directory}|{version}"),
        );
    }

    /// Loads an image from an archive that is here.
    pub(crate) fn image(&mut self, body: Body, image: &str) {
        self.commit();
        let payload = self.payload(body);
        self.operation(
            format!("load the image {image}"),
            &format!("image|{payload}"),
        );
    }

    /// Has the host download an archive.
    pub(crate) fn fetch(&mut self, url: &str, sum: &str, directory: &HostPath, version: &str) {
        self.commit();
        self.operation(
            format!("download {url}"),
            &format!("fetch|{url}|{sum}|{directory}|{version}"),
        );
    }

    /// Links to the binaries of a directory.
    pub(crate) fn links(&mut self, directory: &HostPath, links: &HostPath) {
        self.operation(
            format!("link {links}/etcd"),
            &format!("links|{directory}|{links}"),
        );
    }

    /// Marks a member's data directory; the record itself is written at the end of every stage.
    pub(crate) fn mark(&mut self, noted: &Noted, mark: &str) {
        self.commit();
        if noted.mark.is_some() {
            return;
        }
        self.operation(
            format!("record {}", noted.member),
            &format!("mark|{}|{mark}", noted.data),
        );
    }

    /// Adds a step that needs no bytes. Files and binaries have their own ways.
    pub(crate) fn step(&mut self, step: &HostStep, suffix: &str) {
        self.commit();
        match step {
            HostStep::User { name, home } => {
                self.operation(format!("make user {name}"), &format!("user|{name}|{home}"));
            }
            HostStep::Directory {
                path,
                mode,
                owner: of,
            } => {
                let owner = owner(of.as_ref());
                self.operation(
                    format!("make {path}"),
                    &format!("dir|{mode}|{owner}|{path}"),
                );
            }
            HostStep::TimeSync => self.operation("set up time synchronization", "time_sync"),
            HostStep::Reload => self.operation("systemctl daemon-reload", "reload"),
            HostStep::Enable(unit) => {
                self.operation(format!("enable {unit}"), &format!("enable|{unit}"));
            }
            HostStep::Restart(unit) => {
                self.operation(format!("restart {unit}"), &format!("restart|{unit}"));
            }
            HostStep::Disable(unit) => {
                self.operation(format!("stop {unit}"), &format!("disable|{unit}"));
            }
            HostStep::Spawn {
                member,
                start_file,
                pid_file,
                log_file,
                data,
            } => {
                self.operation(
                    format!("start {member}"),
                    &format!("spawn|{start_file}|{pid_file}|{log_file}|{data}"),
                );
            }
            HostStep::Kill { pid_file, data } => {
                self.operation("stop etcd", &format!("kill|{pid_file}|{data}"));
            }
            HostStep::Links { directory, links } => self.links(directory, links),
            HostStep::Keep { path } => {
                self.operation(
                    format!("move {path} to {path}.kept-{suffix}"),
                    &format!("keep|{path}|{path}.kept-{suffix}"),
                );
            }
            HostStep::Remove(path) => {
                self.removed.push(path.clone());
                self.operation(format!("delete {path}"), &format!("remove|{path}"));
            }
            HostStep::BouncePod {
                manifest,
                data,
                ended,
            } => self.operation(
                format!("recreate the pod of {manifest}"),
                &format!(
                    "bounce_pod|{manifest}|{data}|{}",
                    if *ended { "ended" } else { "runs" }
                ),
            ),
            HostStep::StopPod { manifest, data } => {
                self.removed.push(manifest.clone());
                self.operation(
                    format!("remove {manifest} and wait for its etcd to exit"),
                    &format!("stop_pod|{manifest}|{data}"),
                );
            }
            HostStep::File(_)
            | HostStep::Note(_)
            | HostStep::Forget
            | HostStep::Pod(_)
            | HostStep::Image { .. }
            | HostStep::Binaries { .. } => {}
        }
    }

    /// What each operation is, in order.
    pub(crate) fn titles(&self) -> Vec<String> {
        self.titles.clone()
    }

    /// The bytes of the whole input, roughly: for progress.
    pub(crate) fn size(&self) -> u64 {
        let body = |body: &Body| match body {
            Body::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(0),
            Body::File { size, .. } => *size,
        };
        self.files
            .iter()
            .map(|file| body(file).next_multiple_of(512) + 512)
            .sum::<u64>()
            + 8192
    }

    /// Closes the list of operations.
    pub(crate) fn finish(&mut self) {
        self.commit();
        self.operations.push_str("end\n");
    }

    /// Writes header and tar into a pipe whose other end the transport reads. When a file here cannot be read the pipe
    /// ends early, and the host refuses what it got.
    pub(crate) fn stream(
        self,
        header: String,
        queries: String,
    ) -> (DuplexStream, tokio::task::JoinHandle<io::Result<()>>) {
        let (reader, mut writer) = tokio::io::duplex(256 * 1024);
        let task = tokio::spawn(async move {
            writer.write_all(header.as_bytes()).await?;
            let mut sums = String::new();
            for (index, body) in self.files.iter().enumerate() {
                let sum = match body {
                    Body::Bytes(bytes) => sha256(bytes),
                    Body::File { sha256, .. } => sha256.clone(),
                };
                sums.push_str(&format!("{sum}  f/{index}\n"));
            }
            for (name, text) in [("ops", &self.operations), ("queries", &queries)] {
                sums.push_str(&format!("{}  {name}\n", sha256(text.as_bytes())));
            }
            sums.push_str("end\n");
            for (name, text) in [
                ("sums", &sums),
                ("ops", &self.operations),
                ("queries", &queries),
            ] {
                entry(&mut writer, name, text.as_bytes()).await?;
            }
            for (index, body) in self.files.iter().enumerate() {
                let name = format!("f/{index}");
                match body {
                    Body::Bytes(bytes) => entry(&mut writer, &name, bytes).await?,
                    Body::File { path, size, .. } => {
                        writer.write_all(&tar_header(&name, *size)?).await?;
                        let mut file = tokio::fs::File::open(path).await?;
                        let copied = tokio::io::copy(&mut file, &mut writer).await?;
                        if copied != *size {
                            return Err(io::Error::other(format!(
                                "{} changed while it was read",
                                path.display()
                            )));
                        }
                        pad(&mut writer, *size).await?;
                    }
                }
            }
            writer.write_all(&[0; 1024]).await?;
            writer.shutdown().await
        });
        (reader, task)
    }
}

async fn entry(writer: &mut DuplexStream, name: &str, bytes: &[u8]) -> io::Result<()> {
    let size = u64::try_from(bytes.len()).unwrap_or(0);
    writer.write_all(&tar_header(name, size)?).await?;
    writer.write_all(bytes).await?;
    pad(writer, size).await
}

async fn pad(writer: &mut DuplexStream, size: u64) -> io::Result<()> {
    let rest = usize::try_from(size.next_multiple_of(512) - size).unwrap_or(0);
    writer.write_all(&[0; 512][..rest]).await
}

fn tar_header(name: &str, size: u64) -> io::Result<[u8; 512]> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o600);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// SHA-256 and size of a file here.
pub(crate) fn digest_file(path: &std::path::Path) -> io::Result<(String, u64)> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let size = io::copy(&mut file, &mut HashWriter(&mut hasher))?;
    Ok((
        hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        size,
    ))
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
