//! Opening connections: through jump hosts, each with its host key checked and its own log-in.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::Preferred;
use russh::client::{self, Handle};
use russh::keys::Algorithm;
use tokio::net::TcpStream;

use super::auth;
use super::config::{Resolved, Settings, SshHop, ask_ssh};
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
    let hops = hops(options, ask_ssh).await?;
    let last = hops
        .last()
        .cloned()
        .ok_or_else(|| SshError::Jump(String::new()))?;
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

/// How many hosts a way may lead through. A real one has two or three; a configuration whose jump
/// hosts name each other has no end.
const MOST_HOPS: usize = 8;

/// The hosts that lead to the last hop, it among them, as ssh would go: a jump host that the user's
/// configuration reaches through another one is reached through that one. Each further jump host of
/// a list is reached through the one before it, whatever its own configuration says.
async fn hops(
    options: &SshOptions,
    ask: impl AsyncFn(&SshHop) -> Option<Settings>,
) -> Result<Vec<Resolved>, SshError> {
    let settings = ask(&options.hop).await.unwrap_or_default();
    let mut hops = vec![Resolved::new(&options.hop, &options.jump, &settings)];
    loop {
        let first = &hops[0];
        if let Some(command) = &first.proxy_command {
            return Err(SshError::ProxyCommand {
                host: first.host.clone(),
                command: command.clone(),
            });
        }
        if first.jump.is_empty() {
            return Ok(hops);
        }
        let jumps = first.jump.clone();
        let mut before = Vec::new();
        for (index, jump) in jumps.iter().enumerate() {
            let hop = SshHop::parse(jump).ok_or_else(|| SshError::Jump(jump.clone()))?;
            let hop = SshHop {
                key: hop.key.or_else(|| options.hop.key.clone()),
                ..hop
            };
            let settings = ask(&hop).await.unwrap_or_default();
            before.push(Resolved::new(&hop, &jumps[..index], &settings));
        }
        before.append(&mut hops);
        hops = before;
        if hops.len() > MOST_HOPS {
            return Err(SshError::TooManyJumps {
                host: options.hop.host.clone(),
                most: MOST_HOPS,
            });
        }
    }
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
                .map_err(|error| cannot(format!("the jump host cannot reach it ({error})")))?;
            client::connect_stream(config, channel.into_stream(), handler).await
        }
    };
    let handle = handle.map_err(|error| match error {
        SshError::Lost(why) => cannot(format!("connection closed during key exchange ({why})")),
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
    if has_aes() {
        // A snapshot of a gigabyte comes in half the time.
        let mut ciphers = preferred.cipher.to_vec();
        ciphers.sort_by_key(|cipher| *cipher != russh::cipher::AES_256_GCM);
        preferred.cipher = Cow::Owned(ciphers);
    }
    Arc::new(client::Config {
        window_size: 8 << 20,
        keepalive_interval: Some(Duration::from_secs(15)),
        keepalive_max: 3,
        inactivity_timeout: Some(Duration::from_secs(900)),
        preferred,
        ..client::Config::default()
    })
}

/// Whether this machine computes AES by itself: without that ChaCha20, which is first, is faster.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

fn same_type(a: &Algorithm, b: &Algorithm) -> bool {
    matches!((a, b), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. })) || a == b
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::ssh::ask::{Credential, Prompt};
    use crate::ssh::options::UnknownHosts;

    struct Nobody;

    impl Prompt for Nobody {
        fn ask(&self, _: &Credential) -> Option<Zeroizing<String>> {
            None
        }
    }

    /// What `ssh -G` would say of these hosts, and nothing of others.
    async fn way(
        host: &str,
        jump: &[&str],
        known: &[(&str, &str, &str)],
    ) -> Result<String, SshError> {
        let options = SshOptions {
            hop: SshHop::parse(host).unwrap(),
            jump: jump.iter().map(ToString::to_string).collect(),
            sudo: None,
            known_hosts: None,
            unknown_hosts: UnknownHosts::Refuse,
            ask: Arc::new(Nobody),
            connect: Duration::from_secs(1),
            dial: Duration::from_secs(1),
        };
        let ask = async |hop: &SshHop| {
            let own = known.iter().filter(|(name, ..)| *name == hop.host);
            Some(
                own.map(|(_, key, value)| (key.to_string(), value.to_string()))
                    .collect(),
            )
        };
        let hops = hops(&options, ask).await?;
        Ok(hops
            .iter()
            .map(|hop| hop.host.as_str())
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[tokio::test]
    async fn a_jump_host_is_reached_the_way_its_own_configuration_says() {
        let known = [
            ("db", "proxyjump", "inner"),
            ("inner", "proxyjump", "outer"),
            ("middle", "proxyjump", "nowhere"),
            ("self", "proxyjump", "self"),
        ];
        assert_eq!(way("db", &[], &known).await.unwrap(), "outer inner db");
        assert_eq!(way("db", &["x"], &known).await.unwrap(), "x db");
        // Only the first of a list is reached by its own configuration.
        let listed = way("db", &["inner", "middle"], &known).await.unwrap();
        assert_eq!(listed, "outer inner middle db");
        // `Host *` with a ProxyJump is meant for all but the jump host itself.
        assert_eq!(way("self", &[], &known).await.unwrap(), "self");
    }

    #[tokio::test]
    async fn what_cannot_be_gone_is_an_error_that_names_the_host() {
        let circle = [("a", "proxyjump", "b"), ("b", "proxyjump", "a")];
        assert!(matches!(
            way("a", &[], &circle).await,
            Err(SshError::TooManyJumps { .. })
        ));
        let command = [
            ("db", "proxyjump", "gate"),
            ("gate", "proxycommand", "corkscrew x"),
        ];
        match way("db", &[], &command).await {
            Err(SshError::ProxyCommand { host, command }) => {
                assert_eq!((host.as_str(), command.as_str()), ("gate", "corkscrew x"));
            }
            other => panic!("{other:?}"),
        }
    }
}
