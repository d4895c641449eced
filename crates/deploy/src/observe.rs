//! Looking at hosts and members.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use etcdup_core::adopt::AdoptTarget;
use etcdup_core::certificate::CertFacts;
use etcdup_core::file::HostSpec;
use etcdup_core::finding::Verdict;
use etcdup_core::host::{HostFacts, HostId, HostTarget};
use etcdup_core::lint::lint_resolved;
use etcdup_core::observation::{HostView, Observation, Query, Reach, SnapshotSeen};
use etcdup_core::observed::Observed;
use etcdup_core::plain::chain;
use etcdup_core::stage::{Content, Goal};
use etcdup_core::topology::{Member, ResolveError, Topology, peer_services, resolve};
use etcdup_core::url::Address;
use etcdup_host::{Header, query_text, read_answer, refusal};
use etcdup_planner::Planner;
use etcdup_render::UnitTemplate;
use etcdup_transport::{DialError, Output, Transport};
use jiff::Timestamp;

use crate::error::DeployError;
use crate::links::cause;
use crate::scripts::OBSERVE;
use crate::session::Session;
use crate::snapshots::SnapshotStore;
use crate::tasks::{blocking, run_all};
use crate::vault::inspect_binaries;

/// How long the place of snapshots may take to say which is the newest.
const KEPT: Duration = Duration::from_secs(5);

mod members;
mod raft_logs;
mod srv;

impl Session {
    /// Looks at everything: the CA, all hosts at once, then the members that run, and the way
    /// between hosts where members are yet to start.
    ///
    /// # Errors
    /// When the topology contradicts what hosts say, or the unit's template is wrong.
    pub async fn observe(&self, goal: Goal) -> Result<(Planner, Observation), DeployError> {
        let topology = self.resolved().await?;
        let (path, base) = (
            self.document.spec.layout.unit_template.clone(),
            self.base.clone(),
        );
        let template = blocking(move || unit_template(path.as_deref(), &base)).await?;
        let planner = Planner::new(topology, goal, template.as_ref())?;
        let mut seen = Observation::new(Timestamp::now());
        let resolved = planner.topology().clone();
        let here = self.with_vault(move |vault| {
            let sources = vault.inspect_sources(Some(&resolved));
            (
                vault.ca_state(),
                vault.trusted(),
                vault.ca_file(),
                vault.clients(),
                sources,
            )
        });
        (
            seen.ca,
            seen.trusted,
            seen.ca_file,
            seen.clients,
            seen.sources,
        ) = here.await;
        let topology = planner.topology();
        // One that cannot be read is no reason not to look at the cluster.
        seen.snapshot = self.newest_snapshot(topology).await;
        let hosts: Vec<HostId> = planner.topology().hosts.keys().cloned().collect();
        self.observe_hosts(&planner, &hosts, true, &mut seen).await;
        let planner = planner.next_leg(&seen)?;
        let planner = self.observe_others(planner, &mut seen).await?;
        self.ask_members(planner.topology(), &mut seen).await;
        self.catch_up(&planner, &mut seen).await;
        // What was seen late may be data, which decides the leg, as does the list of members.
        let planner = planner.next_leg(&seen)?;
        let planner = self.observe_others(planner, &mut seen).await?;
        self.inspect_releases_ahead(&planner, &mut seen).await;
        self.probe_peer_ports(&planner, &mut seen).await;
        self.look_up_srv(&planner, &mut seen).await;
        Ok((planner, seen))
    }

    /// The newest snapshot that is kept, or why that is not known.
    pub(crate) async fn newest_snapshot(
        &self,
        topology: &Topology,
    ) -> Observed<Option<SnapshotSeen>> {
        let look = async {
            SnapshotStore::of(&self.base, &topology.snapshots, &topology.cluster)?
                .newest()
                .await
        };
        // A disk that is gone hangs whoever looks at it.
        match tokio::time::timeout(KEPT, look).await {
            Ok(Ok(newest)) => Observed::Known(newest),
            Ok(Err(error)) => Observed::unknown(chain(&error)),
            Err(_) => {
                let seconds = KEPT.as_secs();
                Observed::unknown(format!("their place does not answer within {seconds} s"))
            }
        }
    }

    /// Looks at the binaries of the releases on the way to the file's, where they lie here: what is
    /// missing is known before anything starts.
    async fn inspect_releases_ahead(&self, planner: &Planner, seen: &mut Observation) {
        let ahead = planner.releases_ahead(seen);
        if ahead.is_empty() {
            return;
        }
        let (binaries, base) = (self.document.spec.binaries.clone(), self.base.clone());
        let inspect = move || {
            let found = ahead.iter();
            let found = found.filter_map(|one| inspect_binaries(&binaries, &base, one));
            found.collect::<Vec<_>>()
        };
        seen.sources.extend(blocking(inspect).await);
    }

    /// Observes the hosts of members that only host records still name, and asks those members.
    async fn observe_others(
        &self,
        planner: Planner,
        seen: &mut Observation,
    ) -> Result<Planner, DeployError> {
        self.link_others(planner.topology()).await;
        // A host that was looked at before was not asked of a member that nobody knew to be there.
        let asked = |host: &HostId| match seen.hosts.get(host) {
            None => false,
            Some(Observed::Unknown(_)) => true,
            Some(Observed::Known(view)) => {
                Query::paths(&planner.queries(host, &[], false)).is_subset(&view.asked)
            }
        };
        let hosts = planner.topology().hosts.keys();
        let unseen: Vec<HostId> = hosts.filter(|host| !asked(host)).cloned().collect();
        if unseen.is_empty() {
            return Ok(planner);
        }
        self.observe_hosts(&planner, &unseen, false, seen).await;
        let planner = planner.next_leg(seen)?;
        self.ask_members(planner.topology(), seen).await;
        Ok(planner)
    }

    /// Observes hosts again whose members started between the two looks, once: what then still
    /// looks lost is lost.
    pub(crate) async fn catch_up(&self, planner: &Planner, seen: &mut Observation) {
        let late = planner.hosts_to_observe_again(seen);
        if !late.is_empty() {
            self.observe_hosts(planner, &late, false, seen).await;
            self.ask_members(planner.topology(), seen).await;
        }
    }

    /// The topology; a host is asked first only where a name or address comes from it.
    ///
    /// # Errors
    /// When that host cannot be asked, or contradicts the file.
    pub async fn resolved(&self) -> Result<Topology, DeployError> {
        match resolve(&self.document.spec, |_| None) {
            Err(ResolveError::NeedsHost { .. }) => {}
            other => return Ok(other?),
        }
        let hosts = self.linked();
        let work = hosts.iter().map(|host| {
            let link = self.link(host);
            let nothing = Vec::new();
            let id = host.clone();
            let view =
                async move { observe_host(&id, link, "/var/lib/etcdup", "none", nothing).await };
            (host.clone(), view)
        });
        let mut facts: BTreeMap<HostId, HostFacts> = BTreeMap::new();
        let mut unseen = Vec::new();
        for (host, view) in run_all(work).await {
            match view.unwrap_or_else(Observed::unknown) {
                Observed::Known(view) => {
                    facts.insert(host, view.facts);
                }
                Observed::Unknown(why) => unseen.push((host, why)),
            }
        }
        let resolved = resolve(&self.document.spec, |host| facts.get(host));
        if let Ok(topology) = &resolved {
            // What could not be looked at before any host was asked.
            let mut errors = lint_resolved(&self.document.spec, topology);
            errors.retain(|finding| finding.verdict == Verdict::Error);
            if !errors.is_empty() {
                return Err(DeployError::Blocked(errors));
            }
        }
        resolved.map_err(|error| match &error {
            ResolveError::NeedsHost { host, at, .. } => {
                let why = unseen
                    .iter()
                    .find(|(other, _)| other == host)
                    .map_or("it was not asked", |(_, why)| why.why.as_str());
                let check = etcdup_planner::HOST_UNSEEN;
                DeployError::Blocked(vec![check.error(host, why).at(at.clone())])
            }
            ResolveError::NoInterface { .. } | ResolveError::Name { .. } => {
                DeployError::Resolve(error)
            }
        })
    }

    /// Every etcd that runs on the hosts, whoever made it, in the hosts' order in the file.
    ///
    /// # Errors
    /// When a host cannot be looked at.
    pub async fn instances(&self) -> Result<Vec<AdoptTarget>, DeployError> {
        let hosts = self.linked();
        let work = hosts.iter().map(|host| {
            let (link, every) = (self.link(host), vec![Query::EveryEtcd]);
            let id = host.clone();
            let view =
                async move { observe_host(&id, link, "/var/lib/etcdup", "none", every).await };
            (host.clone(), view)
        });
        let mut seen = run_all(work).await;
        let (mut found, mut unseen) = (Vec::new(), Vec::new());
        for member in &self.document.spec.member {
            let host = HostTarget::from_spec(&member.host, &self.document.spec.ssh).id();
            let target = match &member.host {
                HostSpec::Text(text) => text.clone(),
                HostSpec::Ssh(ssh) => ssh.ssh.clone(),
                HostSpec::Vagrant(machine) => machine.vagrant.clone(),
            };
            match seen
                .remove(&host)
                .map(|view| view.unwrap_or_else(Observed::unknown))
            {
                Some(Observed::Known(view)) => {
                    found.extend(view.instances.into_iter().map(|etcd| {
                        let target = target.clone();
                        AdoptTarget { target, etcd }
                    }));
                }
                Some(Observed::Unknown(why)) => unseen.push((host, why)),
                None => {}
            }
        }
        if unseen.is_empty() {
            return Ok(found);
        }
        let check = etcdup_planner::HOST_UNSEEN;
        let findings = unseen
            .into_iter()
            .map(|(host, why)| check.error(host, why.why));
        Err(DeployError::Blocked(findings.collect()))
    }

    /// Looks at these hosts, all at once. Disks are measured when asked for, which takes a moment.
    pub(crate) async fn observe_hosts(
        &self,
        planner: &Planner,
        hosts: &[HostId],
        measure: bool,
        seen: &mut Observation,
    ) {
        let work: Vec<_> = hosts
            .iter()
            .map(|host| {
                let (link, state) = (self.link(host), state_of(planner.topology(), host));
                let text = planner.queries(host, &provided(planner, seen), measure);
                let cluster = planner.topology().cluster.to_string();
                let id = host.clone();
                let view = async move { observe_host(&id, link, &state, &cluster, text).await };
                (host.clone(), view)
            })
            .collect();
        for (host, view) in run_all(work).await {
            seen.hosts
                .insert(host, view.unwrap_or_else(Observed::unknown));
        }
        self.keep_signed(seen).await;
        self.read_raft_logs(planner, hosts, seen).await;
    }

    /// Forgets certificates that no CA here signed, whatever they say of themselves: what lies on a
    /// host may be anyone's, and its key is not certified again.
    pub(crate) async fn keep_signed(&self, seen: &mut Observation) {
        let facts = |seen: &mut Observation, forget: &mut dyn FnMut(&mut CertFacts)| {
            let hosts = seen.hosts.values_mut().filter_map(Observed::known_mut);
            let found = hosts.flat_map(|host| host.certificates.values_mut());
            found.filter_map(Observed::known_mut).for_each(forget);
        };
        let mut found = BTreeSet::new();
        facts(seen, &mut |one| found.extend(one.der.clone()));
        if found.is_empty() {
            return;
        }
        let signed = self.with_vault(move |vault| {
            found.retain(|one| vault.has_signed(one));
            found
        });
        let signed = signed.await;
        facts(seen, &mut |one| {
            one.der = one.der.take().filter(|der| signed.contains(der));
        });
    }

    /// Dials, from each host that has a member yet to start, the peer ports of the others, and from
    /// theirs the ports of those that are yet to start.
    async fn probe_peer_ports(&self, planner: &Planner, seen: &mut Observation) {
        let topology = planner.topology();
        let seen_before = &*seen;
        let starts = |member: &Member| {
            let view = seen_before.host(&member.host);
            view.is_some_and(|view| !view.processes.contains_key(&member.name))
        };
        let work: Vec<_> = topology
            .members
            .iter()
            .filter_map(|member| {
                seen_before.host(&member.host)?;
                let link = self.link(&member.host).known()?.clone();
                let others: Vec<_> = topology
                    .members
                    .iter()
                    .filter(|other| other.host != member.host)
                    .filter(|other| starts(member) || starts(other))
                    .map(|other| {
                        (
                            topology.peer_url(other).authority(),
                            other.address.to_string(),
                            other.ports.peer,
                        )
                    })
                    .collect();
                Some((member, link, others))
            })
            .map(|(member, link, others)| {
                // One after the other: why a connection has no way is told apart from others' only
                // so.
                let reaches = async move {
                    let mut reaches = Vec::new();
                    for (target, address, port) in others {
                        reaches.push((target, reach(link.as_ref(), &address, port).await));
                    }
                    reaches
                };
                ((member.host.clone(), member.name.clone()), reaches)
            })
            .collect();
        for ((host, _), reaches) in run_all(work).await {
            for (target, reach) in reaches.unwrap_or_default() {
                seen.reach.insert((host.clone(), target), reach);
            }
        }
    }
}

impl Session {
    /// Asks the resolver of each host that has a member yet to start for the peers' services.
    async fn look_up_srv(&self, planner: &Planner, seen: &mut Observation) {
        let topology = planner.topology();
        let Some(services) = peer_services(topology) else {
            return;
        };
        let mut work = Vec::new();
        for member in &topology.members {
            let Some(view) = seen.host(&member.host) else {
                continue;
            };
            let Observed::Known(link) = self.link(&member.host) else {
                continue;
            };
            if view.processes.contains_key(&member.name) {
                continue;
            }
            for service in [&services.own, &services.other] {
                let (link, resolvers) = (Arc::clone(&link), view.facts.resolvers.clone());
                let (host, asked) = (member.host.clone(), service.clone());
                let records = async move { srv::srv(link.as_ref(), &resolvers, &asked).await };
                work.push(((host, service.clone()), records));
            }
        }
        for (key, records) in run_all(work).await {
            let records = records.and_then(|records| records);
            seen.srv
                .insert(key, records.map_or_else(Observed::unknown, Observed::Known));
        }
    }
}

async fn reach(link: &dyn Transport, address: &str, port: u16) -> Reach {
    match link.dial(address, port).await {
        Ok(_) => Reach::Reachable,
        Err(DialError::Refused) => Reach::Refused,
        Err(DialError::Silent(_)) => Reach::TimedOut,
        Err(DialError::Forbidden) => Reach::ForwardingDenied,
        // A name that does not resolve has its own check.
        Err(DialError::Other(why)) => Reach::Unknown(why),
    }
}

/// The text of the user's own unit template, where the file names one.
///
/// # Errors
/// When it cannot be read.
pub fn unit_template(
    path: Option<&Utf8Path>,
    base: &Path,
) -> Result<Option<UnitTemplate>, DeployError> {
    let Some(path) = path else {
        return Ok(None);
    };
    let full = base.join(path);
    std::fs::read_to_string(&full)
        .map(|text| Some(UnitTemplate::from_file(path.as_str(), text)))
        .map_err(|source| DeployError::File { path: full, source })
}

/// What provided certificates say whose members peers would accept only after a look-up: one that
/// has the address its member connects from is accepted as it is, and a dead resolver must not cost
/// its time.
pub(crate) fn provided(planner: &Planner, seen: &Observation) -> Vec<CertFacts> {
    let mut found = Vec::new();
    for member in &planner.topology().members {
        let own = Some(member.listen).filter(|ip| !ip.is_unspecified());
        let from = member.address.ip().or(own);
        let facts = planner
            .desired(member)
            .certificates
            .iter()
            .filter_map(|artifact| match &artifact.content {
                Content::Provided(source) => {
                    seen.sources.get(source)?.known()?.certificate.as_ref()
                }
                Content::Text(_) | Content::Ca | Content::Issued { .. } | Content::OnHost(_) => {
                    None
                }
            })
            .filter(|facts| !facts.is_ca);
        let covered =
            |facts: &&CertFacts| from.is_some_and(|ip| facts.sans.contains(&Address::Ip(ip)));
        found.extend(facts.filter(|facts| !covered(facts)).cloned());
    }
    found
}

/// etcdup's own directory on a host.
pub(crate) fn state_of(topology: &Topology, host: &HostId) -> String {
    topology.on_host(host).next().map_or_else(
        || "/var/lib/etcdup".to_owned(),
        |member| member.layout.state.to_string(),
    )
}

pub(crate) async fn observe_host(
    host: &HostId,
    link: Observed<Arc<dyn Transport>>,
    state: &str,
    cluster: &str,
    queries: Vec<Query>,
) -> Observed<HostView> {
    let link = match link {
        Observed::Known(link) => link,
        Observed::Unknown(unseen) => return Observed::Unknown(unseen),
    };
    let start = Instant::now();
    let header = Header {
        state,
        cluster,
        operation: None,
        now: Timestamp::now(),
    };
    let input = std::io::Cursor::new(header.line() + &query_text(&queries));
    let ran = link.run(&OBSERVE, Box::new(input)).await;
    tracing::debug!(%host, script = "observe", elapsed_ms = start.elapsed().as_millis(), ok = ran.is_ok(), "ran");
    match ran {
        Err(error) => Observed::unknown_for(cause(&error), chain(&error)),
        Ok(output) => {
            let text = output.text();
            match text
                .split_once("@etcdup\n")
                .and_then(|(_, rest)| rest.split_once("@observe\n"))
            {
                Some((_, answer)) => match read_answer(answer, &inspect) {
                    Ok(mut view) => {
                        view.asked = Query::paths(&queries);
                        let half =
                            i64::try_from(start.elapsed().as_millis() / 2).unwrap_or(i64::MAX);
                        view.facts.clock_ahead_ms -= half;
                        view.facts.clock_error_ms = half;
                        Observed::Known(view)
                    }
                    Err(error) => Observed::unknown(chain(&error)),
                },
                None => Observed::unknown(refusal(&text).unwrap_or_else(|| no_answer(&output))),
            }
        }
    }
}

fn no_answer(output: &Output) -> String {
    let complaint = output.last_stderr_line();
    let status = output.status.map_or_else(
        || "a signal".to_owned(),
        |status| format!("status {status}"),
    );
    if complaint.is_empty() {
        format!("the observe script ended with {status}")
    } else {
        complaint
    }
}

/// What a certificate that was read from a host says.
pub(crate) fn inspect(pem: &str) -> Observed<CertFacts> {
    etcdup_pki::inspect(pem).map_or_else(|error| Observed::unknown(chain(&error)), Observed::Known)
}
