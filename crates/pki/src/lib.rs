//! A certificate authority for an etcd cluster: made or loaded, issuing and reading certificates.
//!
//! No file, clock or network is touched: times come in as arguments, texts as PEM.
//!
//! ```
//! use etcdup_core::certificate::{Algorithm, CertRequest, Issuer, Usage};
//! use etcdup_pki::Ca;
//!
//! let now = jiff::Timestamp::from_second(1_800_000_000)?;
//! let authority = Ca::make("prod etcd CA", 3650, now, None)?;
//! let request = CertRequest {
//!     name: "m1".into(),
//!     subject: Default::default(),
//!     usage: Usage::Peer,
//!     sans: ["10.0.1.10".parse()?].into(),
//!     algorithm: Algorithm::EcdsaP256,
//!     hours: 24,
//!     issuer: Issuer::Own,
//! };
//! let issued = authority.issue(&request, now)?;
//! let facts = etcdup_pki::inspect(&issued.certificate)?;
//! assert!(facts.satisfies(&request, &[authority.facts().identity()], now).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ca;
mod error;
mod inspect;
mod keys;

pub use ca::{Ca, CaRequest, Issued};
pub use error::PkiError;
pub use inspect::{InspectError, damage, inspect};
pub use keys::public_key_digest;
