//! A store of objects that snapshots are kept in: S3 and what speaks as it does, Azure Blob
//! Storage, Google Cloud Storage.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcdup_core::file::Snapshots;
use etcdup_core::name::ClusterName;
use etcdup_core::plain::chain;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use super::error::{FlowError, PlaceError};
use super::flow::Sink;
use super::place::{Found, Piece, Place};

/// The variables of the environment that say who asks, by how they begin.
const VARIABLES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];

/// The size of a part: S3 takes ten thousand, so that 80 GB fit, which is more than etcd holds.
const PART: usize = 8 << 20;

/// How many parts may be on their way: so much of a snapshot is in memory at most.
const AT_ONCE: usize = 4;

/// How long an answer may take to list what is there.
const LISTS: Duration = Duration::from_secs(20);

/// A cluster's objects: those below its own prefix.
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Key,
    url: String,
}

impl std::fmt::Debug for Objects {
    // What the store is made of has credentials in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Objects").field(&self.url).finish()
    }
}

impl Objects {
    /// Those of a cluster, below `url`.
    ///
    /// # Errors
    /// When the URL or an option is wrong, or the file of credentials cannot be used.
    pub(super) fn of(
        base: &Path,
        settings: &Snapshots,
        url: &str,
        cluster: &ClusterName,
    ) -> Result<Self, PlaceError> {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| PlaceError::new(url, source);
        let parsed = url::Url::parse(url).map_err(|error| failed(error.into()))?;
        // There is a store that is nothing but this process' memory.
        if !Snapshots::SCHEMES.contains(&parsed.scheme()) {
            return Err(failed(
                format!("`{}` is none of s3, gs and az", parsed.scheme()).into(),
            ));
        }
        // A body may take as long as it comes: what counts is that it does. The second is how long
        // an answer may take, counted from when the request is begun: parts that are on their way
        // together share a slow uplink.
        let mut options: BTreeMap<String, String> = [
            ("timeout".to_owned(), "24 hours".to_owned()),
            ("read_timeout".to_owned(), "15 min".to_owned()),
        ]
        .into();
        match &settings.credentials {
            // A stray variable would be used together with what the file says.
            Some(path) => options.extend(credentials(&base.join(path))?),
            None => {
                let variables = std::env::vars_os().filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                });
                let own = variables
                    .filter(|(name, _)| VARIABLES.iter().any(|begin| name.starts_with(begin)))
                    .map(|(name, value)| (name.to_lowercase(), value));
                options.extend(own);
            }
        }
        let given = settings.options.iter();
        options.extend(given.map(|(name, value)| (name.to_lowercase(), value.clone())));
        let parsed = object_store::parse_url_opts(&parsed, options);
        let (store, prefix) = parsed.map_err(|error| failed(error.into()))?;
        Ok(Self {
            store: Arc::from(store),
            prefix: prefix.join(cluster.as_str()),
            url: format!("{}/{cluster}", url.trim_end_matches('/')),
        })
    }

    fn key(&self, name: &str) -> Key {
        self.prefix.clone().join(name)
    }
}

/// Why the store refused, without what it answered: some answers repeat the request, and who asked.
fn refusal(what: impl std::fmt::Display, error: &object_store::Error) -> PlaceError {
    let text = chain(error);
    let first = text.split(['<', '\n']).next().unwrap_or_default();
    let first = first.trim_end_matches([' ', ':', ',']);
    PlaceError::new(what, first.to_owned())
}

/// The lines `NAME=VALUE` of a file that nobody else may read.
fn credentials(path: &Path) -> Result<Vec<(String, String)>, PlaceError> {
    let failed = |source| PlaceError::new(path.display(), source);
    let about = std::fs::metadata(path).map_err(failed)?;
    if about.permissions().mode() & 0o077 != 0 {
        let why = "other users may read it: `chmod 600` it";
        return Err(PlaceError::new(path.display(), why));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // The line itself may be a secret.
        let Some((name, value)) = line.split_once('=') else {
            let why = format!("line {} is not NAME=VALUE", number + 1);
            return Err(PlaceError::new(path.display(), why));
        };
        let value = value.trim().trim_matches('"');
        found.push((name.trim().to_lowercase(), value.to_owned()));
    }
    Ok(found)
}

#[async_trait]
impl Place for Objects {
    async fn prepare(&self) -> Result<(), PlaceError> {
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Found>, PlaceError> {
        let listed = self.store.list_with_delimiter(Some(&self.prefix));
        let listed = tokio::time::timeout(LISTS, listed).await;
        let listed = listed.map_err(|late| PlaceError::new(&self.url, late))?;
        let listed = listed.map_err(|error| refusal(&self.url, &error))?;
        let found = listed.objects.into_iter().filter_map(|object| {
            Some(Found {
                name: object.location.filename()?.to_owned(),
                size: object.size,
                written: Timestamp::from_second(object.last_modified.timestamp()).ok()?,
            })
        });
        Ok(found.collect())
    }

    async fn read(&self, name: &str) -> Result<Box<dyn AsyncRead + Send + Unpin>, PlaceError> {
        let got = self.store.get(&self.key(name)).await;
        let got = got.map_err(|error| refusal(self.show(name), &error))?;
        let pieces = got.into_stream();
        let pieces = pieces.map_err(|error| std::io::Error::other(refusal("it", &error).source));
        Ok(Box::new(StreamReader::new(pieces)))
    }

    async fn write(&self, name: &str) -> Result<Box<dyn Piece>, PlaceError> {
        let upload = self.store.put_multipart(&self.key(name)).await;
        let upload = upload.map_err(|error| refusal(self.show(name), &error))?;
        Ok(Box::new(Upload {
            what: self.show(name),
            parts: Some(WriteMultipart::new_with_chunk_size(upload, PART)),
        }))
    }

    async fn delete(&self, name: &str) -> Result<(), PlaceError> {
        match self.store.delete(&self.key(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(refusal(self.show(name), &error)),
        }
    }

    fn show(&self, name: &str) -> String {
        match name {
            "" => self.url.clone(),
            name => format!("{}/{name}", self.url),
        }
    }

    fn file(&self, _: &str) -> Option<PathBuf> {
        None
    }
}

/// An object that is on its way, in parts. Until all of them are declared to be one there is no
/// object of that name.
struct Upload {
    what: String,
    parts: Option<WriteMultipart>,
}

#[async_trait]
impl Sink for Upload {
    async fn take(&mut self, piece: &[u8]) -> Result<(), FlowError> {
        if let Some(parts) = &mut self.parts {
            let room = parts.wait_for_capacity(AT_ONCE).await;
            room.map_err(|error| refusal(&self.what, &error))?;
            parts.write(piece);
        }
        Ok(())
    }
}

#[async_trait]
impl Piece for Upload {
    async fn finish(mut self: Box<Self>) -> Result<(), PlaceError> {
        if let Some(parts) = self.parts.take() {
            let finished = parts.finish().await;
            finished.map_err(|error| refusal(&self.what, &error))?;
        }
        Ok(())
    }
}

impl Drop for Upload {
    /// Parts of an object that never comes to be are stored, and paid for, until they are deleted.
    fn drop(&mut self) {
        if let (Some(parts), Ok(runtime)) =
            (self.parts.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move { parts.abort().await });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    #[test]
    fn credentials_are_for_their_owner_alone_and_never_in_a_message() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("s3.env");
        let mode = |mode: u32| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, permissions).unwrap();
        };
        std::fs::write(&path, "# ours\nAWS_SECRET_ACCESS_KEY=\"hush=\"\n\n").unwrap();
        mode(0o640);
        let open = etcdup_core::plain::chain(&credentials(&path).unwrap_err());
        assert!(open.contains("chmod 600"), "{open}");
        mode(0o600);
        let found = credentials(&path).unwrap();
        let expected = ("aws_secret_access_key".to_owned(), "hush=".to_owned());
        assert_eq!(found, [expected]);
        std::fs::write(&path, "AWS_REGION=x\nhush\n").unwrap();
        let wrong = etcdup_core::plain::chain(&credentials(&path).unwrap_err());
        assert!(
            wrong.contains("line 2") && !wrong.contains("hush"),
            "{wrong}"
        );
    }

    #[test]
    fn other_schemes_are_refused() {
        let of = |url: &str| {
            let settings = Snapshots::default();
            Objects::of(Path::new("."), &settings, url, &"prod".parse().unwrap())
        };
        for url in ["ftp://host/x", "s3://", "memory:///"] {
            assert!(of(url).is_err(), "{url}");
        }
        let objects = of("s3://backups/etcd/").unwrap();
        assert_eq!(objects.show("a.db"), "s3://backups/etcd/prod/a.db");
        assert_eq!(objects.key("a.db").as_ref(), "etcd/prod/a.db");
    }
}
