//! Members that should go, and where members are as host records keep it: enough to reach one that
//! the file no longer names.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::layout::{MemberLayout, Ports};
use super::meant::{Leaving, Member, Topology};
use crate::file::RuntimeKind;
use crate::host::HostId;
use crate::membership::MemberId;
use crate::name::{MemberName, UserName};
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
    /// The directory that holds its write-ahead log, where that is not in the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal: Option<HostPath>,
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
    /// What keeps its etcd running.
    pub runtime: RuntimeKind,
    /// The user that runs its etcd, where that is a unit's to say.
    pub user: UserName,
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
            wal: layout.wal,
            unit: layout.unit,
            manifest: layout.manifest,
            start_file: layout.start_file,
            pid_file: layout.pid_file,
            log_file: layout.log_file,
            state: layout.state,
            runtime: layout.runtime,
            user: layout.user,
        }
    }

    /// Whether a member lies and runs on its host as recorded here. What counts for another runtime
    /// alone, or only where TLS is used, does not.
    #[must_use]
    pub fn is_kept_by(&self, member: &Member, tls: bool) -> bool {
        let layout = &member.layout;
        let start = match self.runtime {
            RuntimeKind::Systemd => self.unit == layout.unit && self.user == layout.user,
            RuntimeKind::StaticPod => self.manifest == layout.manifest,
            RuntimeKind::Process => {
                self.start_file == layout.start_file && self.pid_file == layout.pid_file
            }
        };
        self.runtime == layout.runtime
            && self.data == layout.data
            && self.wal == layout.wal
            && start
            && (!tls || self.certificates == layout.certificates)
    }

    /// Whether it is of this member of the file, by its name and host.
    #[must_use]
    pub fn is_of(&self, member: &Member) -> bool {
        self.name == member.etcd_name && self.host == member.host
    }

    /// Whether both are of one member, by its name and host.
    #[must_use]
    pub fn is_of_same(&self, other: &Self) -> bool {
        self.name == other.name && self.host == other.host
    }

    /// Lies and runs on its host as another says.
    pub fn lie_as(&mut self, other: &Self) {
        *self = Self {
            name: self.name.clone(),
            host: self.host.clone(),
            address: self.address.clone(),
            listen: self.listen,
            ports: self.ports,
            state: self.state.clone(),
            ..other.clone()
        };
    }

    /// Whether both are one member that is reached in one way, wherever it lies on its host.
    #[must_use]
    pub fn is_reached_as(&self, other: &Self) -> bool {
        let mut same = self.clone();
        same.lie_as(other);
        same == *other
    }

    /// Whether a record may say so of a unit: it becomes part of a path and of a command.
    fn has_plain_unit(&self) -> bool {
        let stem = self.unit.strip_suffix(".service").unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
        stem.starts_with(|c: char| c.is_ascii_alphanumeric()) && stem.chars().all(plain)
    }

    /// Whether its host is an address or a name, with a port or without: what could be anything
    /// else, such as this very machine, is for the file alone to name.
    fn has_plain_host(&self) -> bool {
        let host = self.host.as_str();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
        let starts = host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
        starts && host.chars().all(plain) && host != "local" && !host.starts_with("vagrant:")
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
            home: like.home.clone(),
            ports: self.ports,
            layout: MemberLayout {
                certificates: self.certificates,
                data: self.data,
                wal: self.wal,
                unit: self.unit,
                manifest: self.manifest,
                start_file: self.start_file,
                pid_file: self.pid_file,
                log_file: self.log_file,
                binaries: like.layout.binaries.clone(),
                links: like.layout.links.clone(),
                state: self.state,
                runtime: self.runtime,
                user: self.user,
            },
            flags: like.flags.clone(),
        }
    }
}

impl Member {
    /// Where it was put, which the file may have changed since.
    pub fn stay_at(&mut self, place: MemberPlace) {
        let (index, name) = (self.index, self.name.clone());
        *self = Member {
            index,
            ..place.member(name, self)
        };
    }

    /// It lies and runs where it was put on its host, while the file has another place for it.
    pub fn stay_in(&mut self, place: &MemberPlace) {
        let layout = &mut self.layout;
        layout.certificates = place.certificates.clone();
        layout.data = place.data.clone();
        layout.wal.clone_from(&place.wal);
        layout.unit.clone_from(&place.unit);
        layout.manifest = place.manifest.clone();
        layout.start_file = place.start_file.clone();
        layout.pid_file = place.pid_file.clone();
        layout.log_file = place.log_file.clone();
        layout.runtime = place.runtime;
        layout.user = place.user.clone();
    }

    /// A member keeps its directories and its unit when it no longer shares its host, or begins to:
    /// the defaults differ, and nobody asked for that.
    pub fn keep_shared(&mut self, place: &MemberPlace) {
        let below = |path: &HostPath, other: &HostPath| {
            path.join(self.etcd_name.as_str())
                .is_ok_and(|path| path == *other)
        };
        let layout = &self.layout;
        let shared =
            below(&layout.data, &place.data) && below(&layout.certificates, &place.certificates);
        let alone =
            below(&place.data, &layout.data) && below(&place.certificates, &layout.certificates);
        if shared || alone {
            let place = place.clone();
            if let (Some(own), Some(was)) = (&layout.wal, &place.wal)
                && (below(own, was) || below(was, own))
            {
                self.layout.wal.clone_from(&place.wal);
            }
            self.layout.data = place.data;
            self.layout.certificates = place.certificates;
            self.layout.unit = place.unit;
            self.layout.manifest = place.manifest;
        }
    }
}

impl Topology {
    /// Whether a host record may lead to this place.
    #[must_use]
    pub fn may_lead_to(&self, place: &MemberPlace) -> bool {
        let named = self.hosts.contains_key(&place.host);
        place.has_plain_unit() && (named || place.has_plain_host())
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Document;
    use crate::topology::resolve;

    fn topology() -> Topology {
        let text = "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n\
                    [[member]]\nname = \"m1\"\nhost = \"10.0.0.1\"\n";
        let document = Document::parse("etcdup.toml", text, &[]).unwrap();
        resolve(&document.spec, |_| None).unwrap()
    }

    /// A host chooses neither this machine, nor a login, nor an option, nor a unit that is a path.
    #[test]
    fn a_record_leads_to_plain_hosts_and_units_alone() {
        let topology = topology();
        let place = MemberPlace::of(&topology.members[0]);
        assert!(topology.may_lead_to(&place));
        let at = |host: &str| MemberPlace {
            host: HostId::new(host),
            ..place.clone()
        };
        for host in [
            "10.0.0.9",
            "db-3.example.com:2222",
            "[fd00::1]:22",
            "fd00::1",
        ] {
            assert!(topology.may_lead_to(&at(host)), "{host}");
        }
        for host in [
            "local",
            "vagrant:m1",
            "root@10.0.0.9",
            "-oProxyCommand=x",
            "a b",
            "",
            "\u{1b}[2J",
        ] {
            assert!(!topology.may_lead_to(&at(host)), "{host:?}");
        }
        let with = |unit: &str| MemberPlace {
            unit: unit.to_owned(),
            ..place.clone()
        };
        for unit in [
            "etcd",
            "--now.service",
            "../sshd.service",
            "a b.service",
            ".service",
        ] {
            assert!(!topology.may_lead_to(&with(unit)), "{unit}");
        }
    }

    #[test]
    fn a_member_keeps_what_it_had_when_it_shared_its_host() {
        let mut topology = topology();
        let mut place = MemberPlace::of(&topology.members[0]);
        place.data = place.data.join("m1").unwrap();
        place.certificates = place.certificates.join("m1").unwrap();
        place.unit = "etcd-m1.service".to_owned();
        topology.members[0].keep_shared(&place);
        assert_eq!(MemberPlace::of(&topology.members[0]), place);
        // And the other way round.
        let alone = MemberPlace::of(&self::topology().members[0]);
        topology.members[0].keep_shared(&alone);
        assert_eq!(MemberPlace::of(&topology.members[0]), alone);
        // Another directory is what the file asks for.
        place.data = "/srv/etcd".parse().unwrap();
        topology.members[0].keep_shared(&place);
        assert_ne!(topology.members[0].layout.data, place.data);
    }
}
