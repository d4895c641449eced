//! The server of the API: a thousand streams over one apply, and three hundred clusters.

use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::Lab;
use crate::outcome::ensure;
use crate::setup::{example, newest_of};

const AT: &str = "http://127.0.0.1:8379";
const STREAMS: usize = 1000;
const CLUSTERS: usize = 300;

/// Rows of the table: what was measured, and what was wanted.
pub(super) fn measure(etcdup: &Path) -> Result<Vec<(String, String, String)>, String> {
    let program = example("etcdup-http-api", "load", true)?;
    let lab = Lab::up("benchapi", 3, etcdup)?;
    lab.topology(&newest_of("3.5")?, "", 3)?;
    let token = lab.etcdup(&["token", "create", "bench", "--role", "admin"])?;
    let token = token.exits(0)?.out.trim().to_owned();
    let mut rows = streams(&lab, &program, &token)?;
    rows.extend(clusters(&lab, &program, &token)?);
    Ok(rows)
}

/// A server that is killed when dropped.
struct Server(Child);

impl Server {
    fn start(lab: &Lab) -> Result<Self, String> {
        let server = Self(lab.start(&["serve"])?);
        let start = Instant::now();
        while Lab::run(lab.command("curl", &["-sf", &format!("{AT}/readyz")]))?.code != 0 {
            ensure(start.elapsed() < Duration::from_secs(20), "not ready")?;
            thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Memory that is resident, in MiB.
    fn memory(&self) -> Result<u64, String> {
        let path = format!("/proc/{}/status", self.0.id());
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib: u64 = kib.and_then(|kib| kib.trim().parse().ok()).ok_or(text)?;
        Ok(kib / 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn post(lab: &Lab, token: &str, path: &str, body: &Value) -> Result<Value, String> {
    let (url, bearer) = (
        format!("{AT}{path}"),
        format!("Authorization: Bearer {token}"),
    );
    let body = body.to_string();
    let said = Lab::run(lab.command("curl", &["-s", "-H", &bearer, "--json", &body, &url]))?;
    serde_json::from_str(&said.out).map_err(|error| format!("{error}: {}", said.out))
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

fn streams(
    lab: &Lab,
    program: &Path,
    token: &str,
) -> Result<Vec<(String, String, String)>, String> {
    let server = Server::start(lab)?;
    thread::sleep(Duration::from_secs(3));
    let before = server.memory()?;
    let plan = post(
        lab,
        token,
        "/v1/clusters/etcdup/plans",
        &json!({ "verb": "apply" }),
    )?;
    let body = json!({ "verb": "apply", "plan": plan["digest"] });
    let begun = post(lab, token, "/v1/clusters/etcdup/operations", &body)?;
    let id = begun["id"].as_str().ok_or_else(|| begun.to_string())?;
    let found = load(lab, program, &[AT, token, id, &STREAMS.to_string()])?;
    let more = server.memory()?.saturating_sub(before);
    ensure(
        found["wrong"] == 0,
        format!("events are missing, or came twice: {found}"),
    )?;
    let row =
        |what: &str, measured: String, wanted: &str| (what.to_owned(), measured, wanted.to_owned());
    Ok(vec![
        row(
            &format!(
                "{STREAMS} streams over one apply, {} events each: missing or twice",
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
fn clusters(
    lab: &Lab,
    program: &Path,
    token: &str,
) -> Result<Vec<(String, String, String)>, String> {
    let text = lab.read("etcdup.toml")?;
    for number in 0..CLUSTERS {
        let name = format!("c{number}");
        lab.write(
            &format!("{name}.toml"),
            &text.replace("\"prod\"", &format!("\"{name}\"")),
        )?;
    }
    let server = Server::start(lab)?;
    let (start, bearer) = (Instant::now(), format!("Authorization: Bearer {token}"));
    let seen = loop {
        let url = format!("{AT}/v1/clusters");
        let said = Lab::run(lab.command("curl", &["-s", "-H", &bearer, &url]))?;
        let list: Value = serde_json::from_str(&said.out).unwrap_or_default();
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
    let found = load(lab, program, &[AT, token, "none", "0"])?;
    let memory = server.memory()?;
    let row =
        |what: &str, measured: String, wanted: &str| (what.to_owned(), measured, wanted.to_owned());
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
