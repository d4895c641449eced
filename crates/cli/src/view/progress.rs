//! What happens, as it happens: one calm screen on a terminal, plain lines off it, JSON lines on
//! request.

use crate::view::print::{errln, outln};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcdup_core::event::{Body, HostState};
use etcdup_deploy::{EventStream, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where an operation is shown.
pub(crate) struct Display {
    screen: Option<Arc<Screen>>,
    as_json: bool,
}

impl Display {
    pub(crate) fn new(as_json: bool) -> Self {
        let on_screen = !as_json && std::io::stderr().is_terminal();
        Self {
            screen: on_screen.then(|| Arc::new(Screen::new())),
            as_json,
        }
    }

    /// For what has happened: nothing of it is drawn again.
    pub(crate) fn replay(as_json: bool) -> Self {
        Self {
            screen: None,
            as_json,
        }
    }

    /// Who is told of bytes on their way: nobody off a terminal.
    pub(crate) fn progress(&self) -> Option<Progress> {
        let screen = self.screen.clone()?;
        Some(Arc::new(move |what: &str, done: u64, total: u64| {
            screen.bytes(what, done, total);
        }))
    }

    /// Takes away what was shown of bytes on their way.
    pub(crate) fn clear(&self) {
        if let Some(screen) = &self.screen {
            screen.clear();
        }
    }

    /// Shows events until the last.
    pub(crate) async fn follow(&self, mut events: EventStream) {
        while let Some(event) = events.next().await {
            match (&self.screen, self.as_json) {
                (_, true) => outln!("{}", event.json()),
                (Some(screen), false) => screen.show(&event.body),
                (None, false) => plain(&event.body),
            }
        }
    }
}

/// One event as lines, where there is no screen to redraw.
pub(super) fn plain(body: &Body) {
    match body {
        // How it ended is printed as the command's own result.
        Body::Started { .. }
        | Body::Resumed { .. }
        | Body::Failed { .. }
        | Body::Stopped { .. } => {}
        Body::Waiting { holder } => errln!("{holder}"),
        Body::StageStarted {
            index, title, leg, ..
        } => errln!("{}", stage_line(*index, title, leg.as_deref())),
        Body::Host { host, what, state } => {
            if *state != HostState::Working {
                errln!("   {host}: {what}");
            }
        }
        Body::Gate { holds, why } if why.is_empty() => errln!("   {holds}"),
        Body::Gate { why, .. } => errln!("   waiting: {why}"),
        Body::StageDone { elapsed_ms, .. } => {
            errln!("   done in {}", seconds(*elapsed_ms));
        }
        Body::Done { elapsed_ms } => errln!("completed in {}", seconds(*elapsed_ms)),
    }
}

/// A stage that begins, below its leg where it is the first of one.
fn stage_line(index: usize, title: &str, leg: Option<&str>) -> String {
    let leg = leg.map(|leg| format!("Leg: {leg}\n")).unwrap_or_default();
    format!("{leg}{}. {title}", index + 1)
}

fn seconds(millis: u64) -> String {
    format!("{:.1} s", Duration::from_millis(millis).as_secs_f64())
}

struct Screen {
    bars: MultiProgress,
    lines: Mutex<BTreeMap<String, ProgressBar>>,
}

/// How much of what is sent has gone, where that is worth saying: a stage of a few files has no
/// bytes worth counting, and once all are sent the host works on them. A total of 0 is not known.
fn amount(done: u64, total: u64) -> Option<String> {
    match total {
        0 => Some(format!("{} MiB", done >> 20)),
        _ if total >= 1 << 20 && done < total => {
            Some(format!("{} of {} MiB", done >> 20, total >> 20))
        }
        _ => None,
    }
}

impl Screen {
    fn new() -> Self {
        Self {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)),
            lines: Mutex::default(),
        }
    }

    fn line(&self, key: &str) -> Option<ProgressBar> {
        let mut lines = self.lines.lock().ok()?;
        let bar = lines.entry(key.to_owned()).or_insert_with(|| {
            let bar = self.bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("   {spinner} {prefix} {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(key.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Some(bar.clone())
    }

    fn bytes(&self, what: &str, done: u64, total: u64) {
        if let (Some(bar), Some(words)) = (self.line(what), amount(done, total)) {
            bar.set_message(words);
        }
    }

    fn clear(&self) {
        if let Ok(mut lines) = self.lines.lock() {
            for (_, bar) in std::mem::take(&mut *lines) {
                bar.finish_and_clear();
            }
        }
    }

    fn say(&self, text: &str) {
        let _ = self.bars.println(text);
    }

    fn show(&self, body: &Body) {
        match body {
            Body::Started { .. } | Body::Resumed { .. } => {}
            Body::Waiting { holder } => self.say(holder),
            Body::StageStarted {
                index, title, leg, ..
            } => self.say(&stage_line(*index, title, leg.as_deref())),
            Body::Host { host, what, state } => {
                if let Some(bar) = self.line(host.as_str()) {
                    match state {
                        HostState::Working => bar.set_message(what.clone()),
                        HostState::Done | HostState::Failed => {
                            bar.finish_with_message(what.clone());
                        }
                    }
                }
            }
            Body::Gate { holds, why } => {
                if let Some(bar) = self.line("gates") {
                    bar.set_message(if why.is_empty() { holds } else { why }.clone());
                }
            }
            Body::StageDone { elapsed_ms, .. } => {
                self.clear();
                self.say(&format!("   done in {}", seconds(*elapsed_ms)));
            }
            Body::Done { elapsed_ms } => {
                self.clear();
                self.say(&format!("completed in {}", seconds(*elapsed_ms)));
            }
            Body::Failed { .. } | Body::Stopped { .. } => self.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_only_while_they_say_something() {
        let mib = 1 << 20;
        assert_eq!(amount(20 * mib, 60 * mib).as_deref(), Some("20 of 60 MiB"));
        assert_eq!(amount(5 * mib, 0).as_deref(), Some("5 MiB"));
        // Neither `0 of 0 MiB`, nor `60 of 60 MiB` while the host unpacks.
        assert_eq!(amount(0, 4096), None);
        assert_eq!(amount(60 * mib, 60 * mib), None);
    }
}
