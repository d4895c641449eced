//! Binaries, images, and the links that lead to them.

use etcdup_core::file::Binaries;
use etcdup_core::observation::{FileKind, HostView};
use etcdup_core::topology::Member;

use super::difference::{Change, Cost, Difference, DifferenceKind};
use crate::target::Target;

/// Whether a member's binaries must be installed.
pub(crate) fn binaries(target: &Target, member: &Member, host: &HostView) -> Option<Difference> {
    let etcd = &target.desired(member).etcd;
    if member.layout.is_pod() {
        let image = etcdup_render::image(&target.topology);
        let loads = target.topology.pod.archive.is_some() && !host.images.contains(&image);
        return loads.then(|| DifferenceKind::ImageNotLoaded(image).costs(Cost::NoRestart));
    }
    if matches!(target.topology.binaries, Binaries::Host(_)) {
        return None;
    }
    let Some(found) = host.files.get(etcd) else {
        return Some(DifferenceKind::Missing(etcd.clone()).costs(Cost::NoRestart));
    };
    let record = host.record().and_then(|record| record.files.get(etcd));
    if record.is_some_and(|record| Some(record.sha256.as_str()) != found.sha256.as_deref()) {
        let kind = DifferenceKind::Content {
            path: etcd.clone(),
            change: Change::OutsideEtcdup,
        };
        return Some(kind.costs(Cost::Restart));
    }
    None
}

/// The programs that are linked to from a directory on PATH and that every release has.
pub(crate) const LINKED: [&str; 2] = ["etcd", "etcdctl"];

/// Links to binaries that lead to another version, or are missing.
pub(super) fn links(member: &Member, host: &HostView) -> Vec<Difference> {
    let Some(links) = &member.layout.links else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for name in LINKED {
        let (Ok(link), Ok(target)) = (links.join(name), member.layout.binaries.join(name)) else {
            continue;
        };
        match host.files.get(&link).map(|file| &file.kind) {
            Some(FileKind::Link(to)) if *to == target.as_str() => {}
            Some(FileKind::Link(to)) => {
                let kind = DifferenceKind::Link {
                    path: link,
                    found: to.clone(),
                    wanted: target,
                };
                found.push(kind.costs(Cost::NoRestart));
            }
            Some(FileKind::File | FileKind::Directory | FileKind::Other) => {
                found.push(DifferenceKind::NotOurs(link).costs(Cost::ReportOnly));
            }
            None => found.push(DifferenceKind::Missing(link).costs(Cost::NoRestart)),
        }
    }
    found
}
