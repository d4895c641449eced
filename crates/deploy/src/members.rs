//! Talking to members through their hosts, or directly where a host's sshd forwards nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcdup_core::name::MemberName;
use etcdup_core::observation::Observation;
use etcdup_core::seen::Seen;
use etcdup_core::topology::{Member, Topology};
use etcdup_transport::{DialError, Transport};
use etcdup_verify::{Access, Asked, BoxIo, Dial, Endpoint, MemberClient};
use jiff::Timestamp;
use tokio::net::TcpStream;

use crate::session::Session;
use crate::tasks::side_by_side;

/// Dials a member's client port from its own host, so the port may be closed to the operator.
struct ThroughHost {
    link: Arc<dyn Transport>,
    address: String,
    /// The member's address as others know it.
    from_here: String,
    port: u16,
}

/// How long a direct connection from here may take.
const DIRECT: Duration = Duration::from_secs(2);

#[async_trait]
impl Dial for ThroughHost {
    async fn dial(&self) -> io::Result<BoxIo> {
        match self.link.dial(&self.address, self.port).await {
            Ok(stream) => Ok(Box::new(stream)),
            // Its sshd forwards nothing: the port may be open to us all the same.
            Err(forbidden @ DialError::Forbidden) => {
                let direct = TcpStream::connect((self.from_here.as_str(), self.port));
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
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    }
}

impl Session {
    pub(crate) async fn access(&self) -> Result<Access, String> {
        self.vault
            .lock()
            .await
            .access(Timestamp::now())
            .map_err(|error| error.to_string())
    }

    /// The way to a member's client port.
    pub(crate) fn way(
        &self,
        topology: &Topology,
        member: &Member,
    ) -> Seen<(Endpoint, Arc<dyn Dial>)> {
        let link = match self.link(&member.host) {
            Seen::Yes(link) => link,
            Seen::No(unseen) => return Seen::No(unseen),
        };
        let address = match member.listen {
            any if any.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST).to_string(),
            own => own.to_string(),
        };
        let endpoint = Endpoint {
            authority: topology.client_url(member).authority(),
            server_name: member.address.to_string(),
        };
        Seen::Yes((
            endpoint,
            Arc::new(ThroughHost {
                link,
                address,
                from_here: member.address.to_string(),
                port: member.ports.client,
            }),
        ))
    }

    pub(crate) async fn client(
        &self,
        topology: &Topology,
        member: &Member,
    ) -> Result<MemberClient, String> {
        let access = self.access().await?;
        match self.way(topology, member) {
            Seen::Yes((endpoint, dial)) => {
                MemberClient::new(&endpoint, &access, dial).map_err(|error| error.to_string())
            }
            Seen::No(unseen) => Err(unseen.why),
        }
    }

    /// The members that run, ready to be asked; the others are told as unseen.
    pub(crate) fn running(
        &self,
        topology: &Topology,
        seen: &Observation,
    ) -> (Vec<Asked>, BTreeMap<MemberName, String>) {
        let runs = |member: &Member| {
            seen.host(&member.host)
                .is_some_and(|view| view.processes.contains_key(&member.name))
        };
        self.askable(topology, runs)
    }

    fn askable(
        &self,
        topology: &Topology,
        wanted: impl Fn(&Member) -> bool,
    ) -> (Vec<Asked>, BTreeMap<MemberName, String>) {
        let mut asked = Vec::new();
        let mut unseen = BTreeMap::new();
        for member in &topology.members {
            match (wanted(member), self.way(topology, member)) {
                (true, Seen::Yes((endpoint, dial))) => {
                    asked.push((member.name.clone(), endpoint, dial));
                }
                (false, _) => {
                    unseen.insert(member.name.clone(), "it does not run".to_owned());
                }
                (true, Seen::No(why)) => {
                    unseen.insert(member.name.clone(), why.why);
                }
            }
        }
        (asked, unseen)
    }

    /// Asks every member that runs.
    pub(crate) async fn ask_members(&self, topology: &Topology, seen: &mut Observation) {
        let (asked, unseen) = self.running(topology, seen);
        for (name, why) in unseen {
            seen.members.insert(name, Seen::no(why));
        }
        self.ask(asked, seen).await;
    }

    /// Asks these members, whether they were seen to run or not: a unit that was just started may not have come to that.
    pub(crate) async fn ask_some(
        &self,
        topology: &Topology,
        seen: &mut Observation,
        wanted: &BTreeSet<MemberName>,
    ) {
        let (asked, _) = self.askable(topology, |member| wanted.contains(&member.name));
        self.ask(asked, seen).await;
    }

    async fn ask(&self, asked: Vec<Asked>, seen: &mut Observation) {
        let access = match self.access().await {
            Ok(access) => access,
            Err(why) => {
                for (name, ..) in asked {
                    seen.members.insert(name, Seen::no(why.clone()));
                }
                return;
            }
        };
        let work = asked.into_iter().map(|(name, endpoint, dial)| {
            let access = access.clone();
            let view = async move { MemberClient::new(&endpoint, &access, dial)?.view().await };
            (name, view)
        });
        for (name, view) in side_by_side(work).await {
            let view = match view {
                Ok(Ok(view)) => Seen::Yes(view),
                Ok(Err(error)) => Seen::no(error.to_string()),
                Err(died) => Seen::no(died),
            };
            seen.members.insert(name, view);
        }
    }
}
