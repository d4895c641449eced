//! What only a member's metrics show: a peer that is rejected in one direction
//! (`etcd_network_active_peers`), and the version that the cluster as a whole is of.

use etcdup_core::membership::MemberId;
use std::collections::BTreeMap;

use etcdup_client::{Access, ClientError, Dial, Endpoint, get};

/// What is read of a member's metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Active connections by the remote member's ID, as this member counts them.
    pub peers: BTreeMap<MemberId, i64>,
    /// The cluster's own version, `3.5`: the lowest minor of all, a few seconds after the last
    /// member has reached it.
    pub cluster_version: Option<String>,
}

pub(crate) async fn metrics(
    endpoint: &Endpoint,
    access: &Access,
    dial: &dyn Dial,
) -> Result<Metrics, ClientError> {
    let body = get(endpoint, access, dial, "/metrics").await?;
    Ok(parse(&String::from_utf8_lossy(&body)))
}

fn parse(text: &str) -> Metrics {
    Metrics {
        peers: active_peers(text),
        cluster_version: cluster_version(text),
    }
}

fn cluster_version(text: &str) -> Option<String> {
    let mut lines = text.lines();
    // The version that was before is shown with 0.
    lines.find_map(|line| {
        let rest = line.strip_prefix("etcd_cluster_version{cluster_version=\"")?;
        let (version, value) = rest.split_once("\"} ")?;
        (value.trim() == "1").then(|| version.to_owned())
    })
}

fn active_peers(text: &str) -> BTreeMap<MemberId, i64> {
    let mut peers = BTreeMap::new();
    for line in text
        .lines()
        .filter_map(|line| line.strip_prefix("etcd_network_active_peers{"))
    {
        let Some((labels, value)) = line.split_once("} ") else {
            continue;
        };
        let remote = labels
            .split(',')
            .find_map(|label| label.strip_prefix("Remote=\"")?.strip_suffix('"'));
        if let (Some(Ok(id)), Ok(value)) = (remote.map(str::parse), value.trim().parse::<f64>()) {
            // A gauge counts whole connections.
            #[allow(clippy::cast_possible_truncation)]
            peers.insert(id, value as i64);
        }
    }
    peers
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_clusters_version_is_the_one_that_counts_now() {
        let text = "etcd_cluster_version{cluster_version=\"3.4\"} 0\netcd_cluster_version{cluster_version=\"3.5\"} 1\n";
        assert_eq!(super::parse(text).cluster_version.as_deref(), Some("3.5"));
    }

    #[test]
    fn a_gauge_for_each_peer_is_read() {
        let text = "# HELP x\netcd_network_active_peers{Local=\"a\",Remote=\"ff\"} 1\netcd_network_active_peers{Local=\"a\",Remote=\"1\"} 0\n";
        assert_eq!(
            super::parse(text).peers,
            [(super::MemberId::new(1), 0), (super::MemberId::new(255), 1)].into()
        );
    }
}
