//! The one metric that shows a peer rejected in one direction only: `etcd_network_active_peers`.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;

use crate::client::{CALL, ClientError, Endpoint};
use crate::dial::{BoxIo, Dial};
use crate::tls::{Access, config, deepest, server_name};

/// Active connections by the remote member's ID, as this member counts them. A member that waits for its peers accepts
/// connections and says nothing, so the whole exchange has a time.
pub(crate) async fn active_peers(
    endpoint: &Endpoint,
    access: &Access,
    dial: &dyn Dial,
) -> Result<BTreeMap<u64, i64>, ClientError> {
    tokio::time::timeout(CALL, exchange(endpoint, access, dial))
        .await
        .unwrap_or(Err(ClientError::Late))
}

async fn exchange(
    endpoint: &Endpoint,
    access: &Access,
    dial: &dyn Dial,
) -> Result<BTreeMap<u64, i64>, ClientError> {
    let connect = |error: &(dyn std::error::Error + 'static)| ClientError::Connect(deepest(error));
    let stream = dial.dial().await.map_err(|error| connect(&error))?;
    let stream: BoxIo = match access {
        Access::Plain => stream,
        Access::Tls { authority, client } => {
            let connector =
                tokio_rustls::TlsConnector::from(config(authority, client.as_ref(), false)?);
            let name = server_name(&endpoint.server_name)?;
            Box::new(
                connector
                    .connect(name, stream)
                    .await
                    .map_err(|error| connect(&error))?,
            )
        }
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| connect(&error))?;
    let driver = tokio::spawn(connection);
    let request = http::Request::get("/metrics")
        .header(http::header::HOST, &endpoint.authority)
        .body(Empty::<Bytes>::new())
        .map_err(|error| connect(&error))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| connect(&error))?;
    let body = Limited::new(response.into_body(), 16 << 20).collect().await;
    driver.abort();
    let body = body
        .map_err(|error| ClientError::Connect(error.to_string()))?
        .to_bytes();
    Ok(parse(&String::from_utf8_lossy(&body)))
}

fn parse(text: &str) -> BTreeMap<u64, i64> {
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
        if let (Some(Ok(id)), Ok(value)) = (
            remote.map(|id| u64::from_str_radix(id, 16)),
            value.trim().parse::<f64>(),
        ) {
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
        assert_eq!(super::parse(text), [(1, 0), (255, 1)].into());
    }
}
