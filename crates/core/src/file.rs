//! The topology as written: the file, its keys and their places.

mod document;
mod key_path;
mod parse;
mod places;
mod set;
mod spec;

pub use document::Document;
pub use key_path::{KeyPath, SetError};
pub use parse::{ParseError, line_column};
pub use places::Span;
pub use spec::{
    Absent, AddressSpec, Archive, Binaries, Ca, CertificateFiles, CertificateSource, Certificates,
    CfsslFiles, ClientCertificate, Directory, Discovery, Download, Every, EveryError, FileSpec,
    HostBinaries, HostFate, HostKeyPolicy, HostSpec, Interface, Keep, Layout, ListenSpec,
    MemberSpec, OperatorSource, Pod, Provided, ProvidedFrom, PullPolicy, Release, RuntimeKind,
    Security, Snapshots, Spec, Ssh, SshHost, Sudo, Time, TransportSecurity, VagrantHost,
    fill_version,
};
