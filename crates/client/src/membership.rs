//! Changes of a cluster's membership, each as one call, and what etcd refuses them for.

use etcdup_core::membership::MemberId;
use etcdup_core::observation::ListedMember;
use etcdup_core::url::EtcdUrl;

use crate::client::{MemberClient, listed};
use crate::messages::{
    Member, MemberAddRequest, MemberAddResponse, MemberPromoteRequest, MemberRemoveRequest,
    MemberUpdateRequest, MembersResponse,
};
use crate::refusal::{CHANGE, ClientError};

/// Why a change of membership did not happen. Every answer but these is ambiguous: whether it
/// happened is for the next look to say, and no call is made twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// It has not caught up with the leader.
    #[error("the learner has not caught up with the leader")]
    LearnerBehind,
    /// It votes already.
    #[error("the member is no learner")]
    NotALearner,
    /// The list has no such member.
    #[error("the cluster has no such member")]
    UnknownMember,
    /// Another member of the list has this peer URL.
    #[error("another member of the list has this peer URL")]
    PeerUrlTaken,
    /// As many learners are in the list as etcd allows, which is one unless a flag says otherwise.
    #[error("the cluster has as many learners as it allows")]
    TooManyLearners,
    /// Too few members of the list run: the change could cost the quorum.
    #[error("too few members run for a change of the list")]
    TooFewStarted,
    /// Members are not connected to one another, or not for long enough.
    #[error("members have not been connected to one another for five seconds")]
    NotConnected,
    /// Anything else, which may have happened all the same.
    #[error(transparent)]
    Other(#[from] ClientError),
}

impl MembershipError {
    /// By etcd's own words (api/v3rpc/rpctypes/error.go, 3.4 to 3.7).
    fn of(error: ClientError) -> Self {
        let ClientError::Refused(words) = &error else {
            return Self::Other(error);
        };
        match words.as_str() {
            "can only promote a learner member which is in sync with leader" => Self::LearnerBehind,
            "can only promote a learner member" => Self::NotALearner,
            "member not found" => Self::UnknownMember,
            "Peer URLs already exists" => Self::PeerUrlTaken,
            "too many learner members in cluster" => Self::TooManyLearners,
            "re-configuration failed due to not enough started members" => Self::TooFewStarted,
            "unhealthy cluster" => Self::NotConnected,
            _ => Self::Other(error),
        }
    }
}

impl MemberClient {
    /// Adds a member to the list as a learner. It may start as `existing`, with the list that comes
    /// back.
    ///
    /// # Errors
    /// What etcd refuses it for.
    pub async fn add_learner(
        &self,
        peer_urls: &[EtcdUrl],
    ) -> Result<(MemberId, Vec<ListedMember>), MembershipError> {
        let request = MemberAddRequest {
            peer_urls: texts(peer_urls),
            is_learner: true,
        };
        let path = "/etcdserverpb.Cluster/MemberAdd";
        let added = self.call_within(CHANGE, path, request).await;
        let added: MemberAddResponse = added.map_err(MembershipError::of)?;
        let id = added.member.map(|member| member.id).unwrap_or_default();
        Ok((MemberId::new(id), all(added.members)))
    }

    /// Makes a learner a voter. The list that comes back has it as one.
    ///
    /// # Errors
    /// What etcd refuses it for, [`MembershipError::LearnerBehind`] until it has caught up.
    pub async fn promote(&self, id: MemberId) -> Result<Vec<ListedMember>, MembershipError> {
        let request = MemberPromoteRequest { id: id.get() };
        self.changed("/etcdserverpb.Cluster/MemberPromote", request)
            .await
    }

    /// Removes a member from the list; where it runs, it stops by itself. Its ID is never valid
    /// again.
    ///
    /// # Errors
    /// What etcd refuses it for.
    pub async fn remove(&self, id: MemberId) -> Result<Vec<ListedMember>, MembershipError> {
        let request = MemberRemoveRequest { id: id.get() };
        self.changed("/etcdserverpb.Cluster/MemberRemove", request)
            .await
    }

    /// Gives a member other peer URLs in the list. What it listens on is for its own restart.
    ///
    /// # Errors
    /// What etcd refuses it for.
    pub async fn move_peer_urls(
        &self,
        id: MemberId,
        peer_urls: &[EtcdUrl],
    ) -> Result<Vec<ListedMember>, MembershipError> {
        let request = MemberUpdateRequest {
            id: id.get(),
            peer_urls: texts(peer_urls),
        };
        self.changed("/etcdserverpb.Cluster/MemberUpdate", request)
            .await
    }

    async fn changed<Q>(
        &self,
        path: &'static str,
        request: Q,
    ) -> Result<Vec<ListedMember>, MembershipError>
    where
        Q: prost::Message + Send + Sync + 'static,
    {
        let answer = self.call_within(CHANGE, path, request).await;
        let answer: MembersResponse = answer.map_err(MembershipError::of)?;
        Ok(all(answer.members))
    }
}

fn texts(urls: &[EtcdUrl]) -> Vec<String> {
    urls.iter().map(ToString::to_string).collect()
}

fn all(members: Vec<Member>) -> Vec<ListedMember> {
    members.into_iter().map(listed).collect()
}
