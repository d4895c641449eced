//! Members that should go, and where members are as host records keep it: enough to reach one that
//! the file no longer names.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::layout::{MemberLayout, Ports};
use super::meant::{Leaving, Member, Topology};
use crate::host::HostId;
use crate::membership::MemberId;
use crate::name::MemberName;
use crate::path::HostPath;
use crate::url::Address;

/// Where a member is on which host: what the roster in host records keeps of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MemberPlace {
    /// What it calls itself.
    pub name: MemberName,
    /// The host it runs on.
    pub host: HostId,
    /// What peers and clients call it.
    pub address: Address,
    /// The address it listens on.
    pub listen: IpAddr,
    /// Its ports.
    pub ports: Ports,
    /// The directory of its certificates.
    pub certificates: HostPath,
    /// Its data directory.
    pub data: HostPath,
    /// Its systemd unit's name.
    pub unit: String,
    /// Its static pod's manifest.
    pub manifest: HostPath,
    /// Its start file, where it is no unit.
    pub start_file: HostPath,
    /// The file that holds its process id, where it is no unit.
    pub pid_file: HostPath,
    /// Its log, where it is no unit.
    pub log_file: HostPath,
    /// etcdup's own directory on the host.
    pub state: HostPath,
}

impl MemberPlace {
    /// Where a member is.
    #[must_use]
    pub fn of(member: &Member) -> Self {
        let layout = member.layout.clone();
        Self {
            name: member.etcd_name.clone(),
            host: member.host.clone(),
            address: member.address.clone(),
            listen: member.listen,
            ports: member.ports,
            certificates: layout.certificates,
            data: layout.data,
            unit: layout.unit,
            manifest: layout.manifest,
            start_file: layout.start_file,
            pid_file: layout.pid_file,
            log_file: layout.log_file,
            state: layout.state,
        }
    }

    /// The member at this place. Its binaries are where those of `like` are, which is of no account
    /// for one that goes.
    fn member(self, name: MemberName, like: &Member) -> Member {
        Member {
            index: usize::MAX,
            name,
            etcd_name: self.name,
            host: self.host,
            address: self.address,
            listen: self.listen,
            names: Vec::new(),
            home: None,
            ports: self.ports,
            layout: MemberLayout {
                certificates: self.certificates,
                data: self.data,
                unit: self.unit,
                manifest: self.manifest,
                start_file: self.start_file,
                pid_file: self.pid_file,
                log_file: self.log_file,
                binaries: like.layout.binaries.clone(),
                links: like.layout.links.clone(),
                state: self.state,
            },
            flags: like.flags.clone(),
        }
    }
}

impl Topology {
    /// Adds a member that only host records still know: it should go.
    pub fn let_go(&mut self, place: MemberPlace, id: Option<MemberId>) {
        let name = self.free_name(&place.name);
        let Some(like) = self.members.first() else {
            return;
        };
        let member = place.member(name, like);
        let target = crate::host::HostTarget::from_id(&member.host, &self.ssh);
        self.hosts.entry(member.host.clone()).or_insert(target);
        self.leaving.push(Leaving {
            member,
            gone: false,
            id,
            in_file: false,
        });
    }

    /// The name itself, or one like it that no member has.
    pub(super) fn free_name(&self, name: &MemberName) -> MemberName {
        let free = |name: &MemberName| self.everyone().all(|other| other.name != *name);
        if free(name) {
            return name.clone();
        }
        // Names are cut where they would become too long.
        let short: String = name.as_str().chars().take(50).collect();
        let named = |number: usize| match number {
            1 => format!("{short}-old").parse().ok(),
            more => format!("{short}-old-{more}").parse().ok(),
        };
        let mut named = (1..1000).filter_map(named);
        named.find(free).unwrap_or_else(|| name.clone())
    }
}
