//! What the planner knows before it looks: the topology, the goal, and the files that should be.

use std::collections::BTreeMap;

use etcdup_core::digest::sha256;
use etcdup_core::file::RuntimeKind;
use etcdup_core::finding::Check;
use etcdup_core::flag::FlagSet;
use etcdup_core::name::MemberName;
use etcdup_core::observation::Observation;
use etcdup_core::path::HostPath;
use etcdup_core::stage::{Artifact, Content, Goal, Next};
use etcdup_core::topology::{ClusterState, Member, Topology};
use etcdup_render::{RenderError, Renderer, UnitTemplate};

use crate::{converge, preflight, reset};

/// Decides from what was seen. Made once a run.
pub struct Planner {
    /// What should be.
    pub topology: Topology,
    /// What the run is for.
    pub goal: Goal,
    generation: u64,
    wanted: BTreeMap<MemberName, Wanted>,
}

/// What should be on a member's host.
pub struct Wanted {
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

/// Every check of the planner, for `etcdup explain`.
pub const PLANNER_CHECKS: &[&[Check]] = &[
    preflight::CHECKS,
    crate::conflict::CHECKS,
    crate::assess::CHECKS,
    crate::trust::CHECKS,
    crate::transition::CHECKS,
    reset::CHECKS,
    &[
        crate::operator::AUTHORITY_BROKEN,
        crate::operator::AUTHORITY_WITHOUT_KEY,
        crate::roll::OUTAGE,
        crate::roll::RESTART_WAITS,
    ],
];

impl Planner {
    /// A planner; `unit_template` replaces the built-in unit.
    ///
    /// # Errors
    /// When the template cannot be filled in or loses flags.
    pub fn new(
        topology: Topology,
        goal: Goal,
        unit_template: Option<&UnitTemplate>,
    ) -> Result<Self, RenderError> {
        let renderer = Renderer::new(unit_template)?;
        let mut wanted = BTreeMap::new();
        for member in &topology.members {
            let mut certificates = renderer.artifacts(&topology, member, ClusterState::Existing)?;
            let settled = certificates.pop().map_or_else(
                || renderer.start(&topology, member, ClusterState::Existing),
                Ok,
            )?;
            let fresh = renderer.start(&topology, member, ClusterState::New)?;
            let sums = certificates
                .iter()
                .chain([&settled])
                .filter_map(|a| Some((a.path.clone(), sum(&a.content)?)))
                .collect();
            let fresh_sum = sum(&fresh.content).unwrap_or_default();
            let flags = topology.flags(member, ClusterState::Existing);
            let etcd = member.layout.etcd()?;
            wanted.insert(
                member.name.clone(),
                Wanted {
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
            topology,
            goal,
            generation: 0,
            wanted,
        })
    }

    /// The same for the cluster's own generation: after a reset the default token is `-g1`, `-g2` and so on, so that a
    /// member of the old cluster that comes back by accident is refused by the new one.
    ///
    /// # Errors
    /// As [`Planner::new`].
    pub fn of_generation(
        self,
        seen: &Observation,
        unit_template: Option<&UnitTemplate>,
    ) -> Result<Self, RenderError> {
        let (generation, token) = crate::generation::generation(&self.topology, seen);
        if token == self.topology.token {
            return Ok(Self { generation, ..self });
        }
        let topology = Topology {
            token,
            ..self.topology
        };
        let planner = Self::new(topology, self.goal, unit_template)?;
        Ok(Self {
            generation,
            ..planner
        })
    }

    /// What to do next.
    #[must_use]
    pub fn next(&self, seen: &Observation) -> Next {
        match &self.goal {
            Goal::Converge { allow_outage } => converge::next(self, seen, *allow_outage),
            Goal::Reset { wipe, cluster_id } => reset::next(self, seen, *wipe, *cluster_id),
        }
    }

    /// All that preflight finds on hosts whose members do not run yet, warnings too.
    #[must_use]
    pub fn preflight(&self, seen: &Observation) -> Vec<etcdup_core::finding::Finding> {
        preflight::preflight(self, seen)
    }

    /// What should be on this member's host.
    #[must_use]
    pub fn wanted(&self, member: &Member) -> &Wanted {
        &self.wanted[&member.name]
    }

    /// The generation of the token: host records note it when a bootstrap starts.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn is_pod(&self) -> bool {
        self.topology.runtime == RuntimeKind::StaticPod
    }

    pub(crate) fn is_systemd(&self) -> bool {
        self.topology.runtime == RuntimeKind::Systemd
    }
}

impl Wanted {
    /// The digest that a file should have, where that is known beforehand.
    pub(crate) fn sum(&self, path: &HostPath) -> Option<&str> {
        self.sums.get(path).map(String::as_str)
    }

    /// The digest of the start file of the forming cluster.
    pub(crate) fn fresh_digest(&self) -> &str {
        &self.fresh_sum
    }

    /// Whether a start file tells that its cluster was still forming: a template may say `new` for ever, which tells nothing.
    pub(crate) fn says_forming(&self, sha256: &str, path: &HostPath) -> bool {
        self.is_fresh(sha256) && self.sum(path) != Some(sha256)
    }

    /// Whether a start file's digest is that of the forming cluster.
    pub(crate) fn is_fresh(&self, sha256: &str) -> bool {
        self.fresh_sum == sha256
    }
}

fn sum(content: &Content) -> Option<String> {
    match content {
        Content::Text(text) => Some(sha256(text.as_bytes())),
        Content::Authority | Content::Issued { .. } | Content::Provided(_) | Content::OnHost(_) => {
            None
        }
    }
}

impl Planner {
    /// Every difference between hosts and topology, as findings of `drift`.
    #[must_use]
    pub fn drift(&self, seen: &Observation) -> Vec<etcdup_core::finding::Finding> {
        let check = crate::assess::DRIFT;
        let formation = crate::identity::formation(self, seen);
        let mut findings = Vec::new();
        for member in &self.topology.members {
            let Some(assessment) = crate::assess::assess(self, seen, member, formation) else {
                let unseen = format!("not known: {} could not be observed", member.host);
                findings.push(check.warning(&member.name, unseen));
                continue;
            };
            for difference in assessment.differences() {
                findings.push(check.warning(
                    &member.name,
                    format!("{} {}", difference.what, difference.why),
                ));
            }
        }
        if findings.is_empty() {
            findings.push(check.pass("cluster", "hosts match the topology file"));
        }
        findings
    }
}
