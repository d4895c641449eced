//! The HTTP API on real hosts: what `curl` sees of it.

use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::context::{Context, Scenario};
use crate::lab::{Lab, archive};
use crate::outcome::{Outcome, ensure};

pub(super) const ALL: &[Scenario] = &[("served-over-http", served_over_http)];

const AT: &str = "http://127.0.0.1:8379";

/// A server in the lab's directory, killed when dropped.
struct Server {
    child: Child,
}

impl Server {
    fn start(lab: &Lab) -> Result<Self, String> {
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
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client with a token.
struct Client<'a> {
    lab: &'a Lab,
    token: String,
}

impl<'a> Client<'a> {
    fn new(lab: &'a Lab) -> Result<Self, String> {
        let made = lab.etcdup(&["token", "create", "ann", "--role", "operator"])?;
        let token = made.exits(0)?.out.trim().to_owned();
        Ok(Self { lab, token })
    }

    fn call(
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

    fn get(&self, path: &str) -> Result<Value, String> {
        let (status, answer) = self.call("GET", path, &[], None)?;
        ensure(status == 200, format!("GET {path}: {status} {answer}"))?;
        Ok(answer)
    }

    /// Plans an apply, and returns the plan.
    fn plan(&self) -> Result<Value, String> {
        let body = json!({ "verb": "apply" });
        let (status, plan) = self.call("POST", "/v1/clusters/etcdup/plans", &[], Some(&body))?;
        ensure(status == 201, format!("plan: {status} {plan}"))?;
        Ok(plan)
    }

    fn begin(&self, plan: &Value, key: &str) -> Result<(u16, Value), String> {
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
    fn ended(&self, id: &str) -> Result<Value, String> {
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
    fn events(&self, id: &str) -> Result<Vec<Value>, String> {
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

fn text(value: &Value, name: &str) -> Result<String, String> {
    let found = value[name].as_str().map(str::to_owned);
    found.ok_or_else(|| format!("no {name} in {value}"))
}

/// Sign-in, plan, operation and its events over HTTP; a server that is killed goes on with what it
/// began when it is started again.
fn served_over_http(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "", 3)?;
    let server = Server::start(&lab)?;
    let stranger = Client {
        lab: &lab,
        token: String::new(),
    };
    let (status, _) = stranger.call("GET", "/v1/clusters", &[], None)?;
    ensure(status == 401, format!("without a token: {status}"))?;
    let client = Client::new(&lab)?;

    let plan = client.plan()?;
    let (status, begun) = client.begin(&plan, "first")?;
    ensure(status == 202, format!("begin: {status} {begun}"))?;
    let id = text(&begun, "id")?;
    let (_, same) = client.begin(&plan, "first")?;
    ensure(same["id"] == begun["id"], format!("begun twice: {same}"))?;
    let (status, other) = client.begin(&plan, "second")?;
    ensure(
        status == 409 && other["operation"] == begun["id"],
        format!("a second operation: {status} {other}"),
    )?;
    let streamed = streamed(&client, &id)?;
    let done = client.ended(&id)?;
    ensure(done["state"] == "done", format!("{done}"))?;
    let events = client.events(&id)?;
    ensure(
        streamed == events.len(),
        format!("{streamed} of {} events came by the stream", events.len()),
    )?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    let members = client.get("/v1/clusters/etcdup/members")?;
    ensure(members["healthy"] == 3, format!("{members}"))?;
    killed_and_started_again(&lab, (server, client))?;
    lab.nothing_to_do()?;
    sent_over_http(context, &lab)
}

/// The same topology sent by a client, which names sources where the file names this machine's
/// files: it is the same cluster, and nothing is to do.
fn sent_over_http(context: &Context, lab: &Lab) -> Outcome {
    let _server = Server::start(lab)?;
    let client = Client::new(lab)?;
    let mut text = lab.read("etcdup.toml")?;
    let mut sources = "hosts = [\"10.77.0.0/24\"]\n".to_owned();
    let archive = archive(&context.version);
    for (name, kind, path) in [
        ("key", "ssh-key", lab.state.join("key")),
        ("known", "known-hosts", lab.state.join("known_hosts")),
        ("release", "archive", archive),
    ] {
        let path = path.display();
        text = text.replace(&format!("\"{path}\""), &format!("\"source:{name}\""));
        let source = format!("[source.{name}]\nkind = \"{kind}\"\npath = \"{path}\"\n");
        sources.push_str(&source);
    }
    lab.write("sent.toml.txt", &text)?;
    let put = || {
        let bearer = format!("Authorization: Bearer {}", client.token);
        let url = format!("{AT}/v1/clusters/prod/topology");
        let arguments = [
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-X",
            "PUT",
            "-H",
            &bearer,
            "-H",
            "If-None-Match: *",
            "-H",
            "Content-Type: text/plain",
            "--data-binary",
            "@sent.toml.txt",
            &url,
        ];
        Lab::run(lab.command("curl", &arguments)).map(|said| said.out)
    };
    let refused = put()?;
    ensure(refused == "422", format!("without sources: {refused}"))?;
    lab.write("sources.toml", &sources)?;
    let twice = put()?;
    ensure(
        twice == "409",
        format!("a second file of one cluster: {twice}"),
    )?;
    lab.inside("mv etcdup.toml etcdup.toml.aside")?.exits(0)?;
    let made = put()?;
    ensure(made == "201", format!("with sources: {made}"))?;
    let body = json!({ "verb": "apply" });
    let (status, plan) = client.call("POST", "/v1/clusters/prod/plans", &[], Some(&body))?;
    ensure(
        status == 201 && plan["changes"] == false,
        format!("{status} {plan}"),
    )
}

/// Reads the stream to its end, and counts the events.
fn streamed(client: &Client<'_>, id: &str) -> Result<usize, String> {
    let bearer = format!("Authorization: Bearer {}", client.token);
    let url = format!("{AT}/v1/operations/{id}/stream");
    let arguments = ["-s", "-N", "--max-time", "120", "-H", &bearer, &url];
    let said = Lab::run(client.lab.command("curl", &arguments))?.exits(0)?;
    let ids = said
        .out
        .lines()
        .filter_map(|line| line.strip_prefix("id: "));
    let ids: Vec<String> = ids.map(str::to_owned).collect();
    let whole = (0..ids.len()).all(|number| ids[number] == number.to_string());
    ensure(whole, format!("the stream has gaps: {ids:?}"))?;
    Ok(ids.len())
}

fn killed_and_started_again(lab: &Lab, (server, client): (Server, Client<'_>)) -> Outcome {
    lab.edit("etcd = \"", "flags = { snapshot-count = 4321 }\netcd = \"")?;
    let plan = client.plan()?;
    let (status, begun) = client.begin(&plan, "third")?;
    ensure(status == 202, format!("begin: {status} {begun}"))?;
    let id = text(&begun, "id")?;
    while client.events(&id)?.len() < 8 {
        thread::sleep(Duration::from_millis(20));
    }
    drop(server);
    let _server = Server::start(lab)?;
    // The token outlives the server that made it.
    let done = client.ended(&id)?;
    ensure(
        done["state"] == "done" && done["epoch"] == 2,
        format!("it was not taken over: {done}"),
    )?;
    let events = client.events(&id)?;
    let named = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    ensure(
        (named("started"), named("resumed"), named("done")) == (1, 1, 1),
        format!("{events:?}"),
    )?;
    let plan = client.plan()?;
    ensure(
        plan["changes"] == false,
        format!("something is left: {plan}"),
    )?;
    // One history, whoever carried an operation out.
    lab.edit("snapshot-count = 4321", "snapshot-count = 4322")?;
    lab.apply()?;
    let all = client.get("/v1/operations")?;
    let whos = all["operations"].as_array().into_iter().flatten();
    let whos: Vec<&str> = whos.filter_map(|one| one["who"].as_str()).collect();
    ensure(
        whos.len() == 3 && !whos[0].starts_with("token_") && whos[1] == "token_ann",
        format!("the history is {whos:?}"),
    )
}
