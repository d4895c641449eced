//! Faults for tests: a link that is cut, slow or silent.

use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncReadExt;

use crate::script::Script;
use crate::transport::{BoxIo, DialError, Input, Output, Transport, TransportError};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The input ends after so many bytes, as when the link dies.
    CutAfter(u64),
    /// Every script starts so much later.
    Delay(Duration),
    /// Dials are never answered.
    Silence,
}

/// A transport with a fault.
pub struct Faulty<T> {
    inner: T,
    fault: Fault,
}

impl<T> Faulty<T> {
    /// Gives a transport a fault.
    pub fn new(inner: T, fault: Fault) -> Self {
        Self { inner, fault }
    }
}

#[async_trait]
impl<T: Transport> Transport for Faulty<T> {
    async fn run(
        &self,
        script: &'static Script,
        input: Input<'_>,
    ) -> Result<Output, TransportError> {
        match self.fault {
            Fault::CutAfter(left) => self.inner.run(script, Box::new(input.take(left))).await,
            Fault::Delay(delay) => {
                tokio::time::sleep(delay).await;
                self.inner.run(script, input).await
            }
            Fault::Silence => self.inner.run(script, input).await,
        }
    }

    async fn dial(&self, address: &str, port: u16) -> Result<BoxIo, DialError> {
        match self.fault {
            Fault::Silence => Err(DialError::Silent(2)),
            Fault::CutAfter(_) | Fault::Delay(_) => self.inner.dial(address, port).await,
        }
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
