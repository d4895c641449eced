//! A stage as one tar, streamed: large files are never held in memory.

use std::io;
use std::path::Path;

use etcdup_core::digest::hex;
use etcdup_host::Body;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncWriteExt, DuplexStream};

/// How much may wait in the pipe, in bytes: enough that reading files and sending them do not take
/// turns.
const PIPE: usize = 256 * 1024;

/// Writes header and tar into a pipe whose other end the transport reads. When a file here cannot
/// be read the pipe ends early, and the host refuses what it got.
pub(crate) fn stream(
    header: String,
    entries: Vec<(String, Body)>,
) -> (DuplexStream, tokio::task::JoinHandle<io::Result<()>>) {
    let (reader, mut writer) = tokio::io::duplex(PIPE);
    let task = tokio::spawn(async move {
        writer.write_all(header.as_bytes()).await?;
        for (name, body) in &entries {
            match body {
                Body::Bytes(bytes) => {
                    let size = u64::try_from(bytes.len()).unwrap_or(0);
                    writer.write_all(&tar_header(name, size)?).await?;
                    writer.write_all(bytes).await?;
                    pad(&mut writer, size).await?;
                }
                Body::File { path, size, .. } => {
                    writer.write_all(&tar_header(name, *size)?).await?;
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

/// SHA-256 and size of a file on this machine. Reads all of it, so never on an async worker.
pub(crate) fn digest_file(path: &Path) -> io::Result<(String, u64)> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let size = io::copy(&mut file, &mut HashWriter(&mut hasher))?;
    Ok((hex(&hasher.finalize()), size))
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
