//! The topology: as written in the file ([`Spec`]) and as meant ([`Topology`]).

mod adopt;
mod document;
mod layout;
mod lint;
mod lint_flags;
mod lint_resolved;
mod print;
mod resolve;
mod spec;
mod srv;
mod target;

pub use adopt::{AdoptError, Adoptee, OperatorFiles, Select, adopt};
pub use document::{Document, KeyPath, ParseError, Span, line_column};
pub use layout::{MemberLayout, Ports};
pub use lint::{LINTS, lint};
pub use lint_resolved::lint_resolved;
pub use print::{Setting, follows, show};
pub use resolve::{ClusterState, Member, ResolveError, Topology, resolve};
pub use spec::{
    AddressSpec, Algorithm, Archive, Authority, Binaries, CertificateFiles, CertificateSource,
    Certificates, CfsslFiles, ClientCertificate, Directory, Discovery, Download, FileSpec,
    HostBinaries, HostSpec, Layout, ListenSpec, MemberSpec, OperatorSource, Plane, Pod, Provided,
    ProvidedFrom, PullPolicy, Release, RuntimeKind, Security, Spec, Ssh, Time,
};
pub use srv::{PeerServices, SrvRecord, peer_records, peer_services, zone_lines};
pub use target::{HostId, HostKeyPolicy, HostTarget, SshTarget, Sudo};
