//! The server of the API: a thousand streams over one apply, and three hundred clusters.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::Lab;
use crate::outcome::ensure;
use crate::serving::{AT, Client, Server, text};
use crate::setup::{measured_example, newest_of};

/// What was measured, the figure, and what was wanted.
type Row = (String, String, String);

const STREAMS: usize = 1000;
const CLUSTERS: usize = 300;

/// Rows of the table: what was measured, and what was wanted.
pub(super) fn measure(etcdup: &Path) -> Result<Vec<Row>, String> {
    let program = measured_example("etcdup-http-api", "load")?;
    let mut rows = streams(&lab_of(etcdup)?, &program, 1)?;
    // The hosts share the machine with the server: what they take alone is in the rows above.
    let lab = lab_of(etcdup)?;
    rows.extend(streams(&lab, &program, STREAMS)?);
    rows.extend(clusters(&lab, &program)?);
    Ok(rows)
}

fn lab_of(etcdup: &Path) -> Result<Lab, String> {
    let lab = Lab::up("benchapi", 3, etcdup)?;
    lab.topology(&newest_of("3.5")?, "", 3)?;
    Ok(lab)
}

fn load(lab: &Lab, program: &Path, arguments: &[&str]) -> Result<Value, String> {
    // A thousand connections are more than a shell may open by default.
    let command = format!(
        "ulimit -n 8192; exec {} {}",
        program.display(),
        arguments.join(" ")
    );
    let said = lab.inside(&command)?.exits(0)?;
    serde_json::from_str(&said.out).map_err(|error| format!("{error}: {}", said.out))
}

fn streams(lab: &Lab, program: &Path, streams: usize) -> Result<Vec<Row>, String> {
    let server = Server::start(lab)?;
    thread::sleep(Duration::from_secs(3));
    let before = server.memory()?;
    let client = Client::new(lab)?;
    let plan = client.plan()?;
    let (_, begun) = client.begin(&plan, "bench")?;
    let id = text(&begun, "id")?;
    let found = load(
        lab,
        program,
        &[AT, &client.token, &id, &streams.to_string()],
    )?;
    let more = server.memory()?.saturating_sub(before);
    ensure(
        found["wrong"] == 0,
        format!("events are missing, or came twice: {found}"),
    )?;
    Ok(vec![
        row(
            &format!(
                "streams over one apply: {streams}, of {} events; missing or twice",
                found["events"]
            ),
            found["wrong"].to_string(),
            "0",
        ),
        row(
            "an event on its way, p99",
            format!(
                "{} ms (p50 {} ms)",
                found["event-p99-ms"], found["event-p50-ms"]
            ),
            "500 ms",
        ),
        row(
            "another request meanwhile, p99",
            format!("{} ms", found["list-p99-ms"]),
            "100 ms",
        ),
        row("memory for it", format!("{more} MiB more"), "64 MiB"),
    ])
}

/// Three hundred topologies of the same three hosts: links are shared, looks are not.
fn clusters(lab: &Lab, program: &Path) -> Result<Vec<Row>, String> {
    let text = lab.read("etcdup.toml")?;
    for number in 0..CLUSTERS {
        let name = format!("c{number}");
        lab.write(
            &format!("{name}.toml"),
            &text.replace("\"prod\"", &format!("\"{name}\"")),
        )?;
    }
    let server = Server::start(lab)?;
    let (start, client) = (Instant::now(), Client::new(lab)?);
    let seen = loop {
        let list = client.get("/v1/clusters")?;
        let clusters = list["clusters"].as_array().cloned().unwrap_or_default();
        let seen = clusters
            .iter()
            .filter(|one| one["hosts-seen"].is_string())
            .count();
        if seen > CLUSTERS {
            break seen;
        }
        ensure(
            start.elapsed() < Duration::from_secs(300),
            format!("{seen} of {CLUSTERS} seen: {}", list["clusters"][0]),
        )?;
        thread::sleep(Duration::from_millis(500));
    };
    let took = start.elapsed().as_secs();
    let found = load(lab, program, &[AT, &client.token, "none", "0"])?;
    let memory = server.memory()?;
    Ok(vec![
        row(
            &format!("{seen} clusters kept in view: the list, p99"),
            format!("{} ms", found["list-p99-ms"]),
            "20 ms",
        ),
        row("memory for them", format!("{memory} MiB"), "200 MiB"),
        row("until each was seen", format!("{took} s"), ""),
    ])
}

fn row(what: &str, measured: String, wanted: &str) -> Row {
    (what.to_owned(), measured, wanted.to_owned())
}
