//! Calls to the cluster: who leads, who belongs to it.

use std::time::{Duration, Instant};

use etcdup_client::{ClientError, MemberClient, MembershipError};
use etcdup_core::event::Body;
use etcdup_core::membership::{Electorate, MemberId, NotRemoved};
use etcdup_core::name::MemberName;
use etcdup_core::observation::Observation;
use etcdup_core::plain::chain;
use etcdup_core::stage::{ClusterStep, Goal};

use tokio::task::JoinSet;

use super::context::Run;
use crate::documents::describe_call;
use crate::error::DeployError;
use crate::snapshots::{Purpose, least_busy};

/// How long etcd may refuse a change for a moment's reason: members must have been connected for
/// five seconds, and a learner that was near the leader may have fallen behind again.
const REFUSED: Duration = Duration::from_secs(60);
/// How long a member may write its database again, besides 100 ms a megabyte: what a disk takes
/// that writes 10 MB/s.
const DEFRAGMENTED: Duration = Duration::from_secs(60);
/// How many entries are under way at once: etcd writes what has come in meanwhile in one go.
const AT_ONCE: usize = 64;
/// How often it is asked again meanwhile.
const AGAIN: Duration = Duration::from_secs(1);

impl Run<'_> {
    /// One call to the cluster, under the lease. An answer that says neither yes nor no ends the
    /// run: whether it happened is for the next look to say.
    pub(super) async fn cluster(
        &self,
        step: &ClusterStep,
        seen: &Observation,
    ) -> Result<(), DeployError> {
        let failed = |why: &str| DeployError::Cluster {
            what: describe_call(step).1,
            why: why.to_owned(),
        };
        if let ClusterStep::Remove {
            member,
            id,
            snapshot: true,
        } = step
        {
            let kept = self.keep_snapshot(Some(member), seen).await;
            kept.map_err(|why| failed(&why))?;
            // It may have taken minutes, in which others may have gone down.
            let others = self.go_on_without(*id, seen).await;
            others.map_err(|not| failed(&not.to_string()))?;
        }
        let start = Instant::now();
        loop {
            // Each time: it may be lost while this waits.
            self.leases.check().await?;
            let refused = match self.call(step, seen).await {
                Ok(()) => return Ok(()),
                Err(Refused::Other(why)) => return Err(failed(&why)),
                Err(Refused::ForAMoment(error)) => error,
            };
            if self.session.cancel.is_cancelled() {
                return Err(DeployError::Stopped(Some(describe_call(step).1)));
            }
            if start.elapsed() > REFUSED {
                return Err(failed(&chain(&refused)));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn call(&self, step: &ClusterStep, seen: &Observation) -> Result<(), Refused> {
        match step {
            ClusterStep::MoveLeader { from, to } => {
                let topology = self.planner.topology();
                let leader = topology.member(from);
                let leader = leader.ok_or_else(|| Refused::Other("no such member".to_owned()))?;
                let transferee = seen.member(to);
                let transferee =
                    transferee.ok_or_else(|| Refused::Other(format!("{to} does not answer")))?;
                let client = self.session.client(topology, leader, seen).await;
                let client = client.map_err(Refused::Other)?;
                let moved = client.move_leader(transferee.id).await;
                moved.map_err(|error| Refused::Other(chain(&error)))
            }
            ClusterStep::AddLearner { peer_url, .. } => {
                let urls = std::slice::from_ref(peer_url);
                match self.voter(seen).await?.add_learner(urls).await {
                    // Another call was faster, or an earlier one came through after all: the gate
                    // says whether it is listed as it should be.
                    Ok(_) | Err(MembershipError::PeerUrlTaken) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            ClusterStep::MovePeer { id, peer_url, .. } => {
                let urls = std::slice::from_ref(peer_url);
                match self.voter(seen).await?.move_peer_urls(*id, urls).await {
                    Ok(_) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            ClusterStep::Remove { id, .. } => {
                match self.voter(seen).await?.remove(*id).await {
                    // An earlier call came through after all.
                    Ok(_) | Err(MembershipError::UnknownMember) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            ClusterStep::RaftSnapshot { entries } => {
                let client = self.voter(seen).await?;
                self.agree_on_entries(&client, *entries).await
            }
            ClusterStep::EnableDowngrade { minor } => {
                let enabled = self.voter(seen).await?.enable_downgrade(minor).await;
                enabled.map_err(|error| Refused::Other(chain(&error)))
            }
            ClusterStep::CancelDowngrade => {
                let cancelled = self.voter(seen).await?.cancel_downgrade().await;
                cancelled.map_err(|error| Refused::Other(chain(&error)))
            }
            ClusterStep::Compact { revision } => {
                let compacted = self.voter(seen).await?.compact(*revision).await;
                compacted.map_err(|error| Refused::Other(chain(&error)))
            }
            ClusterStep::Defragment { member } => self.defragment(member, seen).await,
            ClusterStep::Disarm { alarm, members } => {
                let client = self.voter(seen).await?;
                for member in members {
                    let disarmed = client.disarm(*alarm, *member).await;
                    disarmed.map_err(|error| Refused::Other(chain(&error)))?;
                }
                Ok(())
            }
            ClusterStep::Promote { id, .. } => match self.voter(seen).await?.promote(*id).await {
                Ok(_) | Err(MembershipError::NotALearner) => Ok(()),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// Has a member write its database again, and says what came of it.
    async fn defragment(&self, name: &MemberName, seen: &Observation) -> Result<(), Refused> {
        let topology = self.planner.topology();
        let member = topology.member(name);
        let member = member.ok_or_else(|| Refused::Other("no such member".to_owned()))?;
        let client = self.session.client(topology, member, seen).await;
        let client = client.map_err(Refused::Other)?;
        let failed = |error: ClientError| Refused::Other(chain(&error));
        let before = client.view().await.map_err(failed)?;
        let megabytes = u64::try_from(before.db_size >> 20).unwrap_or_default();
        let start = Instant::now();
        let limit = DEFRAGMENTED
            + Duration::from_millis(100) * u32::try_from(megabytes).unwrap_or(u32::MAX);
        client.defragment(limit).await.map_err(failed)?;
        let took = start.elapsed();
        let after = client.view().await.map_err(failed)?;
        self.session.events.send(Body::Gate {
            holds: format!(
                "the database of {name} is {} MiB, and was {} MiB; it took {:.1} s",
                after.db_size >> 20,
                before.db_size >> 20,
                took.as_secs_f64()
            ),
            why: String::new(),
        });
        Ok(())
    }

    /// Has the cluster agree on so many entries, some at once: one after the other, each would wait
    /// for the one before to be on disk.
    async fn agree_on_entries(&self, client: &MemberClient, entries: u64) -> Result<(), Refused> {
        let mut under_way: JoinSet<Result<(), ClientError>> = JoinSet::new();
        let mut left = entries;
        loop {
            while left > 0 && under_way.len() < AT_ONCE && !self.session.cancel.is_cancelled() {
                let client = client.clone();
                under_way.spawn(async move { client.agree_on_nothing().await });
                left -= 1;
            }
            match under_way.join_next().await {
                None => return Ok(()),
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => return Err(Refused::Other(chain(&error))),
                Some(Err(died)) => {
                    return Err(Refused::Other(format!("an internal error: {died}")));
                }
            }
        }
    }

    /// Whether the others can go on without a member, by what all members answer now.
    async fn go_on_without(&self, id: MemberId, seen: &Observation) -> Result<(), NotRemoved> {
        let topology = self.planner.topology();
        let names: Vec<MemberName> = topology.everyone().map(|one| one.name.clone()).collect();
        let mut now = seen.clone();
        let all = names.iter().cloned().collect();
        self.session.ask_some(topology, &mut now, &all).await;
        Electorate::of(&now, &names).remove(id)
    }

    /// Keeps a snapshot before all data is moved aside, where anything serves: data is kept too,
    /// so that what cannot be had is not waited for.
    ///
    /// # Errors
    /// When the run is to stop: nobody gave up the snapshot, and no data was moved yet.
    pub(super) async fn keep_what_serves(&self, seen: &Observation) -> Result<(), DeployError> {
        if least_busy(self.planner.topology(), seen, None).is_none() {
            return Ok(());
        }
        let kept = self.keep_snapshot(None, seen).await;
        if self.session.cancel.is_cancelled() {
            let done = "the restore was begun, and before any member was stopped".to_owned();
            return Err(DeployError::Stopped(Some(done)));
        }
        if let Err(why) = kept {
            self.session.events.send(Body::Gate {
                holds: format!(
                    "no snapshot of what is there was kept ({why}); its data is, on the hosts"
                ),
                why: String::new(),
            });
        }
        Ok(())
    }

    /// Keeps a verified snapshot of a member that stays, a follower where there is one.
    pub(super) async fn keep_snapshot(
        &self,
        leaving: Option<&MemberName>,
        seen: &Observation,
    ) -> Result<(), String> {
        let topology = self.planner.topology();
        let member = least_busy(topology, seen, leaving);
        let member = member.ok_or("no member serves to take a snapshot of")?;
        let purpose = if matches!(self.planner.goal(), Goal::Restore { .. }) {
            Purpose::BeforeRestore
        } else {
            Purpose::Backup
        };
        let show = |_, _| {};
        let saving = self
            .session
            .snapshot_of(topology, seen, member, purpose, show);
        // It may take minutes, and nothing is begun that would have to be finished.
        let kept = tokio::select! {
            kept = saving => kept,
            () = self.session.cancel.cancelled() => return Err("stopped while a snapshot was taken".to_owned()),
            () = self.leases.lost.cancelled() => return Err("the lease was lost while a snapshot was taken".to_owned()),
        };
        let (directory, kept) = kept.map_err(|error| chain(&error))?;
        self.session.events.send(Body::Gate {
            holds: format!(
                "a snapshot of {} is verified and kept: {}, {} bytes",
                member.name,
                directory.show_one(&kept.name),
                kept.size
            ),
            why: String::new(),
        });
        Ok(())
    }

    /// A client of a member that serves: the leader, where it is known.
    async fn voter(&self, seen: &Observation) -> Result<MemberClient, Refused> {
        let topology = self.planner.topology();
        let serving = || {
            let mut members = topology.members.iter();
            members.find(|member| seen.serves(&member.name))
        };
        let leader = seen.leader().filter(|name| seen.serves(name));
        let leader = leader.and_then(|name| topology.member(name));
        let Some(voter) = leader.or_else(serving) else {
            return Err(Refused::Other("no member serves".to_owned()));
        };
        let client = self.session.client(topology, voter, seen).await;
        client.map_err(Refused::Other)
    }
}

/// Why a call did not happen.
enum Refused {
    /// A moment later it may.
    ForAMoment(MembershipError),
    /// It will not, or may have happened all the same.
    Other(String),
}

impl From<MembershipError> for Refused {
    fn from(error: MembershipError) -> Self {
        match error {
            MembershipError::LearnerBehind | MembershipError::NotConnected => {
                Self::ForAMoment(error)
            }
            MembershipError::NotALearner
            | MembershipError::UnknownMember
            | MembershipError::PeerUrlTaken
            | MembershipError::TooManyLearners
            | MembershipError::TooFewStarted
            | MembershipError::Other(_) => Self::Other(chain(&error)),
        }
    }
}
