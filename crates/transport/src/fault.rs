//! Faults for tests: a link that is cut, slow or silent.

use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncReadExt;

use crate::error::{DialError, TransportError};
use crate::script::Script;
use crate::transport::{BoxIo, Input, Output, Transport, Watch};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The input ends after so many bytes, as when the link dies.
    CutAfter(u64),
    /// Every script starts so much later.
    Delay(Duration),
    /// Dials are never answered.
    DialTimeout,
}

/// A transport with a fault.
pub struct FaultyTransport<T> {
    inner: T,
    fault: Fault,
}

impl<T> FaultyTransport<T> {
    /// Gives a transport a fault.
    pub fn new(inner: T, fault: Fault) -> Self {
        Self { inner, fault }
    }
}

#[async_trait]
impl<T: Transport> Transport for FaultyTransport<T> {
    async fn run_watched(
        &self,
        script: &'static Script,
        input: Input<'_>,
        watch: Watch<'_>,
    ) -> Result<Output, TransportError> {
        let input: Input<'_> = match self.fault {
            Fault::CutAfter(left) => Box::new(input.take(left)),
            Fault::Delay(delay) => {
                tokio::time::sleep(delay).await;
                input
            }
            Fault::DialTimeout => input,
        };
        self.inner.run_watched(script, input, watch).await
    }

    async fn dial(&self, address: &str, port: u16) -> Result<BoxIo, DialError> {
        match self.fault {
            Fault::DialTimeout => Err(DialError::Silent(2)),
            Fault::CutAfter(_) | Fault::Delay(_) => self.inner.dial(address, port).await,
        }
    }

    fn is_open(&self) -> bool {
        self.inner.is_open()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::Local;

    const ECHO: Script = Script::new("echo", "cat");

    #[tokio::test]
    async fn a_delay_comes_before_the_script_and_a_cut_after_its_bytes() {
        let late = FaultyTransport::new(Local::new("sh"), Fault::Delay(Duration::from_millis(50)));
        let start = Instant::now();
        let output = late.run(&ECHO, Box::new(&b"hello"[..])).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(50));
        assert_eq!(output.text(), "hello");
        let cut = FaultyTransport::new(Local::new("sh"), Fault::CutAfter(2));
        let output = cut.run(&ECHO, Box::new(&b"hello"[..])).await.unwrap();
        assert_eq!(output.text(), "he");
    }

    #[tokio::test]
    async fn silence_is_told_from_a_refusal() {
        let silent = FaultyTransport::new(Local::new("sh"), Fault::DialTimeout);
        let dialled = silent.dial("127.0.0.1", 1).await.err();
        assert!(matches!(dialled, Some(DialError::Silent(_))));
        let refused = Local::new("sh").dial("127.0.0.1", 1).await.err();
        assert!(matches!(refused, Some(DialError::Refused)));
    }
}
