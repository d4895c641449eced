//! The one metric that shows a peer rejected in one direction only: `etcd_network_active_peers`.

use etcdup_core::membership::MemberId;
use std::collections::BTreeMap;

use etcdup_client::{Access, ClientError, Dial, Endpoint, get};

/// Active connections by the remote member's ID, as this member counts them.
pub(crate) async fn active_peers(
    endpoint: &Endpoint,
    access: &Access,
    dial: &dyn Dial,
) -> Result<BTreeMap<MemberId, i64>, ClientError> {
    let body = get(endpoint, access, dial, "/metrics").await?;
    Ok(parse(&String::from_utf8_lossy(&body)))
}

fn parse(text: &str) -> BTreeMap<MemberId, i64> {
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
    fn a_gauge_for_each_peer_is_read() {
        let text = "# HELP x\netcd_network_active_peers{Local=\"a\",Remote=\"ff\"} 1\netcd_network_active_peers{Local=\"a\",Remote=\"1\"} 0\n";
        assert_eq!(
            super::parse(text),
            [(super::MemberId::new(1), 0), (super::MemberId::new(255), 1)].into()
        );
    }
}
