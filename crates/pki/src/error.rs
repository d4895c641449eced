//! What can be wrong with a certificate, a key or a CA.

use crate::inspect::InspectError;

/// Why a certificate or a CA cannot be made or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PkiError {
    /// Making it failed.
    #[error("the certificate cannot be made: {0}")]
    Make(String),
    /// The key's file is encrypted.
    #[error(
        "the key is encrypted; decrypt it first, or let a command print it: key-command = [\"openssl\", \"pkey\", ..]"
    )]
    EncryptedKey,
    /// The key cannot be read.
    #[error("the key cannot be read: {0}")]
    UnreadableKey(String),
    /// The certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] InspectError),
    /// The certificate is not a CA's.
    #[error("`{0}` is not a certificate authority (basicConstraints CA:TRUE is missing)")]
    NotACa(String),
    /// The key is another certificate's.
    #[error("the key does not belong to the certificate of `{0}`")]
    KeyMismatch(String),
    /// The CA has ended, or is not good yet.
    #[error("the CA `{name}` {why}")]
    OutOfTime {
        /// The CA's name.
        name: String,
        /// Since when or until when.
        why: String,
    },
    /// There is no key, so nothing can be issued.
    #[error("the key of the CA `{0}` is not here, so it can issue nothing")]
    NoKey(String),
}
