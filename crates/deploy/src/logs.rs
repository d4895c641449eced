//! A member's log, read where its runtime leaves it.

use etcdup_core::file::RuntimeKind;
use etcdup_core::plain::chain;
use etcdup_core::topology::{Member, Topology};
use etcdup_host::{Header, refusal};
use etcdup_transport::Watch;

use crate::error::DeployError;
use crate::scripts::LOGS;
use crate::session::Session;

/// How much of a log is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    /// The number of last lines.
    pub lines: u32,
    /// Whether to go on with new lines until the caller stops.
    pub follow: bool,
}

impl Session {
    /// Prints a member's log to `watch`, as it arrives.
    ///
    /// # Errors
    /// When the host cannot be reached, or has no such log.
    pub async fn logs(
        &self,
        topology: &Topology,
        member: &Member,
        range: LogRange,
        watch: Watch<'_>,
    ) -> Result<(), DeployError> {
        let failed = |why: String| DeployError::Cluster {
            what: format!("read the log of {}", member.name),
            why,
        };
        let link = match self.link(&member.host) {
            etcdup_core::observed::Observed::Known(link) => link,
            etcdup_core::observed::Observed::Unknown(unseen) => return Err(failed(unseen.why)),
        };
        let layout = &member.layout;
        let source = match layout.runtime {
            RuntimeKind::Systemd => format!("unit|{}", layout.unit),
            RuntimeKind::Process => format!("file|{}", layout.log_file),
            RuntimeKind::StaticPod => {
                let name = layout.manifest.file_name().trim_end_matches(".yaml");
                format!("pod|{name}")
            }
        };
        let follow = if range.follow { "yes" } else { "no" };
        let cluster = topology.cluster.as_str();
        let header = Header {
            state: layout.state.as_str(),
            cluster,
            operation: None,
            now: jiff::Timestamp::now(),
        };
        let input = header.line() + &format!("{source}|{}|{follow}\n", range.lines);
        let output = link
            .run_watched(&LOGS, Box::new(std::io::Cursor::new(input)), watch)
            .await
            .map_err(|error| failed(chain(&error)))?;
        if let Some(why) = refusal(&output.text()) {
            return Err(failed(why));
        }
        match output.status {
            Some(0) => Ok(()),
            _ => Err(failed(output.last_stderr_line())),
        }
    }
}
