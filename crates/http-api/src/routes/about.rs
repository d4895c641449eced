//! What the server says about itself.

use std::io::Write;

use etcdup_deploy::{chain, explain as page_of, nearest_page};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::blocking::blocking;
use crate::call::{Answer, Call, Content, STREAMS};
use crate::metrics::OPEN_METRICS;
use crate::problem::{CHECKS, Problem, UNREADY};

/// That this server runs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Health {
    /// `ok`.
    pub status: String,
    /// Its version.
    pub version: String,
}

/// What an id means.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Explained {
    /// The id.
    pub id: String,
    /// One line.
    pub title: String,
    /// The page.
    pub text: String,
}

fn well() -> Result<Answer, Problem> {
    Answer::json(&Health {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

pub(crate) async fn health(_: Call) -> Result<Answer, Problem> {
    well()
}

/// Whether operations can be recorded: what is not recorded is not begun.
pub(crate) async fn ready(call: Call) -> Result<Answer, Problem> {
    let unready = |why: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, &UNREADY, why);
    if call.state.stopping.is_cancelled() {
        return Err(unready("the server is stopping".to_owned()));
    }
    let state = call.state;
    let tried = blocking(move || {
        let directory = state.store.prepare().map_err(|error| chain(&error))?;
        let tried = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            // An empty file fits on a full disk.
            file.write_all(&[0; 4096])?;
            file.as_file().sync_all()
        };
        tried().map_err(|error| chain(&error))
    });
    match tried.await? {
        Ok(()) => well(),
        Err(error) => {
            // It names files of this machine, and anybody may ask.
            tracing::error!(error, "operations cannot be recorded");
            Err(unready("operations cannot be recorded".to_owned()))
        }
    }
}

pub(crate) async fn openapi(call: Call) -> Result<Answer, Problem> {
    Answer::json(&call.state.openapi)
}

pub(crate) async fn metrics(call: Call) -> Result<Answer, Problem> {
    let open = STREAMS - call.state.streams.available_permits();
    let text = call.state.metrics.text(open, &call.state.watches.list());
    let text = text.map_err(|error| Problem::internal(format!("metrics: {error}")))?;
    Ok(Answer::of(
        StatusCode::OK,
        Content::Text(OPEN_METRICS, text),
    ))
}

pub(crate) async fn explain(call: Call) -> Result<Answer, Problem> {
    let id = call.part("id");
    let page = page_of(id, CHECKS).map(|page| Explained {
        id: page.id.to_owned(),
        title: page.title.to_owned(),
        text: page.text,
    });
    match page {
        Some(explained) => Answer::json(&explained),
        None => {
            let near = nearest_page(id, CHECKS);
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            Err(Problem::not_found(format!("there is no ID `{id}`{near}")))
        }
    }
}
