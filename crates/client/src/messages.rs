//! The messages of etcd's API that are used here, field numbers as in its API reference
//! (`api/etcdserverpb/rpc.proto`). Fields that nobody reads are left out; prost ignores them.

use prost::Message;

/// Declares messages, a line a field.
macro_rules! messages {
    ($($name:ident { $($(#[$field:meta])* $ident:ident: $type:ty),* $(,)? })*) => { $(
        #[derive(Clone, PartialEq, Message)]
        pub(crate) struct $name { $($(#[$field])* pub(crate) $ident: $type),* }
    )* };
}

messages! {
    ResponseHeader {
        #[prost(uint64, tag = "1")] cluster_id: u64,
        #[prost(uint64, tag = "2")] member_id: u64,
        #[prost(int64, tag = "3")] revision: i64,
        #[prost(uint64, tag = "4")] raft_term: u64,
    }
    RangeRequest {
        #[prost(bytes = "vec", tag = "1")] key: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")] range_end: Vec<u8>,
        #[prost(bool, tag = "7")] serializable: bool,
        #[prost(bool, tag = "9")] count_only: bool,
    }
    RangeResponse {
        #[prost(message, optional, tag = "1")] header: Option<ResponseHeader>,
        #[prost(int64, tag = "4")] count: i64,
    }
    MemberListRequest {
        #[prost(bool, tag = "1")] linearizable: bool,
    }
    MemberListResponse {
        #[prost(message, optional, tag = "1")] header: Option<ResponseHeader>,
        #[prost(message, repeated, tag = "2")] members: Vec<Member>,
    }
    Member {
        #[prost(uint64, tag = "1")] id: u64,
        #[prost(string, tag = "2")] name: String,
        #[prost(string, repeated, tag = "3")] peer_urls: Vec<String>,
        #[prost(string, repeated, tag = "4")] client_urls: Vec<String>,
        #[prost(bool, tag = "5")] is_learner: bool,
    }
    MemberAddRequest {
        #[prost(string, repeated, tag = "1")] peer_urls: Vec<String>,
        #[prost(bool, tag = "2")] is_learner: bool,
    }
    MemberAddResponse {
        #[prost(message, optional, tag = "2")] member: Option<Member>,
        #[prost(message, repeated, tag = "3")] members: Vec<Member>,
    }
    MemberPromoteRequest {
        #[prost(uint64, tag = "1")] id: u64,
    }
    MemberRemoveRequest {
        #[prost(uint64, tag = "1")] id: u64,
    }
    MemberUpdateRequest {
        #[prost(uint64, tag = "1")] id: u64,
        #[prost(string, repeated, tag = "2")] peer_urls: Vec<String>,
    }
    MembersResponse {
        #[prost(message, repeated, tag = "2")] members: Vec<Member>,
    }
    StatusRequest {}
    StatusResponse {
        #[prost(message, optional, tag = "1")] header: Option<ResponseHeader>,
        #[prost(string, tag = "2")] version: String,
        #[prost(int64, tag = "3")] db_size: i64,
        #[prost(uint64, tag = "4")] leader: u64,
        #[prost(uint64, tag = "5")] raft_index: u64,
        #[prost(uint64, tag = "6")] raft_term: u64,
        #[prost(uint64, tag = "7")] raft_applied_index: u64,
        #[prost(string, repeated, tag = "8")] errors: Vec<String>,
        #[prost(int64, tag = "9")] db_size_in_use: i64,
        #[prost(bool, tag = "10")] is_learner: bool,
        #[prost(string, tag = "11")] storage_version: String,
        #[prost(message, optional, tag = "13")] downgrade: Option<DowngradeInfo>,
    }
    DowngradeInfo {
        #[prost(bool, tag = "1")] enabled: bool,
        #[prost(string, tag = "2")] target: String,
    }
    DowngradeRequest {
        #[prost(int32, tag = "1")] action: i32,
        #[prost(string, tag = "2")] version: String,
    }
    DowngradeResponse {
        #[prost(string, tag = "2")] version: String,
    }
    AlarmRequest {
        #[prost(int32, tag = "1")] action: i32,
        #[prost(uint64, tag = "2")] member_id: u64,
        #[prost(int32, tag = "3")] alarm: i32,
    }
    CompactionRequest {
        #[prost(int64, tag = "1")] revision: i64,
        #[prost(bool, tag = "2")] physical: bool,
    }
    CompactionResponse {}
    DefragmentRequest {}
    DefragmentResponse {}
    AlarmResponse {
        #[prost(message, repeated, tag = "2")] alarms: Vec<AlarmMember>,
    }
    AlarmMember {
        #[prost(uint64, tag = "1")] member_id: u64,
        #[prost(int32, tag = "2")] alarm: i32,
    }
    HashKvRequest {
        #[prost(int64, tag = "1")] revision: i64,
    }
    HashKvResponse {
        #[prost(message, optional, tag = "1")] header: Option<ResponseHeader>,
        #[prost(uint32, tag = "2")] hash: u32,
        #[prost(int64, tag = "3")] compact_revision: i64,
    }
    SnapshotRequest {}
    SnapshotResponse {
        #[prost(uint64, tag = "2")] remaining_bytes: u64,
        #[prost(bytes = "vec", tag = "3")] blob: Vec<u8>,
    }
    MoveLeaderRequest {
        #[prost(uint64, tag = "1")] target_id: u64,
    }
    MoveLeaderResponse {
        #[prost(message, optional, tag = "1")] header: Option<ResponseHeader>,
    }
}
