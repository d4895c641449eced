//! Sending a stage to a host and reading its report, with progress while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcdup_core::event::HostState;
use etcdup_core::host::HostId;
use etcdup_core::observation::HostView;
use etcdup_core::plain::chain;
use etcdup_host::{Look, StageInput, StageReport};
use etcdup_transport::{Metered, Transport};

use crate::error::HostFailure;
use crate::observe::inspect;
use crate::scripts::STAGE;
use crate::stream::stream;

/// What failed, and what the host looked like afterwards where it could still be told.
pub(super) type Failed = Box<(HostFailure, Option<Box<HostView>>)>;

pub(super) async fn send_stage(
    link: Arc<dyn Transport>,
    input: StageInput,
    header: String,
    queries: String,
    host: &HostId,
    look: Look,
    (progress, events): (Option<crate::events::Progress>, &crate::events::Events),
) -> Result<Option<HostView>, Failed> {
    let failure = |step: &str, why: String, lines: Vec<String>| HostFailure {
        host: host.clone(),
        step: step.to_owned(),
        why,
        lines,
    };
    let titles = input.titles().to_vec();
    let size = input.size();
    tracing::debug!(%host, bytes = size, "sending a stage");
    let (reader, writing) = stream(header, input.into_entries(&queries, look));
    let count = Arc::new(AtomicU64::new(0));
    let metered = Metered::new(reader, Arc::clone(&count));
    // The script reports each operation as it ends: what comes next is what it works on now.
    let reported = std::sync::Mutex::new((String::new(), 0_usize));
    let watch = |piece: &[u8]| {
        let Ok(mut reported) = reported.lock() else {
            return;
        };
        reported.0.push_str(&String::from_utf8_lossy(piece));
        while let Some(end) = reported.0.find('\n') {
            let line: String = reported.0.drain(..=end).collect();
            if line.starts_with("@ok|") {
                reported.1 += 1;
                if let Some(title) = titles.get(reported.1) {
                    events.host(host, title.clone(), HostState::Working);
                }
            }
        }
    };
    let began = std::time::Instant::now();
    let running = link.run_watched(&STAGE, Box::new(metered), &watch);
    tokio::pin!(running);
    let ran = loop {
        tokio::select! {
            ran = &mut running => break ran,
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                if let Some(progress) = &progress {
                    progress(host.as_str(), count.load(Ordering::Relaxed).min(size), size);
                }
            }
        }
    };
    tracing::debug!(%host, script = "stage", elapsed_ms = began.elapsed().as_millis(), "ran");
    let written = writing.await;
    let output = match ran {
        Ok(output) => output,
        Err(error) => {
            return Err(Box::new((
                failure("send the stage", chain(&error), Vec::new()),
                None,
            )));
        }
    };
    let read = StageReport::read(&output.text(), &inspect);
    if let Some(why) = read.refused {
        let why = match written {
            Ok(Err(error)) if why.contains("cut off") => chain(&error),
            _ => why,
        };
        return Err(Box::new((
            failure("begin the stage", why, Vec::new()),
            read.view.ok().flatten().map(Box::new),
        )));
    }
    if let Some((number, lines)) = read.failed {
        let title = titles
            .get(number)
            .cloned()
            .unwrap_or_else(|| format!("step {number}"));
        let why = lines
            .last()
            .cloned()
            .unwrap_or_else(|| "it failed without output".to_owned());
        return Err(Box::new((
            failure(&title, why, lines),
            read.view.ok().flatten().map(Box::new),
        )));
    }
    match read.view {
        Ok(view) => Ok(view),
        Err(why) => {
            let step = titles
                .get(read.done)
                .cloned()
                .unwrap_or_else(|| "look at the host".to_owned());
            let complaint = output.last_stderr_line();
            let why = if complaint.is_empty() { why } else { complaint };
            Err(Box::new((failure(&step, why, Vec::new()), None)))
        }
    }
}
