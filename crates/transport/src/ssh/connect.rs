//! Opening connections: through jump hosts, each with its host key checked and its own log-in.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::Preferred;
use russh::client::{self, Handle};
use russh::keys::Algorithm;
use tokio::net::TcpStream;

use super::auth;
use super::config::{Resolved, SshHop};
use super::handler::{Client, Shared};
use super::host_key::KnownHosts;
use super::options::SshOptions;
use crate::error::SshError;

type Opened = (
    Arc<Handle<Client>>,
    Arc<Shared>,
    Vec<Arc<Handle<Client>>>,
    Resolved,
);

/// Opens the connection to the last hop, through all before it.
pub(super) async fn open(options: &SshOptions) -> Result<Opened, SshError> {
    let last = Resolved::of(&options.hop, &options.jump).await;
    if let Some(command) = &last.proxy_command {
        return Err(SshError::ProxyCommand {
            host: last.host.clone(),
            command: command.clone(),
        });
    }
    let mut hops = Vec::new();
    for jump in &last.jump {
        let hop = SshHop::parse(jump).ok_or_else(|| SshError::Jump(jump.clone()))?;
        let hop = SshHop {
            key: hop.key.or_else(|| options.hop.key.clone()),
            ..hop
        };
        hops.push(Resolved::of(&hop, &[]).await);
    }
    hops.push(last.clone());
    let mut through: Vec<Arc<Handle<Client>>> = Vec::new();
    let mut shared = Arc::default();
    for hop in &hops {
        let opened = tokio::time::timeout(options.connect, one(options, hop, through.last())).await;
        let late = || SshError::Connect {
            host: hop.host.clone(),
            port: hop.port,
            why: format!("no answer within {} s", options.connect.as_secs()),
        };
        let (mut handle, hop_shared) = opened.map_err(|_| late())??;
        // Not under the same clock: a person may be asked for a passphrase.
        auth::log_in(&mut handle, hop, options, &hop_shared).await?;
        through.push(Arc::new(handle));
        shared = hop_shared;
    }
    let handle = through.pop().ok_or_else(|| SshError::Jump(String::new()))?;
    Ok((handle, shared, through, last))
}

async fn one(
    options: &SshOptions,
    hop: &Resolved,
    through: Option<&Arc<Handle<Client>>>,
) -> Result<(Handle<Client>, Arc<Shared>), SshError> {
    let known = Arc::new(KnownHosts::load(options, hop)?);
    let shared = Arc::new(Shared::default());
    let label = hop.label();
    let config = config(&known.recorded(&label));
    let handler = Client {
        shared: Arc::clone(&shared),
        known,
        label,
    };
    let cannot = |why: String| SshError::Connect {
        host: hop.host.clone(),
        port: hop.port,
        why,
    };
    let handle = match through {
        None => {
            let stream = TcpStream::connect((hop.address.as_str(), hop.port))
                .await
                .map_err(|error| cannot(plain(&error)))?;
            stream.set_nodelay(true).ok();
            client::connect_stream(config, stream, handler).await
        }
        Some(outer) => {
            let channel = outer
                .channel_open_direct_tcpip(hop.address.clone(), u32::from(hop.port), "127.0.0.1", 0)
                .await
                .map_err(|error| cannot(format!("the jump host does not reach it ({error})")))?;
            client::connect_stream(config, channel.into_stream(), handler).await
        }
    };
    let handle = handle.map_err(|error| match error {
        SshError::Lost(why) => cannot(format!("it hung up while keys were exchanged ({why})")),
        other => other,
    })?;
    Ok((handle, shared))
}

fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => {
            "connection refused; is sshd running there?".to_owned()
        }
        _ => error
            .to_string()
            .trim_start_matches("failed to lookup address information: ")
            .to_owned(),
    }
}

fn config(recorded: &[Algorithm]) -> Arc<client::Config> {
    let mut preferred = Preferred::DEFAULT;
    let mut keys = preferred.key.to_vec();
    // A host known by its RSA key must not look unknown because it shows an Ed25519 key first.
    keys.sort_by_key(|algorithm| !recorded.iter().any(|known| same_type(known, algorithm)));
    preferred.key = Cow::Owned(keys);
    Arc::new(client::Config {
        window_size: 8 << 20,
        keepalive_interval: Some(Duration::from_secs(15)),
        keepalive_max: 3,
        inactivity_timeout: Some(Duration::from_secs(900)),
        preferred,
        ..client::Config::default()
    })
}

fn same_type(a: &Algorithm, b: &Algorithm) -> bool {
    matches!((a, b), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. })) || a == b
}
