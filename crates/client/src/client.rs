//! A client of one member. Maintenance calls are per member, so there is never a balanced channel.

use etcdup_core::membership::{ClusterId, MemberId};
use etcdup_core::plain::chain;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcdup_core::observation::{ListedMember, MemberView, Served};
use etcdup_core::observed::Observed;
use etcdup_core::plain::harmless;
use etcdup_core::stage::Alarm;
use etcdup_core::version::minor_of;
use http::uri::PathAndQuery;
use tonic::transport::Channel;

use crate::dial::{Dial, Endpoint};
use crate::messages::{
    AlarmMember, AlarmRequest, AlarmResponse, CompactionRequest, CompactionResponse,
    DefragmentRequest, DefragmentResponse, DowngradeRequest, DowngradeResponse, HashKvRequest,
    HashKvResponse, Member, MemberListRequest, MemberListResponse, MoveLeaderRequest,
    MoveLeaderResponse, RangeRequest, RangeResponse, StatusRequest, StatusResponse,
};
use crate::refusal::{CALL, CHANGE, COMPACTED, ClientError, FORGOTTEN, root_cause};
use crate::stream::{Connector, FirstError};
use crate::tls::Access;

/// A client of one member.
#[derive(Clone)]
pub struct MemberClient {
    pub(crate) channel: Channel,
    pub(crate) first_error: FirstError,
}

impl MemberClient {
    /// A client that connects when it is first used, and again after a failure.
    ///
    /// # Errors
    /// When certificates or names cannot be used.
    pub fn new(
        endpoint: &Endpoint,
        access: &Access,
        dial: Arc<dyn Dial>,
    ) -> Result<Self, ClientError> {
        let first_error = FirstError::default();
        let connector = Connector::new(endpoint, access, dial, Arc::clone(&first_error))?;
        let scheme = connector.scheme();
        let uri = format!("{scheme}://{}", endpoint.authority);
        let channel = tonic::transport::Endpoint::from_shared(uri)
            .map_err(|error| ClientError::Connect(chain(&error)))?
            .connect_with_connector_lazy(connector);
        Ok(Self {
            channel,
            first_error,
        })
    }

    pub(crate) async fn call<Q, R>(&self, path: &'static str, request: Q) -> Result<R, ClientError>
    where
        Q: prost::Message + Send + Sync + 'static,
        R: prost::Message + Default + Send + Sync + 'static,
    {
        self.call_within(CALL, path, request).await
    }

    pub(crate) async fn call_within<Q, R>(
        &self,
        limit: Duration,
        path: &'static str,
        request: Q,
    ) -> Result<R, ClientError>
    where
        Q: prost::Message + Send + Sync + 'static,
        R: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        let called = async {
            grpc.ready()
                .await
                .map_err(|error| tonic::Status::unavailable(root_cause(&error)))?;
            let codec = tonic_prost::ProstCodec::<Q, R>::default();
            grpc.unary(
                tonic::Request::new(request),
                PathAndQuery::from_static(path),
                codec,
            )
            .await
        };
        match tokio::time::timeout(limit, called).await {
            Err(_) => Err(ClientError::Late(limit)),
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(ClientError::from_status(&status, &self.first_error)),
        }
    }

    /// Everything that planning needs: status, member list and a read that a quorum confirms. The
    /// calls run side by side.
    ///
    /// # Errors
    /// When the member does not answer its own status; a failed read is part of the view.
    pub async fn view(&self) -> Result<MemberView, ClientError> {
        let begun = std::time::Instant::now();
        let (status, served) = tokio::join!(self.status(), self.serve());
        let served = match served {
            Ok(took) => Ok(Served {
                took,
                denied: false,
            }),
            // The read index went through before etcd asked who we are: `etcdctl endpoint health`
            // counts it too.
            Err(ClientError::Denied(_)) => Ok(Served {
                took: begun.elapsed(),
                denied: true,
            }),
            Err(error) => Err(error),
        };
        let status = status?;
        // A member's own list may lag behind: where a quorum answers, it confirms the list too.
        let list = self.members(served.is_ok()).await;
        // A learner answers no member list; anybody else's silence must not look like an empty
        // cluster.
        let listed = if status.is_learner { Vec::new() } else { list? };
        let header = status.header.unwrap_or_default();
        Ok(MemberView {
            id: MemberId::new(header.member_id),
            cluster: ClusterId::new(header.cluster_id),
            leader: (status.leader != 0).then(|| MemberId::new(status.leader)),
            version: harmless(&status.version),
            storage_version: minor_of(&harmless(&status.storage_version)),
            downgrade: status
                .downgrade
                .filter(|downgrade| downgrade.enabled)
                .map(|downgrade| minor_of(&harmless(&downgrade.target))),
            term: status.raft_term,
            raft_index: status.raft_index,
            applied_index: status.raft_applied_index,
            revision: header.revision,
            db_size: status.db_size,
            db_in_use: status.db_size_in_use,
            learner: status.is_learner,
            errors: status.errors,
            listed,
            served: match served {
                Ok(served) => Observed::Known(served),
                Err(error) => Observed::unknown(chain(&error)),
            },
        })
    }

    async fn status(&self) -> Result<StatusResponse, ClientError> {
        self.call("/etcdserverpb.Maintenance/Status", StatusRequest {})
            .await
    }

    async fn members(&self, linearizable: bool) -> Result<Vec<ListedMember>, ClientError> {
        let request = MemberListRequest { linearizable };
        let list: MemberListResponse = self
            .call("/etcdserverpb.Cluster/MemberList", request)
            .await?;
        Ok(list.members.into_iter().map(listed).collect())
    }

    /// A linearizable read of the key `health`, as `etcdctl endpoint health` does; how long it
    /// took.
    ///
    /// # Errors
    /// When it does not go through.
    pub async fn serve(&self) -> Result<Duration, ClientError> {
        let start = Instant::now();
        let request = RangeRequest {
            key: b"health".to_vec(),
            ..RangeRequest::default()
        };
        let _: RangeResponse = self.call("/etcdserverpb.KV/Range", request).await?;
        Ok(start.elapsed())
    }

    /// The revision, and how many keys there are, by a linearizable read.
    ///
    /// # Errors
    /// When it does not go through.
    pub async fn keys(&self) -> Result<(i64, i64), ClientError> {
        let request = RangeRequest {
            // From the first key to the last, as etcd has it.
            key: vec![0],
            range_end: vec![0],
            count_only: true,
            ..RangeRequest::default()
        };
        let answer: RangeResponse = self.call("/etcdserverpb.KV/Range", request).await?;
        let revision = answer.header.map(|header| header.revision);
        Ok((revision.unwrap_or_default(), answer.count))
    }

    /// The alarms that are raised, as member ID and name.
    ///
    /// # Errors
    /// When the member does not answer.
    pub async fn alarms(&self) -> Result<Vec<(MemberId, &'static str)>, ClientError> {
        let answer: AlarmResponse = self
            .call("/etcdserverpb.Maintenance/Alarm", AlarmRequest::default())
            .await?;
        let name = |alarm: &AlarmMember| match alarm.alarm {
            1 => "NOSPACE",
            2 => "CORRUPT",
            _ => "unknown",
        };
        Ok(answer
            .alarms
            .iter()
            .map(|alarm| (MemberId::new(alarm.member_id), name(alarm)))
            .collect())
    }

    /// The hash of the store at a revision, with the revision it was compacted to.
    ///
    /// # Errors
    /// When the member does not answer or has no such revision.
    pub async fn hash(&self, revision: i64) -> Result<(u32, i64), ClientError> {
        let answer: HashKvResponse = self
            .call(
                "/etcdserverpb.Maintenance/HashKV",
                HashKvRequest { revision },
            )
            .await?;
        Ok((answer.hash, answer.compact_revision))
    }

    /// Has the cluster agree on something that changes nothing: the alarm that is none is taken
    /// back. It is an entry in everyone's log all the same.
    ///
    /// # Errors
    /// When it is not agreed on.
    pub async fn agree_on_nothing(&self) -> Result<(), ClientError> {
        let request = AlarmRequest {
            action: DEACTIVATE,
            ..AlarmRequest::default()
        };
        let path = "/etcdserverpb.Maintenance/Alarm";
        let _: AlarmResponse = self.call_within(CHANGE, path, request).await?;
        Ok(())
    }

    /// Has the cluster forget what keys were before a revision, and returns once this member has
    /// freed the space.
    ///
    /// # Errors
    /// What etcd refuses it for, unless that or more is forgotten already.
    pub async fn compact(&self, revision: i64) -> Result<(), ClientError> {
        let request = CompactionRequest {
            revision,
            physical: true,
        };
        let path = "/etcdserverpb.KV/Compact";
        let done: Result<CompactionResponse, _> = self.call_within(COMPACTED, path, request).await;
        match done {
            Err(ClientError::Refused(why)) if why == FORGOTTEN => Ok(()),
            done => done.map(|_| ()),
        }
    }

    /// Has this member write its database again, without what it does not use: it answers nothing
    /// meanwhile.
    ///
    /// # Errors
    /// When it cannot, or takes longer than `limit`: then it may still be at work.
    pub async fn defragment(&self, limit: Duration) -> Result<(), ClientError> {
        let path = "/etcdserverpb.Maintenance/Defragment";
        let _: DefragmentResponse = self.call_within(limit, path, DefragmentRequest {}).await?;
        Ok(())
    }

    /// Takes an alarm of a member's back.
    ///
    /// # Errors
    /// When it is not agreed on.
    pub async fn disarm(&self, alarm: Alarm, member: MemberId) -> Result<(), ClientError> {
        let request = AlarmRequest {
            action: DEACTIVATE,
            member_id: member.get(),
            alarm: match alarm {
                Alarm::NoSpace => NOSPACE,
                Alarm::Corrupt => CORRUPT,
            },
        };
        let path = "/etcdserverpb.Maintenance/Alarm";
        let _: AlarmResponse = self.call_within(CHANGE, path, request).await?;
        Ok(())
    }

    /// Begins a downgrade to a minor, `3.6`, after etcd has checked that it may: members that run
    /// the older minor are let in from then on.
    ///
    /// # Errors
    /// What etcd refuses it for.
    pub async fn enable_downgrade(&self, minor: &str) -> Result<(), ClientError> {
        self.downgrade(VALIDATE, minor).await?;
        self.downgrade(ENABLE, minor).await
    }

    /// Gives a downgrade up.
    ///
    /// # Errors
    /// What etcd refuses it for.
    pub async fn cancel_downgrade(&self) -> Result<(), ClientError> {
        self.downgrade(CANCEL, "").await
    }

    async fn downgrade(&self, action: i32, minor: &str) -> Result<(), ClientError> {
        let request = DowngradeRequest {
            action,
            version: minor.to_owned(),
        };
        let path = "/etcdserverpb.Maintenance/Downgrade";
        let _: DowngradeResponse = self.call_within(CHANGE, path, request).await?;
        Ok(())
    }

    /// Hands leadership to another member. Only the leader can.
    ///
    /// # Errors
    /// When it does not lead, or the other cannot follow up.
    pub async fn move_leader(&self, to: MemberId) -> Result<(), ClientError> {
        let _: MoveLeaderResponse = self
            .call(
                "/etcdserverpb.Maintenance/MoveLeader",
                MoveLeaderRequest {
                    target_id: to.get(),
                },
            )
            .await?;
        Ok(())
    }
}

/// The action of an alarm request (`rpc.proto`).
const DEACTIVATE: i32 = 2;
/// The alarms (`rpc.proto`).
const NOSPACE: i32 = 1;
const CORRUPT: i32 = 2;

/// The actions of a downgrade request (`rpc.proto`).
const VALIDATE: i32 = 0;
const ENABLE: i32 = 1;
const CANCEL: i32 = 2;

/// A member as the list has it.
pub(crate) fn listed(member: Member) -> ListedMember {
    ListedMember {
        id: MemberId::new(member.id),
        name: member.name,
        peer_urls: member.peer_urls,
        client_urls: member.client_urls,
        learner: member.is_learner,
    }
}
