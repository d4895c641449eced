//! The HTTP API on real hosts: what `curl` sees of it.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::context::{Context, Scenario, numbers_of};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure, note};
use crate::serving::{AT, Client, Server, streamed, streamed_behind, text, with_sources};

pub(super) const ALL: &[Scenario] = &[
    ("served-over-http", served_over_http),
    ("server-killed-at-any-moment", killed_at_any_moment),
];

/// Moments of an apply at which the server is killed, in full.
const MOMENTS: u64 = 50;
/// Those of a sample.
const SAMPLE: u64 = 3;
/// How soon a server that starts again goes on.
const GOES_ON: Duration = Duration::from_secs(20);

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
    // What is answered may be the look of some seconds ago.
    let start = Instant::now();
    loop {
        let members = client.get("/v1/clusters/etcdup/members")?;
        if members["healthy"] == 3 {
            break;
        }
        let late = start.elapsed() > Duration::from_secs(20);
        ensure(!late, format!("{members}"))?;
        thread::sleep(Duration::from_millis(500));
    }
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
    let id = begun_up_to(&client, "third", 8)?;
    drop(server);
    let server = Server::start(lab)?;
    // The token outlives the server that made it.
    went_on(&client, &id)?;
    // One that is asked to stop finishes its stage, takes no work, and leaves the rest.
    lab.edit("snapshot-count = 4321", "snapshot-count = 4322")?;
    let id = begun_up_to(&client, "fourth", 8)?;
    let stopped = server.stop(lab)?;
    ensure(
        stopped.contains(&503) && !stopped.contains(&200),
        format!("while it stops, /readyz answers {stopped:?}"),
    )?;
    let _server = Server::start(lab)?;
    went_on(&client, &id)?;
    // One history, whoever carried an operation out.
    lab.edit("snapshot-count = 4322", "snapshot-count = 4323")?;
    lab.apply()?;
    let all = client.get("/v1/operations")?;
    let whos = all["operations"].as_array().into_iter().flatten();
    let whos: Vec<&str> = whos.filter_map(|one| one["who"].as_str()).collect();
    ensure(
        whos.len() == 4 && !whos[0].starts_with("token_") && whos[1].starts_with("token_ann@"),
        format!("the history is {whos:?}"),
    )
}

/// Begins an apply, and waits until so many of its events are there.
fn begun_up_to(client: &Client<'_>, key: &str, events: usize) -> Result<String, String> {
    let plan = client.plan()?;
    let (status, begun) = client.begin(&plan, key)?;
    ensure(status == 202, format!("begin: {status} {begun}"))?;
    let id = text(&begun, "id")?;
    while client.events(&id)?.len() < events
        && client.get(&format!("/v1/operations/{id}"))?["state"] == "running"
    {
        thread::sleep(Duration::from_millis(10));
    }
    Ok(id)
}

/// An operation that a server left, or died of, was gone on with by the next, once and to its end;
/// how long that took to begin.
fn went_on(client: &Client<'_>, id: &str) -> Result<Duration, String> {
    let start = Instant::now();
    let resumed = loop {
        let operation = client.get(&format!("/v1/operations/{id}"))?;
        if operation["epoch"] != 1 || operation["state"] != "running" {
            break start.elapsed();
        }
        ensure(
            start.elapsed() < GOES_ON,
            format!("nobody goes on: {operation}"),
        )?;
        thread::sleep(Duration::from_millis(50));
    };
    let done = client.ended(id)?;
    ensure(
        done["state"] == "done",
        format!("it ended otherwise: {done}"),
    )?;
    let events = client.events(id)?;
    let named = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    // A server that died between the last event and the record leaves nothing to be gone on with.
    let taken = usize::from(done["epoch"] == 2);
    ensure(
        (named("started"), named("resumed")) == (1, taken) && named("done") >= 1,
        format!("{events:?}"),
    )?;
    let plan = client.plan()?;
    ensure(
        plan["changes"] == false,
        format!("something is left: {plan}"),
    )?;
    Ok(resumed)
}

/// A server is killed at seeded moments of an apply, and started again: each operation ends once
/// and right, and a client that comes again has no gap and nothing twice.
fn killed_at_any_moment(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "flags = { snapshot-count = 5000 }", 3)?;
    lab.apply()?;
    let mut server = Server::start(&lab)?;
    let client = Client::new(&lab)?;
    // How many events an apply of this kind has.
    lab.edit("snapshot-count = 5000", "snapshot-count = 5001")?;
    let id = begun_up_to(&client, "first", usize::MAX)?;
    let events = client.events(&id)?.len() as u64;
    let seed = 20_261_125_u64;
    let mut random = numbers_of(seed);
    let moments = if context.long { MOMENTS } else { SAMPLE };
    let mut slowest = Duration::ZERO;
    for moment in 0..moments {
        let (from, to) = (5001 + moment, 5002 + moment);
        let edit = |count: u64| format!("snapshot-count = {count}");
        lab.edit(&edit(from), &edit(to))?;
        let until = random() % events;
        let until = usize::try_from(until).map_err(|error| error.to_string())?;
        let id = begun_up_to(&client, &format!("moment-{moment}"), until)?;
        let seen = numbers(&client, &id, None)?;
        drop(server);
        server = Server::start(&lab)?;
        let at = format!("seed {seed}, moment {moment}, killed at event {until} of {events}");
        let took = went_on(&client, &id).map_err(|why| format!("{at}: {why}"))?;
        slowest = slowest.max(took);
        let rest = numbers(&client, &id, seen.last().copied())?;
        let all: Vec<u64> = seen.into_iter().chain(rest).collect();
        let whole = all.iter().enumerate().all(|(at, id)| at as u64 == *id);
        ensure(whole, format!("{at}: a client that came again has {all:?}"))?;
    }
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    note!(
        "seed {seed}: killed at {moments} moments of {events} events each, gone on with after \
         {} ms at most",
        slowest.as_millis()
    );
    Ok(())
}

/// The numbers of the events that a stream sends within a moment, behind this one.
fn numbers(client: &Client<'_>, id: &str, last: Option<u64>) -> Result<Vec<u64>, String> {
    let ids = streamed_behind(client, id, last)?;
    ids.iter()
        .map(|id| id.parse().map_err(|_| format!("an event has the ID {id}")))
        .collect()
}
