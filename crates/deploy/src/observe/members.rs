//! Talking to members through their hosts, or directly where a host's sshd forwards nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcdup_client::{Access, BoxIo, Dial, Endpoint, MemberClient, Plain};
use etcdup_core::file::{AddressSpec, TransportSecurity};
use etcdup_core::name::MemberName;
use etcdup_core::observation::Observation;
use etcdup_core::observed::{Cause, Observed, Unobserved};
use etcdup_core::plain::chain;
use etcdup_core::stage::Goal;
use etcdup_core::topology::{Member, Topology, kept_out};
use etcdup_core::url::{Address, EtcdUrl, Scheme};
use etcdup_transport::{DialError, Transport};
use etcdup_verify::MemberTarget;
use jiff::Timestamp;
use tokio::net::TcpStream;

use crate::error::DeployError;
use crate::session::Session;
use crate::tasks::run_all;
use crate::vault::OperatorPair;

/// Dials a member's client port from its own host, so the port may be closed to the operator.
struct ThroughHost {
    link: Arc<dyn Transport>,
    /// Where it listens: as it runs, then as the file has it.
    places: Vec<(String, u16)>,
    /// The member's address and port as the file names them. One that its host reported is not
    /// dialed from here: a host must not choose what this machine connects to.
    from_here: Option<(String, u16)>,
}

/// How long a direct connection from here may take.
const DIRECT: Duration = Duration::from_secs(2);

#[async_trait]
impl Dial for ThroughHost {
    async fn dial(&self) -> io::Result<BoxIo> {
        let mut failed = io::Error::other("it listens nowhere");
        for (address, port) in &self.places {
            match self.dial_one(address, *port).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

impl ThroughHost {
    async fn dial_one(&self, address: &str, port: u16) -> io::Result<BoxIo> {
        let start = std::time::Instant::now();
        let dialed = self.link.dial(address, port).await;
        tracing::debug!(
            address,
            port,
            elapsed_ms = start.elapsed().as_millis(),
            ok = dialed.is_ok(),
            "dialed"
        );
        match dialed {
            Ok(stream) => Ok(Box::new(stream)),
            // Its sshd forwards nothing: the port may be open to us all the same.
            Err(forbidden @ DialError::Forbidden) => {
                let Some((from_here, port)) = &self.from_here else {
                    return Err(io::Error::other(format!(
                        "{forbidden}, and an address read from an interface is not dialed from here"
                    )));
                };
                let direct = TcpStream::connect((from_here.as_str(), *port));
                match tokio::time::timeout(DIRECT, direct).await {
                    Ok(Ok(stream)) => Ok(Box::new(stream)),
                    Ok(Err(error)) => Err(io::Error::other(format!(
                        "{forbidden}, and from here: {error}"
                    ))),
                    Err(_) => Err(io::Error::other(format!(
                        "{forbidden}, and from here there is no answer"
                    ))),
                }
            }
            Err(error) => Err(io::Error::other(chain(&error))),
        }
    }
}

impl Session {
    pub(crate) async fn access(&self) -> Result<Access, String> {
        let access = self.with_vault(|vault| vault.access(Timestamp::now()));
        access.await.map_err(|error| chain(&error))
    }

    /// Writes what a client of the cluster needs into a directory.
    ///
    /// # Errors
    /// When no certificate can be had.
    pub async fn client_files(&self, directory: &Path) -> Result<OperatorPair, DeployError> {
        let directory = directory.to_owned();
        // Which of several certificates members accept, only they can say.
        if self.with_vault(|vault| vault.is_between_cas()).await {
            self.observe(Goal::CONVERGE).await?;
        }
        let files = self.with_vault(move |vault| vault.client_files(&directory));
        Ok(files.await?)
    }

    /// The way to a member's client port.
    pub(crate) fn member_endpoint(
        &self,
        topology: &Topology,
        member: &Member,
        seen: Option<&Observation>,
    ) -> Observed<(Endpoint, Arc<dyn Dial>)> {
        let link = match self.link(&member.host) {
            Observed::Known(link) => link,
            Observed::Unknown(unseen) => return Observed::Unknown(unseen),
        };
        let address = match (topology.clients_kept_out, member.listen) {
            (true, any) => kept_out(any).to_string(),
            (false, any) if any.is_unspecified() => {
                IpAddr::V4(std::net::Ipv4Addr::LOCALHOST).to_string()
            }
            (false, own) => own.to_string(),
        };
        // A member is where it runs, whatever the file says by now.
        let host = seen.and_then(|seen| seen.host(&member.host));
        let process = host.and_then(|host| host.processes.get(&member.name));
        let urls = |flag: &str| -> Vec<EtcdUrl> {
            let urls = process.and_then(|process| process.flags.get(flag));
            let urls = urls.unwrap_or_default().split(',');
            urls.filter_map(|url| url.parse().ok()).collect()
        };
        let mut places: Vec<(String, u16)> = Vec::new();
        let listens = urls("listen-client-urls");
        if let Some(listens) = listens.first() {
            places.push((reachable(&listens.address), listens.port));
        }
        // On a port that serves both TLS says who it is.
        let serves = |scheme: Scheme| listens.iter().any(|url| url.scheme == scheme);
        let wants_tls = topology.security.client_tls() != TransportSecurity::Plain;
        // It may have restarted since it was looked at: then it serves what the file wants.
        let plain = match (wants_tls, serves(Scheme::Http), serves(Scheme::Https)) {
            (true, true, false) | (false, false, true) => Plain::WithoutTls,
            (true, _, _) => Plain::Never,
            // Where plain HTTP is served too, no certificate is needed.
            (false, _, _) => Plain::Only,
        };
        let by_file = (address, member.ports.client);
        if !places.contains(&by_file) {
            places.push(by_file);
        }
        let server_name = member.address.to_string();
        let runs_as = urls("advertise-client-urls").into_iter().next();
        let runs_as = runs_as.map(|url| url.address.to_string());
        let endpoint = Endpoint {
            authority: topology.client_url(member).authority(),
            also: runs_as
                .into_iter()
                .filter(|name| *name != server_name)
                .collect(),
            server_name,
            plain,
        };
        let specs = &self.document.spec.member;
        // What only a host record names is reported by a host as well.
        let by_record = member.index == usize::MAX;
        let reported = by_record
            || specs.iter().any(|spec| {
                // A member without a name in the file is called as its host calls itself.
                let other = spec.name.as_ref().is_some_and(|name| *name != member.name);
                !other && matches!(spec.address, Some(AddressSpec::Interface(_)))
            });
        Observed::Known((
            endpoint,
            Arc::new(ThroughHost {
                link,
                places,
                from_here: (!reported).then(|| (member.address.to_string(), member.ports.client)),
            }),
        ))
    }

    pub(crate) async fn client(
        &self,
        topology: &Topology,
        member: &Member,
        seen: &Observation,
    ) -> Result<MemberClient, String> {
        let access = self.access().await?;
        match self.member_endpoint(topology, member, Some(seen)) {
            Observed::Known((endpoint, dial)) => {
                MemberClient::new(&endpoint, &access, dial).map_err(|error| chain(&error))
            }
            Observed::Unknown(unseen) => Err(unseen.why),
        }
    }

    /// The members that run, ready to be asked; the others are told as unseen.
    pub(crate) fn running(
        &self,
        topology: &Topology,
        seen: &Observation,
    ) -> (Vec<MemberTarget>, BTreeMap<MemberName, Unobserved>) {
        let runs = |member: &Member| {
            seen.host(&member.host)
                .is_some_and(|view| view.processes.contains_key(&member.name))
        };
        self.askable(topology, seen, runs)
    }

    fn askable(
        &self,
        topology: &Topology,
        seen: &Observation,
        wanted: impl Fn(&Member) -> bool,
    ) -> (Vec<MemberTarget>, BTreeMap<MemberName, Unobserved>) {
        let mut asked = Vec::new();
        let mut unseen = BTreeMap::new();
        // A host that is gone for good is not among the hosts.
        let asked_at = |member: &&Member| topology.hosts.contains_key(&member.host);
        for member in topology.everyone().filter(asked_at) {
            let endpoint = self.member_endpoint(topology, member, Some(seen));
            match (wanted(member), endpoint) {
                (true, Observed::Known((endpoint, dial))) => {
                    asked.push((member.name.clone(), endpoint, dial));
                }
                (false, _) => {
                    unseen.insert(member.name.clone(), why_not_running(seen, member));
                }
                (true, Observed::Unknown(why)) => {
                    unseen.insert(member.name.clone(), why);
                }
            }
        }
        (asked, unseen)
    }

    /// Asks every member that runs.
    pub(crate) async fn ask_members(&self, topology: &Topology, seen: &mut Observation) {
        // What a member said that nothing knows of any more, as once a restore has forgotten it, is
        // of another cluster by now.
        let everyone: BTreeSet<&MemberName> = topology.everyone().map(|one| &one.name).collect();
        seen.members.retain(|name, _| everyone.contains(name));
        let (asked, unseen) = self.running(topology, seen);
        for (name, why) in unseen {
            seen.members.insert(name, Observed::Unknown(why));
        }
        self.query_members(asked, seen).await;
    }

    /// Asks these members, whether they were seen to run or not: a unit that was just started may
    /// not have come to that.
    pub(crate) async fn ask_some(
        &self,
        topology: &Topology,
        seen: &mut Observation,
        wanted: &BTreeSet<MemberName>,
    ) {
        let (asked, mut unseen) =
            self.askable(topology, seen, |member| wanted.contains(&member.name));
        unseen.retain(|name, _| wanted.contains(name));
        for (name, why) in unseen {
            seen.members.insert(name, Observed::Unknown(why));
        }
        self.query_members(asked, seen).await;
    }

    async fn query_members(&self, asked: Vec<MemberTarget>, seen: &mut Observation) {
        let access = match self.access().await {
            Ok(access) => access,
            Err(why) => {
                for (name, ..) in asked {
                    let why = format!("not known: {why}");
                    let unseen = Observed::unknown_for(Cause::NotAsked, why);
                    seen.members.insert(name, unseen);
                }
                return;
            }
        };
        let work = asked.into_iter().map(|(name, endpoint, dial)| {
            let access = access.clone();
            let view = async move { MemberClient::new(&endpoint, &access, dial)?.view().await };
            (name, view)
        });
        for (name, view) in run_all(work).await {
            let view = match view {
                Ok(Ok(view)) => Observed::Known(view),
                Ok(Err(error)) => error.into_observed(),
                Err(died) => Observed::unknown(died),
            };
            seen.members.insert(name, view);
        }
    }
}

/// Where something that listens on an address is reached from its own host.
fn reachable(address: &Address) -> String {
    match address.ip() {
        Some(any) if any.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST).to_string(),
        _ => address.to_string(),
    }
}

/// Why a member was not asked: it does not run, in its last words, or that cannot be known.
fn why_not_running(seen: &Observation, member: &Member) -> Unobserved {
    let unknown = |why: String| Unobserved {
        why: format!("not known: {why}"),
        cause: Cause::NotAsked,
    };
    let host = seen.hosts.get(&member.host);
    let view = match host {
        None => return unknown("it was not asked".to_owned()),
        Some(Observed::Unknown(unseen)) => return unknown(format!("{}: {unseen}", member.host)),
        Some(Observed::Known(view)) => view,
    };
    if view.facts.uid != 0 && view.listeners.contains_key(&member.ports.peer) {
        return unknown(format!(
            "another user runs it, and scripts on {} run as user {}",
            member.host, view.facts.uid
        ));
    }
    let unit = view.units.get(&member.layout.unit);
    let looping = unit.filter(|unit| unit.sub == "auto-restart" || unit.restarts > 2);
    let console = view.console.get(&member.name);
    let cause = console.and_then(|lines| last_words(lines));
    let why = match (looping, cause) {
        (Some(unit), Some(cause)) => {
            format!("crash loop ({} restarts): {cause}", unit.restarts)
        }
        (Some(unit), None) => format!("crash loop ({} restarts)", unit.restarts),
        (None, Some(cause)) => format!("it does not run: {cause}"),
        (None, None) => "it does not run".to_owned(),
    };
    Unobserved {
        why,
        cause: Cause::Other,
    }
}

/// The line of a log that says why etcd ended: a panic's own line, else the last error.
fn last_words(lines: &[String]) -> Option<String> {
    let has =
        |words: &'static [&str]| move |line: &&String| words.iter().any(|word| line.contains(word));
    let line = lines
        .iter()
        .rev()
        .find(has(&[
            "panic:",
            "\"level\":\"panic\"",
            "\"level\":\"fatal\"",
        ]))
        .or_else(|| {
            lines
                .iter()
                .rev()
                .find(has(&["\"level\":\"error\"", "rror"]))
        })?;
    let parsed = serde_json::from_str::<serde_json::Value>(line).ok();
    let field = |name: &str| {
        let value = parsed.as_ref()?.get(name)?.as_str()?;
        Some(value.to_owned())
    };
    match (field("msg"), field("error")) {
        (Some(message), Some(error)) => Some(format!("{message}: {error}")),
        (Some(message), None) => Some(message),
        _ => Some(line.trim().chars().take(200).collect()),
    }
}
