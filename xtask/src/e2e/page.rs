//! The server's page in a real browser, and its API under a fuzzer that reads its own document.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::context::{Context, Scenario};
use crate::dashboard::Node;
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure, note};
use crate::serving::{AT, Client, Server, text, with_sources};
use crate::setup::{page, python, root};

pub(super) const ALL: &[Scenario] = &[
    ("page-in-chromium", page_in_chromium),
    ("api-under-a-fuzzer", api_under_a_fuzzer),
];

/// A server at a terminal of its own, which is where it prints the code to sign in with.
struct AtTerminal {
    terminal: Child,
    /// Where its process ID is: it may outlive its terminal.
    pid: PathBuf,
}

impl AtTerminal {
    /// Starts it in the lab; what it says goes to this file of the operator's.
    fn start(context: &Context, lab: &Lab, said: &str) -> Result<Self, String> {
        let serve = format!("echo $$ >pid; exec {} serve", context.etcdup.display());
        let mut command = lab.command("script", &["-qfc", &serve, said]);
        let child = command.stdout(std::process::Stdio::null()).spawn();
        Ok(Self {
            terminal: child.map_err(|error| format!("script: {error}"))?,
            pid: lab.work.path().join("pid"),
        })
    }
}

impl Drop for AtTerminal {
    fn drop(&mut self) {
        if let Ok(pid) = std::fs::read_to_string(&self.pid) {
            let _ = Command::new("kill").args(["-KILL", pid.trim()]).status();
        }
        let _ = self.terminal.kill();
        let _ = self.terminal.wait();
    }
}

/// Signs in, adds a cluster, applies, loses a member, repairs it: what a person does, in Chromium,
/// on three real hosts, under axe's eyes.
fn page_in_chromium(context: &Context) -> Outcome {
    let node = Node::find()?;
    let lab = context.lab(3)?;
    lab.topology(&context.version, "", 3)?;
    let (topology, sources) = with_sources(&lab, &context.version)?;
    lab.inside("mv etcdup.toml first.txt")?.exits(0)?;
    lab.write("sources.toml", &sources)?;
    lab.write("topology.txt", &topology)?;
    let _server = AtTerminal::start(context, &lab, "said")?;
    let start = Instant::now();
    let code = loop {
        let said = lab.read("said").unwrap_or_default();
        if let Some((_, code)) = said.split_once("#code=") {
            break code.chars().take(32).collect::<String>();
        }
        ensure(start.elapsed() < Duration::from_secs(10), said)?;
        thread::sleep(Duration::from_millis(50));
    };
    let place = |name: &str| lab.work.path().join(name);
    let hosts = root().join("xtask/testbed/hosts.sh");
    let stop = format!(
        "bash {} in {} 2 systemctl stop etcd",
        hosts.display(),
        lab.name()
    );
    // A host that is gone leaves every connection waiting; one without sshd refuses it at once,
    // and is as much out of reach.
    let gone = |host: u32| match context.long {
        true => format!("bash {} kill {} {host}", hosts.display(), lab.name()),
        false => format!(
            "bash {} in {} {host} sh -c 'systemctl stop etcd ssh; pkill -KILL -x sshd || :'",
            hosts.display(),
            lab.name()
        ),
    };
    let lose = [2, 3].map(gone);
    let (node, script) = (
        node.program().to_string_lossy(),
        page().join("tests/walk.mjs"),
    );
    let mut walk = lab.command(&node, &[&script.to_string_lossy()]);
    walk.env("ETCDUP_AT", AT)
        .env("ETCDUP_CODE", code)
        .env("ETCDUP_TOPOLOGY", place("topology.txt"))
        .env("ETCDUP_STOP", stop)
        .env("ETCDUP_LOSE", lose.join("; "));
    if context.long {
        walk.env("ETCDUP_LONG", "1");
    }
    if let Some(shots) = std::env::var_os("ETCDUP_SHOTS") {
        walk.env("ETCDUP_SHOTS", shots);
    }
    Lab::run(walk)?
        .exits(0)?
        .says("nothing else was complained of")?;
    Ok(())
}

/// What a fuzzer may answer a request with that its document allows: it knows neither what a
/// topology is nor which plans there are.
const EXPECTED: &str = r#"["2xx", "304", "401", "403", "404", "409", "412", "422", "428", "429"]"#;

/// Every path but streams, with whatever the document allows and forbids.
fn api_under_a_fuzzer(context: &Context) -> Outcome {
    let schemathesis = python("schemathesis", "schemathesis==4.32.5")?.join("bin/st");
    let lab = context.lab(1)?;
    lab.topology(&context.version, "", 1)?;
    lab.apply()?;
    let _server = Server::start(&lab)?;
    let made = lab.etcdup(&["token", "create", "fuzzer", "--role", "admin"])?;
    let token = made.exits(0)?.out.trim().to_owned();
    let client = Client::new(&lab)?;
    let plan = client.plan()?;
    let operations = client.get("/v1/operations")?;
    let config = format!(
        "[parameters]\n\"path.cluster\" = \"etcdup\"\n\"path.id\" = \"{}\"\n\
         \"path.digest\" = \"{}\"\n[checks.positive_data_acceptance]\n\
         expected-statuses = {EXPECTED}\n",
        text(&operations["operations"][0], "id")?,
        text(&plan, "digest")?,
    );
    lab.write("schemathesis.toml", &config)?;
    // The same requests each time in the sample, so that what fails is of the change at hand.
    let sample = ["--max-examples", "10", "--seed", "20261129"];
    let scope: &[&str] = if context.long {
        &["--max-examples", "160"]
    } else {
        &sample
    };
    let authorization = format!("Authorization: Bearer {token}");
    let url = format!("{AT}/openapi.json");
    let said = Lab::run(
        lab.command(
            &schemathesis.to_string_lossy(),
            &[
                "--config-file",
                "schemathesis.toml",
                "run",
                &url,
                "--header",
                &authorization,
                // Streams do not end.
                "--exclude-path-regex",
                "/stream$",
                "--continue-on-failure",
                "--suppress-health-check",
                "all",
                "--no-color",
            ]
            .into_iter()
            .chain(scope.iter().copied())
            .collect::<Vec<_>>(),
        ),
    )?;
    let cases = said.out.lines().filter(|line| line.contains("generated"));
    note!("{}", cases.map(str::trim).collect::<Vec<_>>().join(" "));
    said.exits(0)?;
    // What was sent by the thousand neither stopped the server nor changed the cluster.
    let (status, plan) = client.call(
        "POST",
        "/v1/clusters/etcdup/plans",
        &[],
        Some(&json!({ "verb": "apply" })),
    )?;
    ensure(
        status == 201 && plan["changes"] == false,
        format!("{status} {plan}"),
    )
}
