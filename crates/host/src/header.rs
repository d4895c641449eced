//! The first line of every script's input.

use jiff::Timestamp;

/// What every script must know: where etcdup's own files are, and for which cluster and operation
/// it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header<'a> {
    /// etcdup's directory on the host.
    pub state: &'a str,
    /// The cluster's name.
    pub cluster: &'a str,
    /// The operation and its epoch, as the lease has them; `None` for a script that only reads.
    pub operation: Option<(&'a str, u64)>,
    /// The operator's clock, which the host compares with its own.
    pub now: Timestamp,
}

impl Header<'_> {
    /// The line.
    #[must_use]
    pub fn line(&self) -> String {
        let (operation, epoch) = self.operation.unwrap_or(("-", 0));
        format!(
            "etcdup|1|{}|{}|{operation}|{epoch}|{}\n",
            self.state,
            self.cluster,
            self.now.as_millisecond()
        )
    }
}
