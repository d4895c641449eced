//! The HTTP API on real hosts: what `curl` sees of it.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::context::{Context, Scenario};
use super::serving::{AT, Client, Server, streamed, text, with_sources};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};

pub(super) const ALL: &[Scenario] = &[("served-over-http", served_over_http)];

/// Sign-in, plan, operation and its events over HTTP; a server that is killed goes on with what it
/// began when it is started again.
fn served_over_http(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "", 3)?;
    let server = Server::start(&lab)?;
    let stranger = Client::stranger(&lab);
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
    let (text, sources) = with_sources(lab, &context.version)?;
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
