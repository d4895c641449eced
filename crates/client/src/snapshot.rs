//! A member's whole store, piece by piece: never whole in memory.

use std::time::Duration;

use http::uri::PathAndQuery;
use tonic::Streaming;

use crate::client::MemberClient;
use crate::messages::{SnapshotRequest, SnapshotResponse};
use crate::refusal::{ClientError, root_cause};

/// How long no piece may come. Before the first one a member writes out its whole store, and a slow
/// link carries a piece of 32 KiB in less.
const SILENCE: Duration = Duration::from_secs(60);

/// A snapshot on its way. What comes is a database file and, behind it, the 32 bytes of its
/// SHA-256 (server/etcdserver/api/v3rpc/maintenance.go), which etcdctl and etcdutl check.
pub struct Snapshot {
    pieces: Streaming<SnapshotResponse>,
    client: MemberClient,
}

/// A piece of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPiece {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How many follow, as far as the member says.
    pub remaining: u64,
}

impl MemberClient {
    /// Has the member send its store as it is now.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn snapshot(&self) -> Result<Snapshot, ClientError> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        let path = PathAndQuery::from_static("/etcdserverpb.Maintenance/Snapshot");
        let called = async {
            grpc.ready()
                .await
                .map_err(|error| tonic::Status::unavailable(root_cause(&error)))?;
            let codec = tonic_prost::ProstCodec::<SnapshotRequest, SnapshotResponse>::default();
            let request = tonic::Request::new(SnapshotRequest {});
            grpc.server_streaming(request, path, codec).await
        };
        match tokio::time::timeout(SILENCE, called).await {
            Err(_) => Err(ClientError::Late(SILENCE)),
            Ok(Ok(answer)) => Ok(Snapshot {
                pieces: answer.into_inner(),
                client: self.clone(),
            }),
            Ok(Err(status)) => Err(ClientError::from_status(&status, &self.first_error)),
        }
    }
}

impl Snapshot {
    /// The next piece; none at the end.
    ///
    /// # Errors
    /// When the stream is cut, or nothing comes for a minute.
    pub async fn next(&mut self) -> Result<Option<SnapshotPiece>, ClientError> {
        match tokio::time::timeout(SILENCE, self.pieces.message()).await {
            Err(_) => Err(ClientError::Late(SILENCE)),
            Ok(Ok(piece)) => Ok(piece.map(|piece| SnapshotPiece {
                bytes: piece.blob,
                remaining: piece.remaining_bytes,
            })),
            Ok(Err(status)) => {
                let first_error = &self.client.first_error;
                Err(ClientError::from_status(&status, first_error))
            }
        }
    }
}
