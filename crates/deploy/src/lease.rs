//! The lease: one operation at a time on a host, by the host's own clock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use etcdup_core::event::Body;
use etcdup_core::host::HostId;
use etcdup_core::observed::Observed;
use etcdup_core::operation::{OperationState, Verb};
use etcdup_core::plain::chain;
use etcdup_core::topology::Topology;
use etcdup_host::{Header, LeaseAnswer, LeaseRequest};
use etcdup_transport::Transport;
use tokio::task::JoinSet;

use crate::alive::has_died;
use crate::error::DeployError;
use crate::observe::state_of;
use crate::run::approved::Approved;
use crate::scripts::LEASE;
use crate::session::Session;
use crate::settings::Cancel;

/// How often a lease is renewed. It runs out after 30 s of the host's uptime.
const RENEW: Duration = Duration::from_secs(10);

/// How long a lease lasts after it was renewed, by the host's uptime; `lease_expired` in the
/// scripts has the same figure.
const LASTS: Duration = Duration::from_secs(30);

/// For so long after every host confirmed a lease it needs no further look: a sixth of what it
/// lasts.
const FRESH: Duration = Duration::from_secs(5);

/// How long a holder that does not renew is waited out, and a little more.
const WAIT: Duration = Duration::from_secs(33);

/// How long a dead operator's last script is waited for: it may be unpacking binaries, and stops
/// members only under limits of its own, the longest of which is two minutes.
const SCRIPT: Duration = Duration::from_secs(150);

/// Leases on all hosts of a run, renewed until they are released.
pub(crate) struct Leases {
    /// The fencing number on each host.
    pub(crate) epochs: BTreeMap<HostId, u64>,
    /// What the last stage on each host had left when the lease was taken.
    pub(crate) last_stages: BTreeMap<HostId, String>,
    /// When every host was last heard to keep it, by both clocks: one of them may stand still while
    /// this machine sleeps.
    confirmed: Mutex<Asked>,
    hosts: Vec<Holder>,
    renewing: JoinSet<()>,
    /// Cancelled when a lease was lost.
    pub(crate) lost: Cancel,
    /// The host whose lease that was.
    lost_on: Arc<OnceLock<HostId>>,
}

/// When hosts were asked, by both clocks.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    at: Instant,
    date: SystemTime,
}

impl Asked {
    pub(crate) fn now() -> Self {
        Self {
            at: Instant::now(),
            date: SystemTime::now(),
        }
    }

    /// Whether that is so short a time ago that no lease can have run out since.
    fn is_fresh(self) -> bool {
        // A date in the future was set since: then nothing is known.
        let by_date = self.date.elapsed().unwrap_or(LASTS);
        self.at.elapsed() < FRESH && by_date < FRESH
    }
}

#[derive(Clone)]
struct Holder {
    host: HostId,
    link: Arc<dyn Transport>,
    state: String,
    cluster: String,
    operation: String,
    epoch: u64,
    last_stage: String,
}

impl Holder {
    async fn ask(&self, request: &LeaseRequest) -> LeaseAnswer {
        let header = Header {
            state: &self.state,
            cluster: &self.cluster,
            operation: Some((&self.operation, self.epoch)),
            now: jiff::Timestamp::now(),
        };
        let input = header.line() + &request.line();
        match self
            .link
            .run(&LEASE, Box::new(std::io::Cursor::new(input)))
            .await
        {
            Ok(output) => LeaseAnswer::read(&output.text(), &output.last_stderr_line()),
            Err(error) => LeaseAnswer::Refused(chain(&error)),
        }
    }
}

impl Session {
    /// Takes the lease on every host that answers: all that are written, and more than half of all,
    /// so that two operators on either side of a cut cannot both work. An active lease is not
    /// waited for; a silent one is waited out.
    pub(crate) async fn take_leases(
        &self,
        topology: &Topology,
        approved: &Approved,
        writes: &BTreeSet<HostId>,
    ) -> Result<Leases, DeployError> {
        let mut holders = Vec::new();
        for host in topology.hosts.keys() {
            match self.link(host) {
                Observed::Unknown(unseen) => {
                    tracing::debug!(%host, why = unseen.why, "no lease where nobody answers");
                    if writes.contains(host) {
                        return Err(DeployError::LeaseLost {
                            host: host.clone(),
                            why: unseen.why,
                        });
                    }
                }
                Observed::Known(link) => holders.push(Holder {
                    host: host.clone(),
                    link,
                    state: state_of(topology, host),
                    cluster: topology.cluster.to_string(),
                    operation: self.events.operation().to_owned(),
                    epoch: 0,
                    last_stage: String::new(),
                }),
            }
        }
        // Hosts of members alone count: a worker whose clock is kept right has no say in who may
        // change the cluster.
        let of_members = |host: &HostId| topology.has_member_on(host);
        let all = topology
            .hosts
            .keys()
            .filter(|host| of_members(host))
            .count();
        let answer = holders
            .iter()
            .filter(|holder| of_members(&holder.host))
            .count();
        // Whoever does not answer there was named as gone, one by one: a quorum is what is missing.
        if answer * 2 <= all && approved.verb != Verb::Recover {
            return Err(DeployError::FewHosts { answer, all });
        }
        let since = jiff::Timestamp::now()
            .strftime("%Y-%m-%d %H:%M:%S UTC")
            .to_string();
        let request = LeaseRequest::Take {
            verb: approved.verb,
            who: self.who.clone(),
            since,
            died: None,
            stages: approved
                .stages
                .iter()
                .map(|stage| stage.key.clone())
                .collect(),
        };
        let asked = Asked::now();
        let mut tasks = JoinSet::new();
        let given_up = Cancel::new();
        for holder in holders {
            let (request, given_up) = (request.clone(), given_up.clone());
            let (events, cancel) = (self.events.clone(), self.cancel.clone());
            let cache = self.settings.cache.clone();
            tasks.spawn(async move {
                take(holder, request, &events, (&cancel, &given_up), &cache).await
            });
        }
        let lost = Cancel::new();
        let lost_on = Arc::<OnceLock<HostId>>::default();
        let mut renewing = JoinSet::new();
        let mut taken = Vec::new();
        let mut refused = None;
        while let Some(joined) = tasks.join_next().await {
            match joined {
                Ok(Ok(holder)) => {
                    // Renewed from now on, for another host may be waited for longer than a lease
                    // lasts.
                    renewing.spawn(renew(holder.clone(), lost.clone(), Arc::clone(&lost_on)));
                    taken.push(holder);
                }
                Ok(Err(error)) => {
                    // Two operators who wait for each other's hosts must not both go on. Not
                    // aborted: a host may be granting its lease just now, and only who hears of it
                    // can give it back.
                    given_up.cancel();
                    refused.get_or_insert(error);
                }
                Err(_) => {}
            }
        }
        let epochs = taken
            .iter()
            .map(|holder| (holder.host.clone(), holder.epoch))
            .collect();
        let last = |holder: &Holder| (holder.host.clone(), holder.last_stage.clone());
        let leases = Leases {
            epochs,
            last_stages: taken.iter().map(last).collect(),
            // Hosts that answered at once may have waited for those that did not.
            confirmed: Mutex::new(asked),
            hosts: taken,
            renewing,
            lost,
            lost_on,
        };
        let outcome = match refused {
            Some(error) => Err(error),
            None => leases.check().await,
        };
        match outcome {
            Ok(()) => Ok(leases),
            Err(error) => {
                leases.release(state_after(&error)).await;
                Err(error)
            }
        }
    }
}

/// How an operation ended that did not reach its goal.
pub(crate) fn state_after(error: &DeployError) -> OperationState {
    if let DeployError::Stopped(_) = error {
        return OperationState::Stopped;
    }
    OperationState::Failed
}

impl Leases {
    /// Gives all leases back, and has the hosts note how the operation ended.
    pub(crate) async fn release(mut self, ended: OperationState) {
        self.renewing.abort_all();
        release(&self.hosts, ended).await;
    }

    /// Fails when a lease was lost meanwhile.
    pub(crate) fn held(&self) -> Result<(), DeployError> {
        match self.lost_on.get() {
            Some(host) if self.lost.is_cancelled() => Err(DeployError::LeaseLost {
                host: host.clone(),
                why: "it could not be renewed, or another operator has it".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Every host of the run has just shown that it keeps the lease: taking it, or a stage script
    /// that ran, which refuses without.
    pub(crate) fn confirm(&self, asked: Asked) {
        *self
            .confirmed
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = asked;
    }

    /// Whether these are all the hosts of the run.
    pub(crate) fn are_all<'a>(&self, hosts: impl IntoIterator<Item = &'a HostId>) -> bool {
        let hosts: BTreeSet<&HostId> = hosts.into_iter().collect();
        self.hosts.iter().all(|holder| hosts.contains(&holder.host))
    }

    /// Renews at once: asked just before a call that changes the cluster, or a stop. Not where
    /// every host confirmed it moments ago: a lease lasts much longer than that, so nobody can have
    /// taken it since, unless this machine slept, which one of two clocks shows.
    pub(crate) async fn check(&self) -> Result<(), DeployError> {
        {
            let confirmed = self
                .confirmed
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if confirmed.is_fresh() {
                return Ok(());
            }
        }
        let asked = Asked::now();
        for holder in &self.hosts {
            match holder.ask(&LeaseRequest::Renew).await {
                LeaseAnswer::Done => {}
                LeaseAnswer::Held { who, .. } => {
                    return Err(DeployError::LeaseLost {
                        host: holder.host.clone(),
                        why: format!("{who} took it"),
                    });
                }
                LeaseAnswer::Taken { .. } | LeaseAnswer::Busy { .. } | LeaseAnswer::Refused(_) => {
                    return Err(DeployError::LeaseLost {
                        host: holder.host.clone(),
                        why: "it cannot be renewed".to_owned(),
                    });
                }
            }
        }
        self.confirm(asked);
        Ok(())
    }
}

async fn take(
    mut holder: Holder,
    mut request: LeaseRequest,
    events: &crate::events::Events,
    (cancel, given_up): (&Cancel, &Cancel),
    cache: &Path,
) -> Result<Holder, DeployError> {
    let stopped = || cancel.is_cancelled() || given_up.is_cancelled();
    let start = Instant::now();
    let mut first_seen: Option<String> = None;
    loop {
        match holder.ask(&request).await {
            LeaseAnswer::Taken { epoch, last } => {
                holder.epoch = epoch;
                holder.last_stage = last;
                return Ok(holder);
            }
            // Our own process of before, which was killed: nothing of it can come any more but its
            // last script, which the host itself waits for.
            LeaseAnswer::Held { operation, .. }
                if first_seen.is_none() && has_died(cache, &operation) =>
            {
                first_seen = Some(String::new());
                if let LeaseRequest::Take { died, .. } = &mut request {
                    *died = Some(operation);
                }
            }
            LeaseAnswer::Held {
                who,
                verb,
                since,
                renewed,
                ..
            } => {
                let locked = DeployError::Locked {
                    host: holder.host.clone(),
                    who: who.clone(),
                    verb: verb.clone(),
                    since: since.clone(),
                };
                let alive = first_seen.as_ref().is_some_and(|first| *first != renewed);
                if stopped() {
                    tracing::debug!(who, "stopped while waiting for a lease");
                    return Err(DeployError::Stopped(None));
                }
                if alive || start.elapsed() > WAIT {
                    return Err(locked);
                }
                if first_seen.is_none() {
                    let what = format!(
                        "{who} ({verb}, since {since}) holds {}; waiting for the lease to be renewed or to expire",
                        holder.host
                    );
                    events.send(Body::Waiting { holder: what });
                    first_seen = Some(renewed);
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            LeaseAnswer::Busy { who } => {
                if stopped() {
                    tracing::debug!(who, "stopped while waiting for a lease");
                    return Err(DeployError::Stopped(None));
                }
                if start.elapsed() > SCRIPT {
                    return Err(DeployError::LeaseLost {
                        host: holder.host.clone(),
                        why: format!(
                            "a script of {who} has been running there for {} s",
                            SCRIPT.as_secs()
                        ),
                    });
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            LeaseAnswer::Done => {
                return Err(DeployError::LeaseLost {
                    host: holder.host.clone(),
                    why: "unexpected reply".to_owned(),
                });
            }
            LeaseAnswer::Refused(why) => {
                return Err(DeployError::LeaseLost {
                    host: holder.host.clone(),
                    why,
                });
            }
        }
    }
}

/// Renews one host's lease. It is lost when another operator has it, or when it could not be
/// renewed for as long as it lasts.
async fn renew(holder: Holder, lost: Cancel, lost_on: Arc<OnceLock<HostId>>) {
    let mut renewed = Instant::now();
    loop {
        tokio::time::sleep(RENEW).await;
        match holder.ask(&LeaseRequest::Renew).await {
            LeaseAnswer::Done => renewed = Instant::now(),
            LeaseAnswer::Held { .. } => {
                let _ = lost_on.set(holder.host.clone());
                lost.cancel();
            }
            // The link may be busy or dead; the stage's own script looks at the lease before it
            // begins.
            LeaseAnswer::Taken { .. } | LeaseAnswer::Busy { .. } | LeaseAnswer::Refused(_) => {
                if renewed.elapsed() > LASTS {
                    let _ = lost_on.set(holder.host.clone());
                    lost.cancel();
                }
            }
        }
    }
}

async fn release(holders: &[Holder], ended: OperationState) {
    let mut tasks = JoinSet::new();
    for holder in holders {
        let holder = holder.clone();
        tasks.spawn(async move { holder.ask(&LeaseRequest::Release { ended }).await });
    }
    while tasks.join_next().await.is_some() {}
}
