//! One command on one channel, its input streamed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use russh::client::{Handle, Msg};
use russh::{ChannelMsg, ChannelWriteHalf};
use tokio::io::AsyncReadExt;

use super::handler::Client;
use crate::error::{SshError, TransportError};
use crate::script::Script;
use crate::transport::{Input, Output, Watch};

/// sshd refuses an eleventh session; others of ours end soon.
const OPEN_TRIES: u32 = 20;

/// How much standard error is kept.
const COMPLAINTS: usize = 16 * 1024;

/// A channel has no `Drop` of its own: without this a given-up command keeps its place among sshd's
/// sessions.
struct CloseOnDrop(Option<ChannelWriteHalf<Msg>>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(writer) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { writer.close().await });
        }
    }
}

pub(super) async fn exec(
    handle: &Handle<Client>,
    command: &str,
    mut input: Input<'_>,
    script: &Script,
    watch: Watch<'_>,
) -> Result<Output, TransportError> {
    let (mut reader, writer) = open(handle).await?.split();
    let guard = CloseOnDrop(Some(writer));
    let Some(writer) = guard.0.as_ref() else {
        return Err(SshError::Lost("closed".to_owned()).into());
    };
    writer.exec(true, command).await.map_err(SshError::from)?;
    // A long upload is one future, silent until its end: what counts as life is each piece that was
    // sent.
    let sent = AtomicU64::new(0);
    let feed = async {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let read = input
                .read(&mut buffer)
                .await
                .map_err(TransportError::Input)?;
            if read == 0 {
                break;
            }
            writer
                .data_bytes(Bytes::copy_from_slice(&buffer[..read]))
                .await
                .map_err(SshError::from)?;
            sent.fetch_add(1, Ordering::Relaxed);
        }
        writer.eof().await.map_err(SshError::from)?;
        Ok::<(), TransportError>(())
    };
    tokio::pin!(feed);
    let mut feeding = true;
    let mut output = Output::default();
    let mut sent_before = 0;
    loop {
        tokio::select! {
            fed = &mut feed, if feeding => {
                feeding = false;
                fed?;
            }
            () = tokio::time::sleep(script.idle) => {
                let sent = sent.load(Ordering::Relaxed);
                if sent == sent_before {
                    return Err(TransportError::Silent { script: script.name, seconds: script.idle.as_secs() });
                }
                sent_before = sent;
            }
            message = reader.wait() => match message {
                Some(ChannelMsg::Data { data }) => {
                    watch(&data);
                    output.add(&data, script)?;
                }
                Some(ChannelMsg::ExtendedData { data, ext: 1 }) => {
                    if output.stderr.len() < COMPLAINTS {
                        output.stderr.extend_from_slice(&data);
                    }
                }
                Some(ChannelMsg::ExitStatus { exit_status }) => output.status = Some(exit_status),
                Some(ChannelMsg::Failure) => return Err(SshError::Protocol("command execution refused".to_owned()).into()),
                Some(ChannelMsg::Close) => return Ok(output),
                None => return Err(SshError::Lost("connection closed".to_owned()).into()),
                Some(_) => {}
            },
        }
    }
}

async fn open(handle: &Handle<Client>) -> Result<russh::Channel<Msg>, SshError> {
    for _ in 0..OPEN_TRIES {
        match handle.channel_open_session().await {
            Err(russh::Error::ChannelOpenFailure(_)) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            other => return other.map_err(SshError::from),
        }
    }
    Err(SshError::Protocol(
        "session limit reached (MaxSessions)".to_owned(),
    ))
}
