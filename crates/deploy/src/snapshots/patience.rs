//! A place that hangs: a disk that is gone keeps whoever looks at it, for as long as its driver or
//! its server likes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncRead;

use super::error::PlaceError;
use super::place::{Found, Piece, Place};
use super::stalled::{STALLED, in_time};

/// How long a place may take to list what is there.
const LISTS: Duration = Duration::from_secs(30);

/// A place that is given up where it hangs. What is written to it is given up by itself.
#[derive(Debug)]
pub(super) struct Patient(Arc<dyn Place>);

impl Patient {
    pub(super) fn with(place: Arc<dyn Place>) -> Arc<dyn Place> {
        Arc::new(Self(place))
    }
}

#[async_trait]
impl Place for Patient {
    async fn prepare(&self) -> Result<(), PlaceError> {
        in_time(self.show(""), STALLED, self.0.prepare()).await
    }

    async fn list(&self) -> Result<Vec<Found>, PlaceError> {
        in_time(self.show(""), LISTS, self.0.list()).await
    }

    async fn read(&self, name: &str) -> Result<Box<dyn AsyncRead + Send + Unpin>, PlaceError> {
        in_time(self.show(name), STALLED, self.0.read(name)).await
    }

    async fn write(&self, name: &str) -> Result<Box<dyn Piece>, PlaceError> {
        in_time(self.show(name), STALLED, self.0.write(name)).await
    }

    async fn delete(&self, name: &str) -> Result<(), PlaceError> {
        in_time(self.show(name), STALLED, self.0.delete(name)).await
    }

    fn show(&self, name: &str) -> String {
        self.0.show(name)
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        self.0.file(name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    /// A disk that is gone.
    #[derive(Debug)]
    struct Hanging;

    #[async_trait]
    impl Place for Hanging {
        async fn prepare(&self) -> Result<(), PlaceError> {
            std::future::pending().await
        }

        async fn list(&self) -> Result<Vec<Found>, PlaceError> {
            std::future::pending().await
        }

        async fn read(&self, _: &str) -> Result<Box<dyn AsyncRead + Send + Unpin>, PlaceError> {
            std::future::pending().await
        }

        async fn write(&self, _: &str) -> Result<Box<dyn Piece>, PlaceError> {
            std::future::pending().await
        }

        async fn delete(&self, _: &str) -> Result<(), PlaceError> {
            std::future::pending().await
        }

        fn show(&self, name: &str) -> String {
            format!("/mnt/nas/{name}")
        }

        fn file(&self, _: &str) -> Option<PathBuf> {
            None
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_hangs_is_named_and_given_up() {
        let place = Patient::with(Arc::new(Hanging));
        let said = |error: PlaceError| etcdup_core::plain::chain(&error);
        let listed = said(place.list().await.unwrap_err());
        assert_eq!(listed, "cannot use /mnt/nas/: it was not done within 30 s");
        let refused = [
            said(place.prepare().await.unwrap_err()),
            said(place.read("a.db").await.err().unwrap()),
            said(place.write("a.db").await.err().unwrap()),
            said(place.delete("a.db").await.unwrap_err()),
        ];
        for why in refused {
            assert!(why.ends_with("it was not done within 120 s"), "{why}");
        }
    }
}
