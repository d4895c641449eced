//! Who belongs to the cluster, who votes, and who can be spared: the one place that counts a
//! quorum.

mod electorate;
mod id;
mod standing;
mod view;

pub use electorate::{Electorate, NotRemoved, NotSpared, bootstrap_quorum, quorum_of};
pub use id::{ClusterId, IdError, MemberId};
pub use standing::{Place, Standing};
pub use view::ClusterView;
