//! Local ports that lead to members' client ports through their hosts, for programs that cannot
//! reach those themselves.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use etcdup_core::file::TransportSecurity;
use etcdup_core::name::MemberName;
use etcdup_core::observation::Observation;
use etcdup_core::observed::Observed;
use etcdup_core::plain::chain;
use etcdup_core::stage::Goal;
use etcdup_core::topology::{Member, Topology};
use etcdup_planner::restore_under_way;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::binaries::release;
use crate::error::DeployError;
use crate::session::Session;

/// How long a direct connection may take before the port counts as closed to this machine.
const DIRECT: Duration = Duration::from_secs(1);

/// Where a member's client port is reached from this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The member.
    pub member: MemberName,
    /// `address:port`, for a URL.
    pub authority: String,
    /// Whether that is a local port which leads there through the member's host.
    pub forwarded: bool,
}

/// Local ports that stay open for as long as this lives.
pub struct Forwards {
    /// Every member that is reached, in the file's order.
    pub reached: Vec<Reached>,
    /// Members that are not, and why.
    pub unreached: Vec<(MemberName, String)>,
    /// Whether a restore keeps all other clients out: what is written now may be lost.
    pub restoring: bool,
    _tasks: JoinSet<()>,
}

impl Session {
    /// Opens ways to every member's client port: directly where this machine reaches it, else
    /// through the member's host.
    ///
    /// A member that neither leads to is reported in the answer, since the others may be all that a
    /// caller needs.
    pub async fn reach_clients(&self, topology: &Topology) -> Forwards {
        let mut forwards = Forwards {
            reached: Vec::new(),
            unreached: Vec::new(),
            restoring: false,
            _tasks: JoinSet::new(),
        };
        for member in &topology.members {
            let authority = topology.client_url(member).authority();
            // Without TLS nothing tells the member from another etcd that has its address on this
            // machine's own network.
            let told_apart = topology.security.client != TransportSecurity::Plain;
            if (told_apart || member.host.as_str() == "local") && is_open(member).await {
                forwards.reached.push(Reached {
                    member: member.name.clone(),
                    authority,
                    forwarded: false,
                });
                continue;
            }
            self.forward_to(topology, member, None, &mut forwards).await;
        }
        if forwards.reached.is_empty()
            && let Some(seen) = self.restored().await
        {
            forwards.unreached.clear();
            forwards.restoring = true;
            for member in &topology.members {
                self.forward_to(topology, member, Some(&seen), &mut forwards)
                    .await;
            }
        }
        forwards
    }

    /// The hosts, where one of them remembers a restore that has not ended: members listen apart
    /// from where clients look for them, as their processes show.
    async fn restored(&self) -> Option<Observation> {
        let (planner, seen) = self.observe(Goal::CONVERGE).await.ok()?;
        let is_open = restore_under_way(planner.topology(), &seen).is_some();
        is_open.then_some(seen)
    }

    /// A local port that leads to a member, or why there is none.
    async fn forward_to(
        &self,
        topology: &Topology,
        member: &Member,
        seen: Option<&Observation>,
        forwards: &mut Forwards,
    ) {
        let forwarded = self.forward(topology, member, seen, &mut forwards._tasks);
        match forwarded.await {
            Ok(address) => forwards.reached.push(Reached {
                member: member.name.clone(),
                authority: address.to_string(),
                forwarded: true,
            }),
            Err(why) => forwards.unreached.push((member.name.clone(), why)),
        }
    }

    /// etcdctl of the topology's own binaries for this machine; taken out of an archive it lands in
    /// `into`.
    ///
    /// # Errors
    /// When the binaries cannot be read or downloaded, or their checksum differs.
    pub async fn etcdctl(
        &self,
        topology: &Topology,
        into: &Path,
    ) -> Result<Option<PathBuf>, DeployError> {
        let from = (self.base.as_path(), self.settings.cache.as_path());
        let own = release::own_architecture();
        let found = release::unpacked(topology, from, into, own, &["etcdctl"]).await?;
        Ok(found.into_iter().next().map(|(_, ready)| ready.path))
    }

    async fn forward(
        &self,
        topology: &Topology,
        member: &Member,
        seen: Option<&Observation>,
        tasks: &mut JoinSet<()>,
    ) -> Result<SocketAddr, String> {
        let dial = match self.member_endpoint(topology, member, seen) {
            Observed::Known((_, dial)) => dial,
            Observed::Unknown(unseen) => return Err(unseen.why),
        };
        // Tried once before anything waits on it: etcdctl's own message would name only a local
        // port.
        drop(dial.dial().await.map_err(|error| chain(&error))?);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(|error| chain(&error))?;
        let address = listener.local_addr().map_err(|error| chain(&error))?;
        tasks.spawn(async move {
            while let Ok((mut local, _)) = listener.accept().await {
                let dial = Arc::clone(&dial);
                tokio::spawn(async move {
                    if let Ok(mut far) = dial.dial().await {
                        let _ = tokio::io::copy_bidirectional(&mut local, &mut far).await;
                    }
                });
            }
        });
        Ok(address)
    }
}

/// Whether this machine reaches a member's client port by itself.
async fn is_open(member: &Member) -> bool {
    let address = member.address.to_string();
    let host = address.trim_matches(['[', ']']).to_owned();
    // A loopback address of a member is the host's own, and only by chance also this machine's.
    if host == "localhost"
        || host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    {
        return member.host.as_str() == "local";
    }
    let dialed = TcpStream::connect((host.as_str(), member.ports.client));
    matches!(tokio::time::timeout(DIRECT, dialed).await, Ok(Ok(_)))
}
