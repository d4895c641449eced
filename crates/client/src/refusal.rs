//! Why a call failed, as types: what etcd refused, and what never reached it.

use std::error::Error as StdError;
use std::time::Duration;

use etcdup_core::observed::Observed;

use crate::stream::FirstError;
use crate::tls::TlsError;

/// How long a call may take.
pub(crate) const CALL: Duration = Duration::from_secs(5);

/// How long a call may take that the cluster must agree on, such as a change of the member list. A
/// leader sends nothing for up to five seconds while it closes its streams to a host that vanished
/// moments ago (rafthttp's `streamWriter`, which waits for its last write), and then the change is
/// still to be agreed on.
pub(crate) const CHANGE: Duration = Duration::from_secs(15);

/// How long a compaction may take that frees the space at once: a database of 8 GB that is all
/// history is written in less.
pub(crate) const COMPACTED: Duration = Duration::from_secs(600);

/// What etcd answers where what is asked for is forgotten already (api/v3rpc/rpctypes/error.go).
pub(crate) const FORGOTTEN: &str = "mvcc: required revision has been compacted";

/// What etcd answers where its own authentication does not let a client in
/// (api/v3rpc/rpctypes/error.go, 3.4 to 3.7).
const DENIED: [&str; 6] = [
    "permission denied",
    "user name is empty",
    "user name not found",
    "invalid auth token",
    "revision of auth store is old",
    "authentication failed, invalid user ID or password",
];

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No connection.
    #[error("{0}")]
    Connect(String),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// etcd's own authentication refused.
    #[error("etcd's authentication is on, and it refuses: {0}")]
    Denied(String),
    /// The member refused.
    #[error("{0}")]
    Refused(String),
}

impl ClientError {
    /// Sorts out a gRPC status. HTTP/2 loses what the connection's first failed read said, so that
    /// is passed beside it.
    pub(crate) fn from_status(status: &tonic::Status, first_error: &FirstError) -> Self {
        if let Some(words) = first_error.get() {
            return Self::Connect(words.clone());
        }
        match status.code() {
            tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled
                if status.message().is_empty() || status.message() == "transport error" =>
            {
                Self::Connect(root_cause(status))
            }
            _ => {
                let words = status.message().trim_start_matches("etcdserver: ");
                // Some calls answer in the words of etcd's auth store, such as `auth: user not
                // found`.
                if DENIED.contains(&words) || words.starts_with("auth: ") {
                    Self::Denied(words.to_owned())
                } else {
                    Self::Refused(words.to_owned())
                }
            }
        }
    }

    /// The reason as an observation keeps it.
    #[must_use]
    pub fn into_observed<T>(self) -> Observed<T> {
        match &self {
            Self::Denied(_) => Observed::denied(self.to_string()),
            ClientError::Tls(_) | Self::Connect(_) | Self::Late(_) | Self::Refused(_) => {
                Observed::unknown(self.to_string())
            }
        }
    }
}

/// The root_cause words of a chain of errors: the ones that say what happened.
pub(crate) fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    current.to_string()
}
