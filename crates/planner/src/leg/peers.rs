//! From plain HTTP between peers to TLS, and back: all have what TLS takes before the first listens
//! for it, and keep it until the last has stopped.
//!
//! etcd dials a peer by the scheme of its listed URL, and a member without a CA file of its own
//! refuses what any other shows; one that has it dials either. It listens for one scheme alone on a
//! port.

use etcdup_core::file::TransportSecurity;
use etcdup_core::flag::FlagSet;
use etcdup_core::membership::ClusterView;
use etcdup_core::observation::Observation;
use etcdup_core::topology::{Member, Topology};

/// The transport security that peers have on the leg on which they speak plain HTTP and have what
/// TLS takes; none where the file's topology is next.
pub(super) fn between(topology: &Topology, seen: &Observation) -> Option<TransportSecurity> {
    let running = || {
        let members = topology.everyone();
        members.filter_map(|member| Some((member, flags(seen, member)?)))
    };
    let mut secured = running().filter(|(_, flags)| listens_for_tls(flags));
    let listed = ClusterView::any(seen).is_some_and(|view| {
        let mut urls = view.members().flat_map(|listed| &listed.peer_urls);
        urls.any(|url| url.starts_with("https:"))
    });
    if topology.security.peer == TransportSecurity::Plain {
        let first = secured.next();
        let demands = running().any(|(_, flags)| demands_certificates(flags));
        return (first.is_some() || listed).then_some(match demands {
            true => TransportSecurity::Mutual,
            false => TransportSecurity::Tls,
        });
    }
    // Once one listens for TLS the way leads on: going back would cost two restarts more.
    let begun = secured.next().is_some() || listed;
    let unseen = || {
        let members = topology.members.iter();
        members
            .filter(|member| seen.host(&member.host).is_none())
            .count()
            > 0
    };
    let lacks = running().any(|(_, flags)| !can_dial_tls(flags));
    let any = running().next().is_some();
    (any && !begun && (lacks || unseen())).then_some(topology.security.peer)
}

/// The flags that a member runs with.
fn flags<'a>(seen: &'a Observation, member: &Member) -> Option<&'a FlagSet> {
    let process = seen.host(&member.host)?.processes.get(&member.name)?;
    Some(&process.flags)
}

/// Whether it listens for TLS on its peer port.
fn listens_for_tls(flags: &FlagSet) -> bool {
    let urls = flags.get("listen-peer-urls").unwrap_or_default();
    urls.starts_with("https:")
}

/// Whether it accepts what others show and has something to show itself.
fn can_dial_tls(flags: &FlagSet) -> bool {
    let set = |name: &str| flags.get(name).is_some();
    set("peer-cert-file") && set("peer-trusted-ca-file")
}

fn demands_certificates(flags: &FlagSet) -> bool {
    flags.get("peer-client-cert-auth") == Some("true")
}
