//! Why what runs cannot become what the file says: releases that do not follow one another or
//! cannot be had, and clients that a change of transport security would lock out.

use std::collections::BTreeSet;

use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::flag::{FlagSet, lookup};
use etcdup_core::known_issue::route;
use etcdup_core::membership::ClusterView;
use etcdup_core::observation::{DataDir, HostView, Observation};
use etcdup_core::topology::{ClusterState, Member};
use etcdup_core::url::{EtcdUrl, Scheme};
use etcdup_core::version::EtcdVersion;

use crate::assess::overriding;
use crate::identity::last_flags;
use crate::leg::peers::peer_scheme;
use crate::leg::version::{ahead, known_versions, version_of};
use crate::target::Target;

pub(crate) const CHECKS: &[Check] = &[
    VERSION_CHANGE,
    VERSION_FAILED,
    DATA_OF_UNKNOWN_RELEASE,
    LEG_BINARIES,
    SECURITY_CHANGE,
    PEERS_NEED_QUORUM,
    CLIENTS_MUST_SHOW,
];

const VERSION_CHANGE: Check = Check {
    id: "version-change",
    title: "the running version cannot be replaced by this one",
    about: "etcd goes up one minor at a time, and etcdup through those in between by itself. Down it goes from 3.7 to 3.6 and \
            from 3.6 to 3.5; an older release does not start on newer data (\"cluster cannot be downgraded\"). Nothing is \
            restarted for what cannot work.",
    advice: "set `etcd` back to the running version; to go back further, restore a snapshot that was taken on the older minor",
};
/// A release that a member did not come up with.
pub const VERSION_FAILED: Check = Check {
    id: "version-failed",
    title: "a member did not come up with this release",
    about: "The release that ran before was put back, so that the member serves again, and its host's record keeps which binary \
            failed. The same binary is not tried again by itself.",
    advice: "see why in its log; then change `etcd`, replace the binary, or run `etcdup apply --retry`",
};
const DATA_OF_UNKNOWN_RELEASE: Check = Check {
    id: "data-of-unknown-release",
    title: "which release wrote this data is not known",
    about: "A release that skips a minor, or is older, does not start on data or loses what it holds. The member is down, and nothing \
            on its host says what it ran.",
    advice: "start it as it ran before, then run again",
};
const LEG_BINARIES: Check = Check {
    id: "leg-binaries",
    title: "a release on the way cannot be had",
    about: "A change of several minors passes through one release of each. Their binaries come from where the file's come from, \
            and what names one release alone has no others.",
    advice: "write `{version}` where the release's number belongs, or change `etcd` by one minor at a time",
};
const SECURITY_CHANGE: Check = Check {
    id: "security-change",
    title: "clients would be locked out by a change of transport security",
    about: "A member that restarts with TLS alone answers no client that speaks plain HTTP, and the other way round. One port \
            serves both while clients change over: `client-also` under [security] says so until it is taken out. Between peers \
            etcdup sees to that by itself. Certificates that etcd made up itself (auto-tls) are of no CA, so there is no way \
            from them.",
    advice: "write client-also = \"plain\" beside client = \"mutual\" (or client-also = \"mutual\" beside client = \"plain\"), apply, \
             move all clients over, then take it out and apply again",
};

const PEERS_NEED_QUORUM: Check = Check {
    id: "peers-need-quorum",
    title: "peers cannot change their scheme now",
    about: "Members find one another by the URLs in the cluster's own list, which only a quorum changes: started with the other \
            scheme before that, they would not find one another again. A drop-in that overrides ExecStart keeps a member \
            listening as before, whatever its unit says.",
    advice: "start all members as they ran last (`systemctl start etcd` on each host), or set security.peer back and run `etcdup \
             apply`; then change it. Take a drop-in that overrides ExecStart away first",
};
const CLIENTS_MUST_SHOW: Check = Check {
    id: "clients-must-show",
    title: "members will demand a certificate of every client",
    about: "Until now a client needed none. One that shows none, or one of another CA, is refused by each member from its restart on.",
    advice: "give all clients a certificate first (certificates.clients, `etcdup pki issue`)",
};

/// What to know before members demand more of their clients.
pub(crate) fn warnings(target: &Target, seen: &Observation) -> Option<Finding> {
    let demands = |flags: &FlagSet| flags.get("client-cert-auth") == Some("true");
    let mut members = target.topology.members.iter();
    let changes = |member: &&Member| {
        let process = seen
            .host(&member.host)
            .and_then(|host| host.processes.get(&member.name));
        process.is_some_and(|process| {
            let mut served = client_schemes(&process.flags).into_iter();
            let speaks_tls = served.any(|(scheme, _)| scheme == Scheme::Https);
            speaks_tls && !demands(&process.flags) && demands(&target.desired(member).flags)
        })
    };
    let member = members.find(changes)?;
    let evidence = format!(
        "{} accepts clients without a certificate now, and will not",
        member.name
    );
    Some(CLIENTS_MUST_SHOW.warning("clients", evidence))
}

/// What stands in the way of going on from what runs.
pub(crate) fn conflicts(target: &Target, seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in &target.topology.members {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        let at = || KeyPath::member(member.index);
        findings.extend(version_conflict(target, seen, member));
        // One that is down would be started with it.
        if !host.processes.contains_key(&member.name) {
            findings.extend(failed_before(target, seen, member, host));
        }
        let Some((now, since)) = running_flags(target, member, host) else {
            continue;
        };
        let desired = &target.desired(member).flags;
        findings.extend(peers_conflict(target, seen, member, host, &now));
        if let Some(why) = security_conflict(&now, desired) {
            let evidence = format!("{} {since} {why}", member.name);
            findings.push(SECURITY_CHANGE.error(&member.name, evidence).at(at()));
        }
    }
    findings
}

/// Why a member cannot listen for its peers by another scheme: the list cannot say so, or the
/// member would go on as it is.
fn peers_conflict(
    target: &Target,
    seen: &Observation,
    member: &Member,
    host: &HostView,
    now: &FlagSet,
) -> Option<Finding> {
    let wanted = peer_scheme(&target.desired(member).flags);
    if peer_scheme(now) == wanted || target.topology.members.len() < 2 {
        return None;
    }
    let to = match wanted {
        Scheme::Https => "TLS",
        Scheme::Http => "plain HTTP",
    };
    let at = KeyPath::root("security").key("peer");
    let refuse = |why: String| Some(PEERS_NEED_QUORUM.error(&member.name, why).at(at));
    if let Some(drop_in) = overriding(member, host) {
        let name = &member.name;
        return refuse(format!(
            "{drop_in} overrides ExecStart, so that {name} would not listen for {to}"
        ));
    }
    if ClusterView::confirmed(seen).is_some() {
        return None;
    }
    refuse(format!(
        "{} is to change to {to} between peers, and no quorum serves that could list it so",
        member.name
    ))
}

/// Why a member cannot be restarted with the leg's release, or the file's cannot be reached.
fn version_conflict(target: &Target, seen: &Observation, member: &Member) -> Option<Finding> {
    let (topology, wanted) = (&target.topology, &target.topology.version);
    let refuse = |why: String| {
        let finding = VERSION_CHANGE.error(&member.name, why);
        Some(finding.at(KeyPath::root("etcd")))
    };
    let keeps = target.file().keeps_its_binary();
    let Some(running) = version_of(seen, member) else {
        return match keeps {
            Some(_) => None,
            None => data_of_unknown_release(target, seen, member),
        };
    };
    let of_file = &target.file().version;
    if let Some(keeps) = keeps.filter(|_| running.minor() != of_file.minor()) {
        return refuse(format!(
            "it runs {running}, the file says {of_file}, and by `{keeps}` a restart would not change that"
        ));
    }
    // While any member runs the older minor, the cluster still is of it, and what a newer one wrote
    // meanwhile the older one reads.
    if wanted.minor() < running.minor() && is_of_minor(target, seen, wanted) {
        return None;
    }
    let way = match route(&running, wanted, &topology.through) {
        Ok(way) => way,
        Err(why) => return refuse(why.to_string()),
    };
    // A leg never skips a minor, unless other members were upgraded outside etcdup.
    let first = way.first().filter(|first| *first != wanted);
    if let Some(first) = first {
        return refuse(format!(
            "{running} to {wanted} needs {first} first; set `etcd` to that for all members, then go on"
        ));
    }
    unreachable_leg(target, member, &running)
}

/// Data of a member that is down and of which nothing says what it ran.
fn data_of_unknown_release(
    target: &Target,
    seen: &Observation,
    member: &Member,
) -> Option<Finding> {
    let host = seen.host(&member.host)?;
    let data = host.data.get(&member.layout.data);
    let starts = !host.processes.contains_key(&member.name);
    let has_data = matches!(data, Some(DataDir::Member(_)));
    // Where others' release is known it is theirs. Without a start file, or where that could not be
    // read, nothing says either way, and data that was put back by hand is started.
    let start_file = host.files.get(&target.desired(member).settled.path)?;
    let is_read = start_file.text.is_some();
    let of_others = !known_versions(target.file(), seen).is_empty();
    (starts && has_data && is_read && !of_others).then(|| {
        let evidence = format!(
            "{} on {} is of a release that neither what starts it nor the host record names",
            member.layout.data, member.host
        );
        DATA_OF_UNKNOWN_RELEASE.error(&member.name, evidence)
    })
}

/// What keeps a release on the way to the file's from being run: a flag's value, or where binaries
/// come from.
fn unreachable_leg(target: &Target, member: &Member, running: &EtcdVersion) -> Option<Finding> {
    let file = target.file();
    let ahead = ahead(file, running);
    if ahead.is_empty() {
        return None;
    }
    let mut refused = ahead
        .iter()
        .filter_map(|version| refused_flag(target, member, version));
    if let Some(why) = refused.next() {
        let finding = VERSION_CHANGE.error(&member.name, why);
        return Some(finding.at(KeyPath::root("flags")));
    }
    let pinned = file.pinned_to_one()?;
    let ahead: Vec<String> = ahead.iter().map(ToString::to_string).collect();
    let evidence = format!(
        "{running} to {} passes through {}, and `{pinned}` is of one release alone",
        file.version,
        ahead.join(" and ")
    );
    let finding = LEG_BINARIES.error(&member.name, evidence);
    Some(finding.at(KeyPath::root("etcd")))
}

/// The members that did not come up with the release that is wanted: nobody else is restarted with
/// it either.
pub(crate) fn failed_releases(target: &Target, seen: &Observation) -> Vec<Finding> {
    let members = target.topology.members.iter();
    let failed = members.filter_map(|member| {
        let host = seen.host(&member.host)?;
        failed_before(target, seen, member, host)
    });
    failed.collect()
}

/// Whether this very binary failed here before.
fn failed_before(
    target: &Target,
    seen: &Observation,
    member: &Member,
    host: &HostView,
) -> Option<Finding> {
    let failed = host.record()?.failed.get(&member.etcd_name)?;
    let wanted = target.topology.version.to_string();
    let runs = version_of(seen, member).filter(|_| seen.serves(&member.name));
    if failed.version != wanted || runs.is_some_and(|version| version.to_string() == wanted) {
        return None;
    }
    // One that was taken away is another by the time that it is tried.
    if !failed.binary.is_empty() && failed.binary != binary_of(target, member, host) {
        return None;
    }
    let log = failed.log.join("\n  ");
    let evidence = format!(
        "{} did not come up with etcd {wanted}:\n  {log}",
        member.name
    );
    Some(
        VERSION_FAILED
            .error(&member.name, evidence)
            .at(KeyPath::root("etcd")),
    )
}

/// What tells one build of a release from another: the digest of its binary, or the image's name.
pub(crate) fn binary_of(target: &Target, member: &Member, host: &HostView) -> String {
    if member.layout.is_pod() {
        return etcdup_render::image(&target.topology);
    }
    let file = host.files.get(&target.desired(member).etcd);
    file.and_then(|file| file.sha256.clone())
        .unwrap_or_default()
}

/// A flag with a value that a release on the way refuses.
fn refused_flag(target: &Target, member: &Member, version: &EtcdVersion) -> Option<String> {
    let topology = target.file().at_version(version).ok()?;
    let flags = topology.flags(member, ClusterState::Existing);
    let mut flags = flags.iter();
    flags.find_map(|(name, value)| {
        let why = lookup(name)?.limits().check(value, version).err()?;
        Some(format!(
            "etcd {version}, which lies on the way, refuses `{name}` = `{value}`: it is not {why}"
        ))
    })
}

/// Whether a member that serves runs the minor of this release: the cluster's own version is never
/// above that of any member.
fn is_of_minor(target: &Target, seen: &Observation, wanted: &EtcdVersion) -> bool {
    let members = target.topology.members.iter();
    let mut serving = members.filter(|member| seen.serves(&member.name));
    serving.any(|member| {
        let running = version_of(seen, member);
        running.is_some_and(|running| running.minor() == wanted.minor())
    })
}

/// The flags that a member runs with, or would start with on data that it has.
fn running_flags(
    target: &Target,
    member: &Member,
    host: &HostView,
) -> Option<(FlagSet, &'static str)> {
    let flags = last_flags(target, member, host)?;
    if host.processes.contains_key(&member.name) {
        return Some((flags, "use"));
    }
    let data = host.data.get(&member.layout.data);
    matches!(data, Some(DataDir::Member(_))).then_some((flags, "used"))
}

/// Why a member that runs with these flags cannot restart with others: certificates that etcd made
/// up itself, which no other member can check, or no URL that a client could use before and after.
fn security_conflict(now: &FlagSet, desired: &FlagSet) -> Option<String> {
    for flag in ["auto-tls", "peer-auto-tls"] {
        if now.get(flag) == Some("true") && desired.get(flag) != Some("true") {
            return Some(format!("--{flag}, whose certificates no CA has issued"));
        }
    }
    let (before, after) = (client_schemes(now), client_schemes(desired));
    let mut pairs = before
        .iter()
        .flat_map(|one| after.iter().map(move |other| (one, other)));
    // A port that moves is a change of its own, which clients follow by the member list.
    let moves = pairs.clone().all(|(one, other)| one.1 != other.1);
    let kept = pairs.any(|(one, other)| one.0 == other.0 && (moves || one.1 == other.1));
    let shown = |urls: &BTreeSet<(Scheme, u16)>| {
        let shown = urls.iter().map(|(scheme, port)| match scheme {
            Scheme::Https => format!("TLS on {port}"),
            Scheme::Http => format!("plain HTTP on {port}"),
        });
        shown.collect::<Vec<_>>().join(" and ")
    };
    (!kept).then(|| format!("{} for clients, wanted {}", shown(&before), shown(&after)))
}

/// The schemes and ports that a member serves clients, those on loopback aside where there are
/// others.
fn client_schemes(flags: &FlagSet) -> BTreeSet<(Scheme, u16)> {
    let urls = flags
        .get("listen-client-urls")
        .unwrap_or("http://localhost:2379");
    let urls: Vec<EtcdUrl> = urls.split(',').filter_map(|url| url.parse().ok()).collect();
    let outside = |url: &&EtcdUrl| !url.address.is_loopback();
    let shown = |url: &EtcdUrl| (url.scheme, url.port);
    let outer: BTreeSet<(Scheme, u16)> = urls.iter().filter(outside).map(shown).collect();
    match outer.is_empty() {
        true => urls.iter().map(shown).collect(),
        false => outer,
    }
}
