//! What a member needs on its host before it can run there: user, directories, binaries.

use etcdup_core::file::{Binaries, Download, fill_version};
use etcdup_core::observation::HostView;
use etcdup_core::path::{HostPath, Mode, Owner};
use etcdup_core::stage::{Artifact, BinarySource, Held, HostStep};
use etcdup_core::topology::{LOG, Member};

use crate::questions::COPY;
use crate::target::Target;

/// The user that runs a member, where it is missing.
pub(crate) fn user(member: &Member, host: &HostView) -> Option<HostStep> {
    let layout = &member.layout;
    let mut users = host.facts.users.iter();
    let missing = layout.is_systemd() && !users.any(|found| found == layout.user.as_str());
    missing.then(|| HostStep::User {
        name: layout.user.clone(),
        home: layout.data.clone(),
    })
}

/// The directories of a member, where they are missing or owned by another user.
pub(crate) fn directories(
    target: &Target,
    member: &Member,
    host: &HostView,
    with_data: bool,
) -> Vec<HostStep> {
    let layout = &member.layout;
    let mut wanted = Vec::new();
    if with_data {
        let own = layout.own();
        wanted.extend(own.map(|(_, path)| (path, Mode::CLOSED, layout.owner())));
    }
    // Files that are on the host already, at their own place, are in a directory that etcdup did
    // not make and does not own.
    let certificates = &target.desired(member).certificates;
    if target.topology.uses_tls() && !certificates.iter().all(Artifact::lies_in_place) {
        wanted.push((
            &layout.certificates,
            layout.certificate_directory_mode(),
            layout.certificate_owner(),
        ));
    }
    let differs = |(path, mode, owner): &(&HostPath, Mode, Option<Owner>)| {
        let found = host.files.get(*path);
        !found
            .is_some_and(|found| found.mode == *mode && (owner.is_none() || found.owner == *owner))
    };
    let wanted = wanted.into_iter().filter(differs);
    wanted
        .map(|(path, mode, owner)| HostStep::Directory {
            path: path.clone(),
            mode,
            owner,
        })
        .collect()
}

/// Its log and its data are given to the user that runs it, where they are another's or a copy that
/// has not ended: a run was cut in the middle, or a copy was made by hand.
pub(crate) fn taken_over(member: &Member, host: &HostView) -> Vec<HostStep> {
    let layout = &member.layout;
    let log = layout.holds_log().ok();
    let log = log.map(|directory| (Held::Log, directory, LOG));
    let held = [Some((Held::Data, layout.data.clone(), "member")), log];
    let taken = held
        .into_iter()
        .flatten()
        .filter_map(|(held, directory, name)| {
            let owner = layout.owner();
            let found = host.files.get(&directory.join(name).ok()?);
            let is_copy = host.files.contains_key(&directory.join(COPY).ok()?);
            // Of a log within the data nothing is asked: it is given away with the data.
            let is_anothers = owner.is_some() && found.is_some_and(|found| found.owner != owner);
            (is_copy || is_anothers).then(|| HostStep::MoveData {
                held,
                from: directory.clone(),
                to: directory,
                owner,
            })
        });
    taken.collect()
}

/// The binaries or the image of a member, where its host lacks them.
pub(crate) fn binaries(target: &Target, member: &Member, host: &HostView) -> Vec<HostStep> {
    match crate::assess::binaries(target, member, host) {
        Some(_) => install_binaries(target, member),
        None => Vec::new(),
    }
}

pub(crate) fn install_binaries(target: &Target, member: &Member) -> Vec<HostStep> {
    if member.layout.is_pod() {
        let archive = target.topology.pod.archive.iter();
        return archive
            .map(|archive| HostStep::LoadImage {
                image: etcdup_render::image(&target.topology),
                archive: fill_version(archive.as_str(), &target.topology.version),
            })
            .collect();
    }
    let Some(source) = source_of(&target.topology.binaries) else {
        return Vec::new();
    };
    let Member { layout, .. } = member;
    vec![HostStep::Binaries {
        directory: layout.binaries.clone(),
        version: target.topology.version.clone(),
        links: layout.links.clone(),
        source,
    }]
}

/// Where binaries come from; `None` where they are their host's own.
pub(crate) fn source_of(binaries: &Binaries) -> Option<BinarySource> {
    Some(match binaries {
        Binaries::Host(_) => return None,
        Binaries::Directory(_) => BinarySource::Directory,
        Binaries::Archive(_) => BinarySource::Push,
        Binaries::Release(release) => match release.download {
            Download::Operator => BinarySource::Push,
            Download::Host => BinarySource::Fetch,
        },
    })
}
