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
use etcdup_core::topology::Topology;
use etcdup_core::url::Scheme;

/// The transport security that peers have on the leg on which they speak plain HTTP and have what
/// TLS takes; none where the file's topology is next.
pub(super) fn between(topology: &Topology, seen: &Observation) -> Option<TransportSecurity> {
    let running = || {
        let members = topology.everyone();
        members
            .filter_map(|member| Some(&seen.host(&member.host)?.processes.get(&member.name)?.flags))
    };
    let listed = ClusterView::any(seen).is_some_and(|view| {
        let mut urls = view.members().flat_map(|listed| &listed.peer_urls);
        urls.any(|url| url.starts_with("https:"))
    });
    // Once one listens for TLS the way leads on: going back would cost two restarts more.
    let begun = listed || running().any(|flags| peer_scheme(flags) == Scheme::Https);
    if topology.security.peer == TransportSecurity::Plain {
        return begun.then_some(match running().any(demands_certificates) {
            true => TransportSecurity::Mutual,
            false => TransportSecurity::Tls,
        });
    }
    let mut members = topology.members.iter();
    let may_lack = members.any(|member| seen.host(&member.host).is_none())
        || running().any(|flags| !can_dial_tls(flags));
    let runs = running().next().is_some();
    (runs && !begun && may_lack).then_some(topology.security.peer)
}

/// What a member listens for on its peer port, by its flags; etcd's default is plain HTTP.
pub(crate) fn peer_scheme(flags: &FlagSet) -> Scheme {
    let urls = flags.get("listen-peer-urls").unwrap_or_default();
    match urls.starts_with("https:") {
        true => Scheme::Https,
        false => Scheme::Http,
    }
}

/// Whether it accepts what others show and has something to show itself.
fn can_dial_tls(flags: &FlagSet) -> bool {
    let set = |name: &str| flags.get(name).is_some();
    set("peer-cert-file") && set("peer-trusted-ca-file")
}

fn demands_certificates(flags: &FlagSet) -> bool {
    flags.get("peer-client-cert-auth") == Some("true")
}
