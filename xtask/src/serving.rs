//! A server of the API in a lab, and a client of it.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::{Lab, archive};
use crate::outcome::ensure;
use crate::running::Running;

/// Where a server of a lab listens, within the lab's network.
pub(crate) const AT: &str = "http://127.0.0.1:8379";

/// A server in the lab's directory, killed when dropped.
pub(crate) struct Server {
    child: Running,
}

impl Server {
    pub(crate) fn start(lab: &Lab) -> Result<Self, String> {
        let server = Self {
            child: lab.start(&["serve"])?,
        };
        let start = Instant::now();
        let url = format!("{AT}/readyz");
        let asked = ["-s", "-o", "/dev/null", "--fail", &url];
        while Lab::run(lab.command("curl", &asked))?.code != 0 {
            ensure(
                start.elapsed() < Duration::from_secs(10),
                "the server is not ready",
            )?;
            thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Memory that is resident, in MiB.
    pub(crate) fn memory(&self) -> Result<u64, String> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib: u64 = kib.and_then(|kib| kib.trim().parse().ok()).ok_or(text)?;
        Ok(kib / 1024)
    }

    /// Asks it to stop and waits for that; the statuses that `/readyz` answers meanwhile.
    pub(crate) fn stop(mut self, lab: &Lab) -> Result<Vec<u16>, String> {
        let pid = self.child.id().to_string();
        let mut kill = std::process::Command::new("kill");
        kill.args(["-TERM", &pid]);
        Lab::run(kill)?.exits(0)?;
        let (start, mut answers) = (Instant::now(), Vec::new());
        let url = format!("{AT}/readyz");
        let asked = ["-s", "-o", "/dev/null", "-w", "%{http_code}", &url];
        loop {
            if self.child.ended()?.is_some() {
                return Ok(answers);
            }
            ensure(
                start.elapsed() < Duration::from_secs(70),
                "it does not stop",
            )?;
            let status = Lab::run(lab.command("curl", &asked))?.out;
            answers.extend(status.trim().parse::<u16>().ok().filter(|code| *code > 0));
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A client with a token.
pub(crate) struct Client<'a> {
    lab: &'a Lab,
    pub(crate) token: String,
}

impl<'a> Client<'a> {
    /// Nobody's: it has no token.
    pub(crate) fn stranger(lab: &'a Lab) -> Self {
        Self {
            lab,
            token: String::new(),
        }
    }

    pub(crate) fn new(lab: &'a Lab) -> Result<Self, String> {
        Self::named(lab, "ann", "operator")
    }

    /// One with a token of this name and role.
    pub(crate) fn named(lab: &'a Lab, name: &str, role: &str) -> Result<Self, String> {
        let made = lab.etcdup(&["token", "create", name, "--role", role])?;
        let token = made.exits(0)?.out.trim().to_owned();
        Ok(Self { lab, token })
    }

    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: Option<&Value>,
    ) -> Result<(u16, Value), String> {
        let (url, bearer) = (
            format!("{AT}{path}"),
            format!("Authorization: Bearer {}", self.token),
        );
        let mut arguments = vec!["-s", "-X", method, "-w", "\n%{http_code}", &url];
        if !self.token.is_empty() {
            arguments.extend(["-H", &bearer]);
        }
        for header in headers {
            arguments.extend(["-H", header]);
        }
        let body = body.map(ToString::to_string);
        if let Some(body) = &body {
            arguments.extend(["-H", "Content-Type: application/json", "-d", body]);
        }
        let said = Lab::run(self.lab.command("curl", &arguments))?.exits(0)?;
        let (answer, status) = said.out.rsplit_once('\n').ok_or("curl said nothing")?;
        let status = status.parse().map_err(|_| said.out.clone())?;
        Ok((status, serde_json::from_str(answer).unwrap_or_default()))
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value, String> {
        let (status, answer) = self.call("GET", path, &[], None)?;
        ensure(status == 200, format!("GET {path}: {status} {answer}"))?;
        Ok(answer)
    }

    /// Plans an apply, and returns the plan.
    pub(crate) fn plan(&self) -> Result<Value, String> {
        let body = json!({ "verb": "apply" });
        let (status, plan) = self.call("POST", "/v1/clusters/etcdup/plans", &[], Some(&body))?;
        ensure(status == 201, format!("plan: {status} {plan}"))?;
        Ok(plan)
    }

    pub(crate) fn begin(&self, plan: &Value, key: &str) -> Result<(u16, Value), String> {
        let body = json!({ "verb": "apply", "plan": plan["digest"] });
        let key = format!("Idempotency-Key: {key}");
        self.call(
            "POST",
            "/v1/clusters/etcdup/operations",
            &[&key],
            Some(&body),
        )
    }

    /// The operation, once it has ended.
    pub(crate) fn ended(&self, id: &str) -> Result<Value, String> {
        let start = Instant::now();
        loop {
            let operation = self.get(&format!("/v1/operations/{id}?wait=30"))?;
            if operation["state"] != "running" {
                return Ok(operation);
            }
            ensure(
                start.elapsed() < Duration::from_secs(120),
                format!("it does not end: {operation}"),
            )?;
        }
    }

    /// Every event so far: their numbers leave no gap.
    pub(crate) fn events(&self, id: &str) -> Result<Vec<Value>, String> {
        let mut events = Vec::new();
        loop {
            let path = format!("/v1/operations/{id}/events?since={}", events.len());
            let page = self.get(&path)?;
            let Some(page) = page["events"].as_array().filter(|page| !page.is_empty()) else {
                break;
            };
            events.extend(page.iter().cloned());
        }
        for (number, event) in events.iter().enumerate() {
            ensure(event["seq"] == number, format!("event {number} is {event}"))?;
        }
        Ok(events)
    }
}

/// A field that is a text.
pub(crate) fn text(value: &Value, name: &str) -> Result<String, String> {
    let found = value[name].as_str().map(str::to_owned);
    found.ok_or_else(|| format!("no {name} in {value}"))
}

/// Reads the stream to its end, and counts the events.
pub(crate) fn streamed(client: &Client<'_>, id: &str) -> Result<usize, String> {
    let ids = streamed_for(client, id, None, "120")?;
    let whole = (0..ids.len()).all(|number| ids[number] == number.to_string());
    ensure(whole, format!("the stream has gaps: {ids:?}"))?;
    Ok(ids.len())
}

/// The IDs of the events that come within a second, behind this one.
pub(crate) fn streamed_behind(
    client: &Client<'_>,
    id: &str,
    last: Option<u64>,
) -> Result<Vec<String>, String> {
    streamed_for(client, id, last, "1")
}

fn streamed_for(
    client: &Client<'_>,
    id: &str,
    last: Option<u64>,
    seconds: &str,
) -> Result<Vec<String>, String> {
    let bearer = format!("Authorization: Bearer {}", client.token);
    let url = format!("{AT}/v1/operations/{id}/stream");
    let mut arguments = vec!["-s", "-N", "--max-time", seconds, "-H", &bearer, &url];
    let behind = last.map(|last| format!("Last-Event-ID: {last}"));
    if let Some(behind) = &behind {
        arguments.extend(["-H", behind]);
    }
    let said = Lab::run(client.lab.command("curl", &arguments))?;
    // 28 is the time that it was given.
    ensure([0, 28].contains(&said.code), &said.err)?;
    let ids = said
        .out
        .lines()
        .filter_map(|line| line.strip_prefix("id: "));
    Ok(ids.map(str::to_owned).collect())
}

/// The topology of a lab as a client sends it: it names sources, which are written here, where the
/// file names this machine's files.
pub(crate) fn with_sources(lab: &Lab, version: &str) -> Result<(String, String), String> {
    let mut text = lab.read("etcdup.toml")?;
    let mut sources = "hosts = [\"10.77.0.0/24\"]\n".to_owned();
    for (name, kind, path) in [
        ("key", "ssh-key", lab.state.join("key")),
        ("known", "known-hosts", lab.state.join("known_hosts")),
        ("release", "archive", archive(version)),
    ] {
        let path = path.display();
        text = text.replace(&format!("\"{path}\""), &format!("\"source:{name}\""));
        let source = format!("[source.{name}]\nkind = \"{kind}\"\npath = \"{path}\"\n");
        sources.push_str(&source);
    }
    Ok((text, sources))
}
