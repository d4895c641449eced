//! What runs: its program and flags, what systemd or the kubelet makes of it, and what overrides
//! it.

use etcdup_core::file::Binaries;
use etcdup_core::observation::{EtcdProcess, HostView};
use etcdup_core::topology::Member;

use super::binaries::links;
use super::difference::{Cost, Difference, DifferenceKind};
use super::elsewhere::elsewhere;
use crate::target::Target;

pub(super) fn running(
    target: &Target,
    member: &Member,
    host: &HostView,
    process: Option<&EtcdProcess>,
) -> Vec<Difference> {
    let mut found = Vec::new();
    let wanted = target.desired(member);
    found.extend(elsewhere(target, member));
    if let Some(process) = process {
        let of_host = matches!(target.topology.binaries, Binaries::Host(_));
        if process.exe != wanted.etcd.as_str() && !of_host && !member.layout.is_pod() {
            let kind = DifferenceKind::Binary {
                running: process.exe.clone(),
                wanted: wanted.etcd.clone(),
            };
            found.push(kind.costs(Cost::Restart));
        }
        for flag in process.flags.differences(&wanted.flags) {
            let overridden_by = overriding(member, host).map(str::to_owned);
            // A restart would start the same command again.
            let cost = match overridden_by {
                Some(_) => Cost::ReportOnly,
                None => Cost::Restart,
            };
            let kind = DifferenceKind::Flag {
                name: flag.name.clone(),
                running: flag.running.clone(),
                wanted: flag.wanted.clone(),
                overridden_by,
            };
            found.push(kind.costs(cost));
        }
    }
    // A CA file that lies at its place already is not etcdup's to write, and still read only at a
    // start.
    let in_place = target.ca_artifact(member).filter(|ca| ca.lies_in_place());
    if let (Some(process), Some(ca)) = (process, in_place) {
        let modified = host.files.get(&ca.path).and_then(|file| file.modified);
        if !process.started_after(modified) {
            found.push(DifferenceKind::NotApplied(ca.path.clone()).costs(Cost::Restart));
        }
    }
    if process.is_some_and(|process| process.outdated) {
        let manifest = member.layout.manifest.clone();
        found.push(DifferenceKind::PodOutdated(manifest).costs(Cost::Restart));
    }
    if !member.layout.is_pod() {
        found.extend(links(member, host));
    }
    found.extend(drop_ins(member, host));
    for stray in process.iter().flat_map(|process| &process.unknown_flags) {
        let stray = DifferenceKind::UnknownFlag(stray.clone());
        found.push(stray.costs(Cost::ReportOnly));
    }
    let enabled = host
        .units
        .get(&member.layout.unit)
        .is_some_and(|unit| unit.enabled);
    if member.layout.is_systemd() && !enabled {
        let unit = member.layout.unit.clone();
        found.push(DifferenceKind::NotEnabled(unit).costs(Cost::NoRestart));
    }
    found
}

/// The drop-in that replaces the command of the unit, if there is one.
pub(crate) fn overriding<'a>(member: &Member, host: &'a HostView) -> Option<&'a str> {
    let unit = host.units.get(&member.layout.unit)?;
    let mut drop_ins = unit.drop_ins.iter();
    let found = drop_ins.find(|drop_in| {
        let mut directives = drop_in.directives.iter();
        directives.any(|directive| directive.starts_with("ExecStart="))
    });
    found.map(|drop_in| drop_in.path.as_str())
}

/// Directives of a drop-in that override what the unit says: etcdup leaves them, and says so.
fn drop_ins(member: &Member, host: &HostView) -> Vec<Difference> {
    let unit = host.units.get(&member.layout.unit);
    let drop_ins = unit.into_iter().flat_map(|unit| &unit.drop_ins);
    let directives = drop_ins.filter(|drop_in| !drop_in.directives.is_empty());
    directives
        .map(|drop_in| {
            let kind = DifferenceKind::DropIn {
                path: drop_in.path.clone(),
                directives: drop_in.directives.clone(),
            };
            kind.costs(Cost::ReportOnly)
        })
        .collect()
}
