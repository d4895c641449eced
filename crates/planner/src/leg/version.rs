//! The releases of etcd on the way to the file's: one minor at a time.

use std::path::Path;

use etcdup_core::known_issue::route;
use etcdup_core::observation::{DataDir, HostView, Observation};
use etcdup_core::topology::{Member, Topology};
use etcdup_core::version::EtcdVersion;

/// The release to bring all members to before the file's; `None` where the file's comes next, or
/// where no way leads there.
pub(super) fn between(topology: &Topology, seen: &Observation) -> Option<EtcdVersion> {
    let known = known_versions(topology, seen);
    let (lowest, highest) = (known.iter().min()?, known.iter().max()?);
    let wanted = &topology.version;
    let next = if lowest.minor() == highest.minor() {
        let way = route(lowest, wanted, &topology.through).ok()?;
        let next = way.into_iter().next()?;
        // One that is down comes up as it was: etcd's guides want all healthy before another minor,
        // and a log that only the older one reads may be waiting in its data.
        if next.minor() != lowest.minor() && !all_serve(topology, seen) {
            highest.clone()
        } else {
            next
        }
    } else if wanted.minor() > lowest.minor() {
        // The cluster is between two minors: that change is finished before the next begins. Where
        // the lower one cannot be upgraded from its patch, all members go back to a patch that can:
        // until the last member runs the newer minor, the cluster's own version is the lower one.
        let to = if wanted.minor() == highest.minor() {
            wanted
        } else {
            highest
        };
        route(lowest, to, &topology.through)
            .ok()?
            .into_iter()
            .next()?
    } else if wanted.minor() == lowest.minor() {
        return None;
    } else {
        let of_lowest = known.iter().filter(|one| one.minor() == lowest.minor());
        of_lowest.max()?.clone()
    };
    (next != *wanted).then_some(next)
}

/// Every release between what runs and the file's.
pub(crate) fn between_all(topology: &Topology, seen: &Observation) -> Vec<EtcdVersion> {
    let known = known_versions(topology, seen);
    let Some(lowest) = known.iter().min() else {
        return Vec::new();
    };
    ahead(topology, lowest)
}

/// Whether all members serve, those aside that are still to join. Of one that was not seen the
/// cluster does not know the version either, and lets no further minor in.
fn all_serve(topology: &Topology, seen: &Observation) -> bool {
    topology.members.iter().all(|member| {
        let data = seen
            .host(&member.host)
            .map(|host| host.data.get(&member.layout.data));
        let is_to_join = matches!(data, Some(None | Some(DataDir::Absent | DataDir::Empty)));
        is_to_join || seen.serves(&member.name)
    })
}

/// The releases on the way to the file's, without it.
pub(crate) fn ahead(file: &Topology, from: &EtcdVersion) -> Vec<EtcdVersion> {
    let mut way = route(from, &file.version, &file.through).unwrap_or_default();
    // The last is the file's own.
    way.pop();
    way
}

/// The versions that count: those of members that run, for the cluster is never of a minor above
/// theirs, and what a record says of one that is down may be older than its data. Where none runs,
/// what is known of all.
pub(crate) fn known_versions(topology: &Topology, seen: &Observation) -> Vec<EtcdVersion> {
    let leaving = topology.leaving.iter().filter(|leaving| !leaving.gone);
    let leaving = leaving.map(|leaving| &leaving.member);
    let members = || topology.members.iter().chain(leaving.clone());
    let running: Vec<EtcdVersion> = members()
        .filter(|member| {
            let host = seen.host(&member.host);
            let runs = host.is_some_and(|host| host.processes.contains_key(&member.name));
            runs || seen.member(&member.name).is_some()
        })
        .filter_map(|member| version_of(seen, member))
        .collect();
    if running.is_empty() {
        return members()
            .filter_map(|member| version_of(seen, member))
            .collect();
    }
    running
}

/// The version that a member runs, or ran last: by its own answer, by the path of its binary, by
/// what starts it, or by the host record. One that is down has none without data: there is nothing
/// that another release could fail to read.
pub(crate) fn version_of(seen: &Observation, member: &Member) -> Option<EtcdVersion> {
    let answered = seen.member(&member.name);
    if let Some(version) = answered.and_then(|view| release_in(&view.version)) {
        return Some(version);
    }
    let host = seen.host(&member.host)?;
    let process = host.processes.get(&member.name);
    if let Some(version) = process.and_then(|process| of_path(&process.exe)) {
        return Some(version);
    }
    if !matches!(host.data.get(&member.layout.data), Some(DataDir::Member(_))) {
        return None;
    }
    let recorded = || {
        let recorded = host.record()?.members.get(&member.name)?;
        recorded.version.parse().ok()
    };
    of_start_file(member, host).or_else(recorded)
}

/// The release that a text begins with: `3.5.33`, of a private build `3.5.33-corp1` too.
fn release_in(text: &str) -> Option<EtcdVersion> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    text[..end.unwrap_or(text.len())].parse().ok()
}

/// The release that the unit, the start file or the manifest names.
fn of_start_file(member: &Member, host: &HostView) -> Option<EtcdVersion> {
    let layout = &member.layout;
    let unit = layout.unit_file().ok();
    let files = unit.iter().chain([&layout.manifest, &layout.start_file]);
    let mut texts = files.filter_map(|path| host.files.get(path)?.text.as_deref());
    let above = layout.binaries.parent()?;
    texts.find_map(|text| {
        let of_binary = text.split_once(&format!("{above}/v"));
        let of_image = || {
            let (_, rest) = text.split_once("image: ")?;
            rest.lines().next()?.rsplit_once(':')
        };
        let (_, rest) = of_binary.or_else(of_image)?;
        release_in(rest.trim_matches(['"', '\'']))
    })
}

/// The version in the path of a binary, `/opt/etcd/v3.5.33/etcd`.
fn of_path(exe: &str) -> Option<EtcdVersion> {
    let exe = exe.trim_end_matches(" (deleted)");
    let directory = Path::new(exe).parent()?.file_name()?.to_str()?;
    directory.strip_prefix('v')?.parse().ok()
}

/// Whether every member that runs has this very release, or keeps what it has.
pub(super) fn is_reached(topology: &Topology, seen: &Observation) -> bool {
    if topology.keeps_its_binary().is_some() {
        return true;
    }
    let mut members = topology.everyone();
    members.all(|member| {
        let runs = seen.member(&member.name).map(|view| view.version.as_str());
        runs.is_none_or(|version| version == topology.version.to_string())
    })
}
