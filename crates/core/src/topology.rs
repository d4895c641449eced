//! The topology as meant, made from the file and from what hosts say of themselves.

mod layout;
mod leaving;
mod meant;
mod print;
mod resolve;
mod srv;

pub use layout::{LOG, MemberLayout, Ports};
pub use leaving::MemberPlace;
pub use meant::{ClusterState, Leaving, Member, Topology, kept_out};
pub use print::{EffectiveValue, derived_values, show};
pub use resolve::{ResolveError, other_hosts, resolve};
pub use srv::{PeerServices, SrvRecord, peer_records, peer_services, zone_lines};
