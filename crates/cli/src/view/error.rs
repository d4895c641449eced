//! Errors: what failed, where in the file, on which host, and what to do.

pub(crate) use super::print::plain;

use crate::view::print::errln;
use etcdup_core::file::{Document, Span};
use etcdup_core::finding::{Finding, Verdict};
use etcdup_deploy::{DeployError, HostFailure, chain};
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Severity,
};

use crate::exit;
use crate::view::{harmless, json};

/// Prints an error and says which exit status it means.
pub(crate) fn deploy(error: &DeployError, document: Option<&Document>, as_json: bool) -> u8 {
    let code = code(error);
    if as_json {
        json::print("error", &document_of(error, code, document));
        return code;
    }
    text(error, document);
    code
}

/// The same as one line, for a stream of lines.
pub(crate) fn line(error: &DeployError, document: Option<&Document>) -> u8 {
    let code = code(error);
    let mut value = serde_json::json!({ "format": "etcdup/error/1" });
    if let (Some(all), serde_json::Value::Object(fields)) =
        (value.as_object_mut(), document_of(error, code, document))
    {
        all.extend(fields);
    }
    json::line(&value);
    code
}

fn document_of(error: &DeployError, code: u8, document: Option<&Document>) -> serde_json::Value {
    let mut value = serde_json::json!({ "id": error.id(), "message": chain(error), "exit": code });
    let more = match error {
        DeployError::Blocked(findings) => ("findings", json::findings(findings, document)),
        DeployError::Parse { name, text, error } => {
            let span = error.span.clone().unwrap_or(0..0);
            let (line, column) = etcdup_core::file::line_column(text, &span);
            let place = serde_json::json!({ "file": name, "line": line, "column": column });
            ("place", place)
        }
        DeployError::Hosts(failures) => {
            let one = |failure: &HostFailure| {
                serde_json::json!({
                    "host": failure.host, "step": failure.step, "why": failure.why, "lines": failure.lines,
                })
            };
            ("hosts", failures.iter().map(one).collect())
        }
        DeployError::Gate { console, .. } => ("lines", serde_json::json!(console)),
        DeployError::PutBack(failed) => ("lines", serde_json::json!(failed.console)),
        DeployError::PlanChanged { forecast, .. } => {
            let now: Vec<_> = forecast.stages.iter().map(|stage| &stage.title).collect();
            ("stages", serde_json::json!(now))
        }
        _ => return value,
    };
    value[more.0] = more.1;
    value
}

fn text(error: &DeployError, document: Option<&Document>) {
    match error {
        DeployError::Parse { name, text, error } => {
            let help = error.help.as_deref();
            report(
                &error.message,
                Verdict::Error,
                None,
                help,
                Some((name, text)),
                error.span.clone(),
            );
        }
        DeployError::Blocked(list) => {
            findings(list, document);
            plain("fix the errors above and run again");
        }
        DeployError::Resolve(resolve) => {
            let span = document.and_then(|document| document.find(resolve.at()));
            let source = document.map(|document| (&document.name, &document.text));
            report(
                &resolve.to_string(),
                Verdict::Error,
                None,
                None,
                source,
                span,
            );
        }
        DeployError::Hosts(failures) => hosts(failures),
        DeployError::File { .. } => {
            plain(&chain(error));
            errln!("  use --file to name another file, or `etcdup init` to create one");
        }
        DeployError::PutBack(failed) => {
            plain(&chain(error));
            lines(&failed.console);
            errln!(
                "  see why; then change `etcd`, replace the binary, or run `etcdup apply --retry`"
            );
        }
        DeployError::Gate { console, .. } => {
            plain(&chain(error));
            lines(console);
            errln!("  fix the cause, then run the same command again; it resumes from this point");
        }
        DeployError::PlanChanged { forecast, .. } => {
            plain(&chain(error));
            for stage in &forecast.stages {
                errln!("  new plan: {}", stage.title);
            }
            errln!("  look at the new plan, then run the same command again");
        }
        DeployError::Locked { .. } => {
            plain(&chain(error));
            errln!("  nothing was changed; retry when the other operation has finished");
        }
        other => plain(&chain(other)),
    }
}

fn code(error: &DeployError) -> u8 {
    match error {
        DeployError::Blocked(_) | DeployError::Resolve(_) => exit::BLOCKED,
        DeployError::PlanChanged { .. } => exit::UNAPPROVED,
        DeployError::Locked { .. } => exit::LOCKED,
        DeployError::Stopped(_) => exit::STOPPED,
        DeployError::File { .. } | DeployError::Parse { .. } => exit::USAGE,
        DeployError::Render(_)
        | DeployError::NoEffect(_)
        | DeployError::LeaseLost { .. }
        | DeployError::FewHosts { .. }
        | DeployError::Hosts(_)
        | DeployError::NotPermitted { .. }
        | DeployError::Gate { .. }
        | DeployError::PutBack(_)
        | DeployError::Cluster { .. }
        | DeployError::Stage(_)
        | DeployError::Release(_)
        | DeployError::Vault(_)
        | DeployError::Store(_)
        | DeployError::Busy
        | DeployError::Snapshot(_)
        | DeployError::Take(_)
        | DeployError::Flow(_)
        | DeployError::Unrecorded(_) => exit::FAILED,
    }
}

/// Equal causes on many hosts are reported once.
fn hosts(failures: &[HostFailure]) {
    let mut told: Vec<(&str, &str)> = Vec::new();
    for failure in failures {
        let cause = (failure.step.as_str(), failure.why.as_str());
        if told.contains(&cause) {
            continue;
        }
        told.push(cause);
        let same: Vec<&str> = failures
            .iter()
            .filter(|other| (other.step.as_str(), other.why.as_str()) == cause)
            .map(|other| other.host.as_str())
            .collect();
        plain(&format!(
            "{}: {}: {}",
            same.join(", "),
            failure.step,
            failure.why
        ));
        lines(&failure.lines);
    }
    errln!(
        "  other hosts completed this stage; no further stage was started. Fix the cause, then run the same command again"
    );
}

fn lines(lines: &[String]) {
    for line in lines {
        errln!("  | {}", harmless(line));
    }
}

/// Prints findings, weightiest last, each with its place in the file.
pub(crate) fn findings(findings: &[Finding], document: Option<&Document>) {
    let mut sorted: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.verdict != Verdict::Pass)
        .collect();
    sorted.sort_by_key(|finding| finding.verdict);
    for finding in sorted {
        let message = if finding.evidence.contains(&finding.subject) {
            finding.evidence.clone()
        } else {
            finding.line()
        };
        let set = finding
            .at
            .as_ref()
            .and_then(|at| document?.override_for(at));
        let message = match set {
            Some(set) => format!("{message} (from --set {set})"),
            None => message,
        };
        let span = finding
            .at
            .as_ref()
            .filter(|_| set.is_none())
            .and_then(|at| document?.find(at));
        let source = document
            .filter(|_| span.is_some())
            .map(|document| (&document.name, &document.text));
        let help = (!finding.advice.is_empty()).then_some(finding.advice.as_str());
        report(
            &message,
            finding.verdict,
            Some(finding.id.as_str()),
            help,
            source,
            span,
        );
    }
}

/// The terminal's width as the user says it, between what a message needs and what is easy to read.
fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok();
    let columns = columns.and_then(|columns| columns.parse().ok());
    columns.unwrap_or(100).clamp(60, 110)
}

fn report(
    message: &str,
    verdict: Verdict,
    id: Option<&str>,
    help: Option<&str>,
    source: Option<(&String, &String)>,
    span: Option<Span>,
) {
    let mut diagnostic = MietteDiagnostic::new(harmless(message));
    diagnostic.severity = Some(if verdict == Verdict::Warning {
        Severity::Warning
    } else {
        Severity::Error
    });
    diagnostic.code = id.map(str::to_owned);
    diagnostic.help = help.map(str::to_owned);
    if let Some(span) = span {
        diagnostic = diagnostic.with_label(LabeledSpan::underline(span));
    }
    let theme = match anstream::AutoStream::choice(&std::io::stderr()) {
        anstream::ColorChoice::Never => GraphicalTheme::unicode_nocolor(),
        _ => GraphicalTheme::unicode(),
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width())
        .with_links(false);
    let mut text = String::new();
    let report = miette::Report::new(diagnostic);
    let rendered = match source {
        Some((name, source)) => handler.render_report(
            &mut text,
            report
                .with_source_code(NamedSource::new(name, source.clone()))
                .as_ref(),
        ),
        None => handler.render_report(&mut text, report.as_ref()),
    };
    match rendered {
        Ok(()) => crate::view::print::tell(&text),
        Err(_) => plain(message),
    }
}
