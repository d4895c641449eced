//! What should be: a topology and the files that follow from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use etcdup_core::file::TransportSecurity;
use etcdup_core::flag::FlagSet;
use etcdup_core::membership::ClusterView;
use etcdup_core::name::MemberName;
use etcdup_core::observation::{ListedMember, Observation};
use etcdup_core::path::HostPath;
use etcdup_core::stage::{Artifact, Goal, LegTag};
use etcdup_core::topology::{ClusterState, Member, MemberLayout, MemberPlace, Topology};
use etcdup_render::{RenderError, Renderer, UnitTemplate};

use crate::leg::place::Staying;
use crate::leg::{Leg, leg};
use crate::restoring::RestoredWith;

/// A topology with the files that follow from it for every member.
#[derive(Clone)]
pub struct Target {
    /// What should be, on this leg.
    pub topology: Topology,
    /// What the file asks for: every leg is derived from it, and from no leg before.
    file: Arc<Topology>,
    leg: LegTag,
    staying: BTreeMap<MemberName, Staying>,
    beyond: Option<Arc<Target>>,
    wanted: BTreeMap<MemberName, DesiredFiles>,
    unit_template: Option<UnitTemplate>,
    restored_with: Option<RestoredWith>,
}

/// What should be on a member's host.
#[derive(Clone)]
pub struct DesiredFiles {
    /// Its certificates.
    pub certificates: Vec<Artifact>,
    /// Its unit or start file while the cluster forms.
    pub fresh: Artifact,
    /// The same once the cluster has formed.
    pub settled: Artifact,
    /// Its flags, with `initial-cluster-state=existing`.
    pub flags: FlagSet,
    /// The file it runs.
    pub etcd: HostPath,
    sums: BTreeMap<HostPath, String>,
    fresh_sum: String,
}

impl Target {
    /// A target; `unit_template` replaces the built-in unit.
    ///
    /// # Errors
    /// When the template cannot be filled in or loses flags.
    pub fn new(
        topology: Topology,
        unit_template: Option<&UnitTemplate>,
    ) -> Result<Self, RenderError> {
        let renderer = Renderer::new(unit_template)?;
        let mut wanted = BTreeMap::new();
        for member in topology.everyone() {
            let certificates = Renderer::certificates(&topology, member)?;
            let flags = topology.flags(member, ClusterState::Existing);
            let settled = renderer.start(&topology, member, &flags)?;
            let forming = topology.flags(member, ClusterState::New);
            let fresh = renderer.start(&topology, member, &forming)?;
            let sums = certificates
                .iter()
                .chain([&settled])
                .filter_map(|a| Some((a.path.clone(), a.content.sha256()?)))
                .collect();
            let fresh_sum = fresh.content.sha256().unwrap_or_default();
            let etcd = member.layout.etcd()?;
            wanted.insert(
                member.name.clone(),
                DesiredFiles {
                    certificates,
                    fresh,
                    settled,
                    flags,
                    etcd,
                    sums,
                    fresh_sum,
                },
            );
        }
        Ok(Self {
            file: Arc::new(topology.clone()),
            topology,
            leg: LegTag::default(),
            staying: BTreeMap::new(),
            beyond: None,
            wanted,
            unit_template: unit_template.cloned(),
            restored_with: None,
        })
    }

    /// How members' data is made of a snapshot, where it is.
    pub(crate) const fn restored_with(&self) -> Option<RestoredWith> {
        self.restored_with
    }

    /// The first leg on the way to this topology that is not reached yet.
    ///
    /// # Errors
    /// As [`Target::new`].
    pub(crate) fn next_leg(self, goal: &Goal, seen: &Observation) -> Result<Self, RenderError> {
        let Leg {
            topology,
            tag,
            staying,
            beyond,
            restored_with,
        } = leg(&self.file, goal, seen);
        let template = self.unit_template.clone();
        let beyond = beyond.map(|beyond| Self::new(beyond, template.as_ref()));
        let beyond = beyond.transpose()?.map(Arc::new);
        let same = topology == self.topology;
        let file = Arc::clone(&self.file);
        let target = if same {
            self
        } else {
            Self::new(topology, self.unit_template.as_ref())?
        };
        Ok(Self {
            leg: tag,
            staying,
            beyond,
            file,
            restored_with,
            ..target
        })
    }

    /// Whether this is the first leg that is not reached yet.
    pub(crate) fn is_next_leg(&self, goal: &Goal, seen: &Observation) -> bool {
        let leg = leg(&self.file, goal, seen);
        let layouts = |topology: &Topology| -> Vec<MemberLayout> {
            let members = topology.members.iter();
            members.map(|member| member.layout.clone()).collect()
        };
        leg.tag == self.leg
            && leg.staying == self.staying
            && layouts(&leg.topology) == layouts(&self.topology)
    }

    /// A member as the file has it on its host, with the target of that, where this leg takes it
    /// there.
    pub(crate) fn goes(&self, name: &MemberName) -> Option<(&Target, &Member)> {
        let staying = self.staying.get(name).filter(|staying| staying.goes);
        let beyond = staying.and(self.beyond.as_deref())?;
        let mut members = beyond.topology.members.iter();
        Some((beyond, members.find(|member| member.name == *name)?))
    }

    /// The same, where nothing but its next start keeps it from going.
    pub(crate) fn there(&self, name: &MemberName) -> Option<(&Target, &Member)> {
        self.goes(name).filter(|_| self.staying[name].may_go)
    }

    /// The places where a member may be: a run that was cut had begun to take it from one to the
    /// other.
    pub(crate) fn may_be_in(&self, name: &MemberName) -> impl Iterator<Item = &MemberPlace> {
        let staying = self.staying.get(name).into_iter();
        staying.flat_map(|staying| std::iter::once(&staying.recorded).chain(&staying.to))
    }

    /// Whether this leg takes members elsewhere on their hosts.
    pub(crate) fn takes_members_elsewhere(&self) -> bool {
        self.beyond.is_some()
    }

    /// Whether the kubelet runs a member, or will once it is where the file has it.
    pub(crate) fn is_or_becomes_pod(&self, name: &MemberName) -> bool {
        let there = self.there(name).map(|(_, member)| member);
        let here = self.topology.member(name);
        here.into_iter()
            .chain(there)
            .any(|member| member.layout.is_pod())
    }

    /// What should be on this member's host.
    #[must_use]
    pub fn desired(&self, member: &Member) -> &DesiredFiles {
        &self.wanted[&member.name]
    }

    /// What starts a member that joins a cluster with this list; `None` where that is the file's,
    /// and the settled file does. etcd compares the list that it is started with to the cluster's
    /// own, all peer URLs of each, and refuses any other (`ValidateClusterAndAssignIDs`), and the
    /// file's members join one after the other.
    pub(crate) fn joining(&self, member: &Member, view: &ClusterView<'_>) -> Option<Artifact> {
        let topology = &self.topology;
        let url = |member: &Member| topology.peer_url(member).to_string();
        let name = |listed: &ListedMember| {
            let mut members = topology.members.iter();
            let of_file = members.find(|member| listed.peer_urls.contains(&url(member)));
            let taken = |name: &str| {
                topology
                    .members
                    .iter()
                    .any(|member| member.name.as_str() == name)
            };
            match of_file {
                Some(member) => member.name.to_string(),
                // Two of one name would be one member to etcd, and names count for nothing else.
                None if taken(&listed.name) => listed.id.to_string(),
                None => listed.name.clone(),
            }
        };
        let mut list: BTreeSet<String> = view
            .members()
            .flat_map(|listed| {
                let name = name(listed);
                let urls = listed.peer_urls.iter();
                urls.map(move |url| format!("{name}={url}"))
            })
            .collect();
        // As it will be once it is added.
        list.insert(format!("{}={}", member.name, url(member)));
        let of_file = topology.members.iter();
        let of_file = of_file.map(|member| format!("{}={}", member.name, url(member)));
        if list == of_file.collect() {
            return None;
        }
        let list: Vec<String> = list.into_iter().collect();
        self.settled_with(member, &list.join(","))
    }

    /// The settled start file with another list of members.
    pub(crate) fn settled_with(&self, member: &Member, list: &str) -> Option<Artifact> {
        let mut flags = self.topology.flags(member, ClusterState::Existing);
        flags.set("initial-cluster", list);
        // The same template filled in the settled file before.
        let renderer = Renderer::new(self.unit_template.as_ref()).ok()?;
        renderer.start(&self.topology, member, &flags).ok()
    }

    /// Which leg this is: host records note its generation when a bootstrap starts.
    #[must_use]
    pub fn leg(&self) -> &LegTag {
        &self.leg
    }

    /// What the file asks for, whatever lies before it.
    pub(crate) fn file(&self) -> &Topology {
        &self.file
    }

    /// The artifact that is a member's CA certificate.
    pub(crate) fn ca_artifact(&self, member: &Member) -> Option<&Artifact> {
        // Without TLS etcd reads no CA, whatever a file beside its others is called.
        if !self.topology.uses_tls() {
            return None;
        }
        let name = &self.topology.certificates.files.ca;
        let certificates = &self.desired(member).certificates;
        certificates.iter().find(|artifact| {
            artifact.path.file_name() == *name
                && artifact.path.is_within(&member.layout.certificates)
        })
    }

    /// The certificates that a member shows, each with its key: not its CA file, and not files that
    /// merely lie beside them.
    pub(crate) fn pairs(&self, member: &Member) -> Vec<[&Artifact; 2]> {
        let directory = &member.layout.certificates;
        let certificates = &self.desired(member).certificates;
        let find = |name: &str| {
            let path = directory.join(name).ok()?;
            certificates.iter().find(|artifact| artifact.path == path)
        };
        let roles = self.topology.certificates(member).into_iter();
        let sources = roles.map(|(role, _)| self.topology.certificates.files.of(role));
        sources
            .filter_map(|source| Some([find(&source.cert)?, find(&source.key)?]))
            .collect()
    }

    /// The certificate that other members see: none where peers speak plain HTTP.
    pub(crate) fn shown_to_peers(&self, member: &Member) -> Option<&Artifact> {
        if self.topology.security.peer == TransportSecurity::Plain {
            return None;
        }
        // Without files of its own for peers a member shows them what it shows to clients; those
        // for peers come last.
        self.pairs(member).pop().map(|[certificate, _]| certificate)
    }
}

impl DesiredFiles {
    /// The digest that a file should have, where that is known beforehand.
    pub(crate) fn sum(&self, path: &HostPath) -> Option<&str> {
        self.sums.get(path).map(String::as_str)
    }

    /// The digest of the start file of the forming cluster.
    pub(crate) fn fresh_digest(&self) -> &str {
        &self.fresh_sum
    }

    /// Whether a start file tells that its cluster was still forming: a template may say `new`
    /// permanently, which tells nothing.
    pub(crate) fn says_forming(&self, sha256: &str, path: &HostPath) -> bool {
        self.is_fresh(sha256) && self.sum(path) != Some(sha256)
    }

    /// Whether a start file's digest is that of the forming cluster.
    pub(crate) fn is_fresh(&self, sha256: &str) -> bool {
        self.fresh_sum == sha256
    }
}
