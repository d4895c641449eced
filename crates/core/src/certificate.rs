//! Certificates as they are asked for, as they are seen, and whether the one meets the other.

mod cfssl;
mod facts;
mod peer_rule;
mod request;

pub use cfssl::{Cfssl, CfsslConfig, CfsslRequest};
pub use facts::{CertFacts, CertIdentity, Mismatch, format_sans};
pub use peer_rule::{Lookups, PeerRefusal, accept_peer};
pub use request::{Algorithm, CertRequest, Issuer, Subject, Usage};
