//! Why keys or certificates are unavailable.

use std::path::PathBuf;

use etcdup_pki::PkiError;

/// Why keys or certificates are unavailable.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A file cannot be read or written.
    #[error("cannot read or write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate cannot be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The files of this name are the CA's own.
    #[error("client name `{0}` is reserved for the CA's files")]
    ReservedName(String),
    /// No certificate can have this name.
    #[error("client name `{0}` may hold only letters, digits, dots and hyphens")]
    ClientName(String),
    /// Certificates were provided, and none for a client.
    #[error(
        "certificates.provided.operator is needed: a client shows a certificate, and none was provided for one"
    )]
    NoOperator,
    /// Members' certificates lie on hosts, and the operator has none to check them with.
    #[error(
        "certificates.provided.operator.ca is needed: with from = \"host\" the CA's certificate is not here otherwise"
    )]
    NoOperatorCa,
    /// There is no CA.
    #[error("no CA at {}; copy it from the machine where the cluster was set up, or run `etcdup apply` where it makes one", .0.display())]
    NoCa(PathBuf),
    /// A certificate is to be renewed that no CA here signed.
    #[error("the certificate of `{0}` that is to be renewed was signed by no CA that is here")]
    NotSigned(String),
    /// A certificate is to be of a CA that the file does not trust any more.
    #[error("there is no CA at place {0} of certificates.trust")]
    NoTrusted(usize),
    /// The CA's files are there and cannot be used.
    #[error("the certificate authority cannot be used: {0}")]
    Broken(String),
}
