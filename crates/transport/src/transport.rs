//! What every transport does.

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::{DialError, TransportError};
use crate::script::{Keeps, Script};

/// A stream that can be read and written.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A dialled connection.
pub type BoxIo = Box<dyn Io>;

/// What a script reads.
pub type Input<'a> = Box<dyn AsyncRead + Send + Unpin + 'a>;

/// What a script left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// The first 16 KiB of its standard error.
    pub stderr: Vec<u8>,
    /// Its exit status; `None` when it was ended by a signal.
    pub status: Option<u32>,
}

impl Output {
    /// Takes up a piece of standard output.
    ///
    /// # Errors
    /// When that is more than the script may print.
    pub(crate) fn add(&mut self, piece: &[u8], script: &Script) -> Result<(), TransportError> {
        let room = script.room().saturating_sub(self.stdout.len());
        if room < piece.len() && script.keeps == Keeps::All {
            return Err(TransportError::TooMuch {
                script: script.name,
            });
        }
        self.stdout
            .extend_from_slice(&piece[..room.min(piece.len())]);
        Ok(())
    }

    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The last line of standard error, for messages.
    #[must_use]
    pub fn last_stderr_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        text.lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or_default()
            .to_owned()
    }
}

/// Called with each piece of a script's standard output as it arrives.
pub type Watch<'a> = &'a (dyn Fn(&[u8]) + Send + Sync);

/// A connection to a host.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Runs a script with this input and waits for its end.
    async fn run(
        &self,
        script: &'static Script,
        input: Input<'_>,
    ) -> Result<Output, TransportError> {
        self.run_watched(script, input, &|_| {}).await
    }

    /// Runs a script as [`Transport::run`] does, and shows its standard output while it runs.
    async fn run_watched(
        &self,
        script: &'static Script,
        input: Input<'_>,
        watch: Watch<'_>,
    ) -> Result<Output, TransportError>;

    /// Connects to an address as the host sees it.
    async fn dial(&self, address: &str, port: u16) -> Result<BoxIo, DialError>;

    /// Whether it can still be used, as far as is known without asking the host.
    fn is_open(&self) -> bool;

    /// Ends all connections.
    async fn close(&self);
}

#[cfg(test)]
mod tests {
    use super::{Output, Script, TransportError};

    static ANSWER: Script = Script::new("answer", "");
    static LOG: Script = Script::new("log", "").watched();

    #[test]
    fn an_answer_without_end_is_refused() {
        let (mut output, piece) = (Output::default(), vec![b'x'; 48 << 20]);
        assert!(output.add(&piece, &ANSWER).is_ok());
        let more = output.add(&piece, &ANSWER);
        assert!(matches!(
            more,
            Err(TransportError::TooMuch { script: "answer" })
        ));
    }

    #[test]
    fn a_log_is_followed_for_as_long_as_anyone_likes() {
        let (mut output, piece) = (Output::default(), vec![b'x'; 48 << 20]);
        for _ in 0..3 {
            assert!(output.add(&piece, &LOG).is_ok());
        }
        assert_eq!(output.stdout.len(), 64 << 10);
    }
}
