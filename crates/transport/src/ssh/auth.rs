//! Logging in: the key named in the topology, the agent, the user's key files, a password.

use std::path::Path;
use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{self, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, MethodSet};
use zeroize::Zeroizing;

use super::ask::Credential;
use super::config::Resolved;
use super::handler::{Client, Shared};
use super::options::SshOptions;
use crate::error::SshError;

/// sshd cuts off after six tries (MaxAuthTries).
const AGENT_KEYS: usize = 4;

pub(super) async fn log_in(
    handle: &mut Handle<Client>,
    hop: &Resolved,
    options: &SshOptions,
    shared: &Shared,
) -> Result<(), SshError> {
    let mut tried = Vec::new();
    let mut methods = MethodSet::empty();
    let hash = handle
        .best_supported_rsa_hash()
        .await
        .ok()
        .flatten()
        .unwrap_or(Some(HashAlg::Sha512));
    let agent = with_agent(handle, hop, hash, &mut tried);
    // An agent that hangs, such as one forwarded from a machine that went to sleep, must not hang
    // us.
    if matches!(tokio::time::timeout(options.connect, agent).await, Ok(true)) {
        return Ok(());
    }
    for file in &hop.keys {
        match with_file(handle, hop, options, file, hash, &mut tried).await? {
            Some(AuthResult::Success) => return Ok(()),
            Some(AuthResult::Failure {
                remaining_methods, ..
            }) => methods = remaining_methods,
            None => {}
        }
        if handle.is_closed() {
            break;
        }
    }
    if methods.contains(&MethodKind::Password) && !handle.is_closed() {
        let question = Credential::Password {
            user: hop.user.clone(),
            host: hop.host.clone(),
        };
        if let Some(password) = ask(options, question).await {
            tried.push("a password".to_owned());
            if handle
                .authenticate_password(&hop.user, password.as_str())
                .await?
                .success()
            {
                return Ok(());
            }
        }
    }
    if tried.is_empty() {
        tried.push("no SSH agent and no key file found".to_owned());
    }
    if let Some(gone) = shared.gone() {
        tried.push(format!("connection closed: {gone}"));
    }
    Err(SshError::Auth {
        user: hop.user.clone(),
        host: hop.host.clone(),
        tried: tried.join(", "),
    })
}

async fn ask(options: &SshOptions, question: Credential) -> Option<Zeroizing<String>> {
    let ask = Arc::clone(&options.ask);
    tokio::task::spawn_blocking(move || ask.ask(&question))
        .await
        .ok()
        .flatten()
}

async fn with_agent(
    handle: &mut Handle<Client>,
    hop: &Resolved,
    hash: Option<HashAlg>,
    tried: &mut Vec<String>,
) -> bool {
    let Ok(mut agent) = AgentClient::connect_env().await else {
        return false;
    };
    let Ok(identities) = agent.request_identities().await else {
        return false;
    };
    let offered = identities
        .into_iter()
        .filter(|identity| may_offer(hop, identity));
    for identity in offered.take(AGENT_KEYS) {
        tried.push(format!("the agent's key {}", identity.comment()));
        let result = match identity {
            AgentIdentity::PublicKey { key, .. } => {
                handle
                    .authenticate_publickey_with(&hop.user, key, hash, &mut agent)
                    .await
            }
            AgentIdentity::Certificate { certificate, .. } => {
                handle
                    .authenticate_certificate_with(&hop.user, certificate, hash, &mut agent)
                    .await
            }
        };
        if matches!(result, Ok(AuthResult::Success)) {
            return true;
        }
        if handle.is_closed() {
            return false;
        }
    }
    false
}

/// Where key files are named, the agent's keys are offered only as far as they are those files': as
/// ssh does with IdentitiesOnly.
fn may_offer(hop: &Resolved, identity: &AgentIdentity) -> bool {
    if !hop.own_key && !hop.identities_only {
        return true;
    }
    let AgentIdentity::PublicKey { key, .. } = identity else {
        return false;
    };
    hop.keys.iter().any(|file| {
        let public = std::fs::read_to_string(format!("{}.pub", file.display())).ok();
        let public = public.and_then(|text| PublicKey::from_openssh(&text).ok());
        let own = public.or_else(|| {
            let pem = Zeroizing::new(std::fs::read_to_string(file).ok()?);
            // An encrypted key of OpenSSH's form still shows its public half.
            Some(
                PrivateKey::from_openssh(pem.as_str())
                    .ok()?
                    .public_key()
                    .clone(),
            )
        });
        own.is_some_and(|own| own.key_data() == key.key_data())
    })
}

async fn with_file(
    handle: &mut Handle<Client>,
    hop: &Resolved,
    options: &SshOptions,
    file: &Path,
    hash: Option<HashAlg>,
    tried: &mut Vec<String>,
) -> Result<Option<AuthResult>, SshError> {
    let shown = file.display().to_string();
    if is_readable_by_others(file) {
        tracing::warn!(
            file = shown,
            "private key is readable by other users; ssh would ignore it (chmod 600)"
        );
    }
    let Ok(pem) = std::fs::read_to_string(file).map(Zeroizing::new) else {
        if hop.own_key {
            tried.push(format!("{shown} (cannot be read)"));
        }
        return Ok(None);
    };
    let key = match load(&pem, None) {
        Loaded::Key(key) => key,
        Loaded::Encrypted => {
            let Some(passphrase) = ask(
                options,
                Credential::Passphrase {
                    file: shown.clone(),
                },
            )
            .await
            else {
                tried.push(format!("{shown} (needs a passphrase)"));
                return Ok(None);
            };
            match load(&pem, Some(&passphrase)) {
                Loaded::Key(key) => key,
                Loaded::Encrypted | Loaded::Unusable(_) => {
                    tried.push(format!("{shown} (wrong passphrase)"));
                    return Ok(None);
                }
            }
        }
        Loaded::Unusable(why) => {
            tried.push(format!("{shown} ({why})"));
            return Ok(None);
        }
    };
    tried.push(shown);
    let key = PrivateKeyWithHashAlg::new(Arc::new(*key), hash);
    Ok(Some(handle.authenticate_publickey(&hop.user, key).await?))
}

fn is_readable_by_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

enum Loaded {
    Key(Box<PrivateKey>),
    Encrypted,
    Unusable(String),
}

fn load(pem: &str, passphrase: Option<&str>) -> Loaded {
    match keys::decode_secret_key(pem, passphrase) {
        Ok(key) => Loaded::Key(Box::new(key)),
        Err(keys::Error::KeyIsEncrypted) => Loaded::Encrypted,
        Err(_) if passphrase.is_none() && pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") => {
            Loaded::Encrypted
        }
        Err(error) => Loaded::Unusable(error.to_string()),
    }
}
