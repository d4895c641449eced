//! What a connection tells its users besides what they asked.

use std::sync::{Arc, Mutex};

use russh::client;
use russh::keys::PublicKeyOrCertificate;
use russh::{ChannelId, ChannelOpenFailure};

use super::host_key::KnownHosts;
use crate::error::SshError;

/// What the connection's callbacks leave for its users.
#[derive(Default)]
pub(super) struct Shared {
    words: Mutex<Vec<String>>,
    gone: Mutex<Option<String>>,
}

impl Shared {
    /// What sshd said of the channel that it did not open last.
    pub(super) fn take_words(&self) -> Option<String> {
        self.words.lock().ok()?.pop()
    }

    /// Why the connection ended, where the host said so.
    pub(super) fn gone(&self) -> Option<String> {
        self.gone.lock().ok()?.clone()
    }
}

pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) known: Arc<KnownHosts>,
    pub(super) label: String,
}

impl client::Handler for Client {
    type Error = SshError;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, SshError> {
        if key.certificate().is_some() {
            return Ok(false);
        }
        self.known.check(&self.label, &key.public_key())?;
        Ok(true)
    }

    async fn channel_open_failure(
        &mut self,
        _id: ChannelId,
        _reason: ChannelOpenFailure,
        description: &str,
        _language: &str,
        _session: &mut client::Session,
    ) -> Result<(), SshError> {
        if let Ok(mut words) = self.shared.words.lock() {
            words.push(description.to_owned());
        }
        Ok(())
    }

    async fn disconnected(
        &mut self,
        reason: client::DisconnectReason<SshError>,
    ) -> Result<(), SshError> {
        let text = match &reason {
            client::DisconnectReason::ReceivedDisconnect(info) => info.message.clone(),
            client::DisconnectReason::Error(error) => error.to_string(),
        };
        if let Ok(mut gone) = self.shared.gone.lock() {
            *gone = Some(text);
        }
        match reason {
            client::DisconnectReason::ReceivedDisconnect(_) => Ok(()),
            client::DisconnectReason::Error(error) => Err(error),
        }
    }
}
