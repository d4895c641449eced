//! How long gates are waited for, each with its reason.

use std::time::Duration;

/// A member that was started becomes healthy. Two or three elections of etcd's default timeout, and
/// the replay of a database of the default quota from a disk that reads 50 MB/s, take less.
pub const MEMBER_SERVES: Duration = Duration::from_secs(60);

/// A pod that was started or replaced becomes healthy: the kubelet looks at its directory every 20
/// s, may pull an image, and backs off after a failure.
pub const POD_SERVES: Duration = Duration::from_secs(240);

/// A member's etcd listens on its peer port, which it does before it reads its database.
pub const PEER_LISTENS: Duration = Duration::from_secs(60);

/// The members that are needed while one restarts are healthy: one that was slow once answers
/// within some elections; who needs longer is not to be relied on.
pub const QUORUM_WITHOUT: Duration = Duration::from_secs(30);

/// A change of the member list is in it: a moment after the call, for a quorum has agreed on it.
pub const LISTED: Duration = Duration::from_secs(10);

/// A learner has caught up: so long without any progress. A snapshot of etcd's largest supported
/// database, 8 GB, comes in this time at 15 MB/s, and shows no progress until it is there.
pub const CATCH_UP: Duration = Duration::from_secs(600);

/// A cluster that is being downgraded, or no longer is: its leader looks every few seconds
/// (`downgrade-check-time`, 5 s), and each member lowers its data by itself.
pub const DOWNGRADED: Duration = Duration::from_secs(60);

/// The alarm of a full database is over: a moment after the call. The next write raises it again
/// where there is still no room.
pub const ALARM_OVER: Duration = Duration::from_secs(10);

/// Leadership has moved: etcd gives a transfer one election timeout, and the new leader is known a
/// heartbeat later.
pub const LEADER_MOVED: Duration = Duration::from_secs(10);
