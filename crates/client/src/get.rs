//! One HTTP GET from a member's client port, for what gRPC does not serve.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;

use crate::dial::{Dial, Endpoint};
use crate::refusal::{CALL, ClientError, root_cause};
use crate::stream::{OpenError, open};
use crate::tls::Access;

/// How long an answer may be, in bytes: etcd's metrics are 200 KiB.
const LONGEST: usize = 16 << 20;

/// Reads a page, such as `/metrics`, from a member's client port.
///
/// The whole exchange has five seconds: a member that waits for its peers accepts connections and
/// says nothing.
///
/// # Errors
/// When there is no connection, or no answer in time.
pub async fn get(
    endpoint: &Endpoint,
    access: &Access,
    dial: &dyn Dial,
    path: &'static str,
) -> Result<Bytes, ClientError> {
    tokio::time::timeout(CALL, exchange(endpoint, access, dial, path))
        .await
        .unwrap_or(Err(ClientError::Late(CALL)))
}

async fn exchange(
    endpoint: &Endpoint,
    access: &Access,
    dial: &dyn Dial,
    path: &'static str,
) -> Result<Bytes, ClientError> {
    let connect =
        |error: &(dyn std::error::Error + 'static)| ClientError::Connect(root_cause(error));
    let stream = open(endpoint, access, dial)
        .await
        .map_err(|error| match error {
            OpenError::Tls(error) => ClientError::Tls(error),
            OpenError::Connect(error) => connect(&error),
        })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| connect(&error))?;
    let driver = tokio::spawn(connection);
    let request = http::Request::get(path)
        .header(http::header::HOST, &endpoint.authority)
        .body(Empty::<Bytes>::new())
        .map_err(|error| connect(&error))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| connect(&error))?;
    let body = Limited::new(response.into_body(), LONGEST).collect().await;
    driver.abort();
    body.map(http_body_util::Collected::to_bytes)
        .map_err(|error| ClientError::Connect(error.to_string()))
}
