//! Snapshots that are kept elsewhere, in an object store, encrypted; and those that a server takes.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::context::{Context, Scenario};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure, note};
use crate::running::Running;
use crate::serving::{AT as SERVED, Client, Server, text};
use crate::setup::example;

/// Where the object store listens, within the lab's network, and what it asks for.
const AT: &str = "127.0.0.1:9000";
const SECRET: &str = "hush-hush";

pub(crate) const ALL: &[Scenario] = &[
    ("snapshots-in-an-object-store", in_an_object_store),
    ("snapshots-over-http", over_http),
];

/// All of a snapshot's life is over S3 and encrypted by `age`: what lies there is nothing that a
/// thief could read, and comes back as it was.
fn in_an_object_store(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    let buckets = tempfile::tempdir().map_err(|error| error.to_string())?;
    std::fs::create_dir(buckets.path().join("backups")).map_err(|error| error.to_string())?;
    let program = example("objects")?;
    let root = buckets.path().to_string_lossy();
    let mut server = Running::start(lab.command(&program.to_string_lossy(), &[&root, AT]))?;
    let serves = || Ok(lab.inside(&format!("curl -s http://{AT}"))?.code == 0);
    server.until(Duration::from_secs(20), "an object store", serves)?;
    lab.inside("age-keygen -o age.key && chmod 600 age.key && age-keygen -y age.key >age.pub")?
        .exits(0)?;
    lab.write(
        "s3.env",
        &format!("AWS_ACCESS_KEY_ID=AKETCDUP\nAWS_SECRET_ACCESS_KEY={SECRET}\n"),
    )?;
    lab.inside("chmod 644 s3.env")?.exits(0)?;
    let place = format!(
        "[snapshots]\nto = \"s3://backups/etcd\"\ncredentials = \"s3.env\"\n\
         options = {{ endpoint = \"http://{AT}\", region = \"eu-1\", allow_http = \"true\" }}\n\
         encrypt = [\"age\", \"--recipients-file\", \"age.pub\"]\n\
         decrypt = [\"age\", \"--decrypt\", \"--identity\", \"age.key\"]"
    );
    lab.topology(&context.version, &place, 1)?;
    lab.apply()?;
    lab.etcdctl(&Lab::endpoints(1), &["put", "kept", "hush-in-the-store"])?
        .exits(0)?;
    lab.etcdup(&["snapshot", "save"])?
        .exits(1)?
        .says("chmod 600")?;
    lab.inside("chmod 600 s3.env")?.exits(0)?;
    lab.etcdup(&["snapshot", "list"])?
        .exits(0)?
        .says("There is no snapshot in s3://backups/etcd/prod")?;
    let saved = lab.etcdup(&["snapshot", "save"])?.exits(0)?;
    ensure(
        saved.out.starts_with("s3://backups/etcd/prod/prod-") && saved.out.ends_with(".db.enc\n"),
        saved.all(),
    )?;
    let plain = lab.inside(&format!(
        "grep -rl hush-in-the-store {}",
        buckets.path().display()
    ))?;
    ensure(
        plain.out.is_empty(),
        format!("in plain text: {}", plain.out),
    )?;
    lab.etcdup(&["snapshot", "verify"])?
        .exits(0)?
        .says("whole")?;
    lab.etcdup(&["snapshot", "drill"])?
        .exits(0)?
        .says("1 key,")?;
    lab.etcdup(&["status"])?.exits(0)?.says("snapshot")?;
    lab.etcdctl(&Lab::endpoints(1), &["put", "kept", "later"])?
        .exits(0)?;
    lab.etcdup(&["restore", "latest", "--confirm", "prod"])?
        .exits(0)?;
    lab.etcdctl(&Lab::endpoints(1), &["get", "kept"])?
        .exits(0)?
        .says("hush-in-the-store")?;
    // What was decrypted for it is gone.
    lab.inside("ls snapshots/prod/.restore/*.db")?
        .says("No such file")?;
    // The restore kept what was there, which takes no place of another: the rule keeps one of each.
    lab.etcdup(&["snapshot", "save"])?.exits(0)?;
    lab.edit(
        "[snapshots]",
        "[snapshots]\nkeep = { last = 1, hourly = 0, daily = 0, weekly = 0 }",
    )?;
    lab.etcdup(&["snapshot", "prune", "--yes"])?
        .exits(0)?
        .says("1 snapshot deleted, 2 snapshots kept")?;
    left(buckets.path(), 2)?;
    lab.edit("allow_http", "timeout = \"2s\", allow_http")?;
    // The server answers nothing of what it is sent, and then is gone.
    lab.inside(&format!("kill -STOP {}", server.id()))?
        .exits(0)?;
    let start = Instant::now();
    let mut cut = lab.start(&["snapshot", "save"])?;
    thread::sleep(Duration::from_secs(1));
    server.kill()?;
    let status = cut.wait()?;
    ensure(
        status.code() == Some(1) && cut.printed().contains("s3://backups/etcd/prod"),
        format!("{status}: {}", cut.printed()),
    )?;
    note!(
        "given up {:.0} s after it began",
        start.elapsed().as_secs_f64()
    );
    left(buckets.path(), 2)?;
    lab.etcdup(&["snapshot", "list"])?
        .exits(1)?
        .says("s3://backups/etcd/prod")?
        .never_says(SECRET)?;
    left(buckets.path(), 2)
}

/// So many snapshots lie in the bucket.
fn left(buckets: &Path, count: usize) -> Outcome {
    let place = buckets.join("backups/etcd/prod");
    let names = std::fs::read_dir(&place).map_err(|error| error.to_string())?;
    let names = names.flatten().map(|entry| entry.file_name());
    let names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".db.enc"))
        .collect();
    ensure(names.len() == count, format!("left: {names:?}"))
}

/// A server takes what is due, and what a client asks for; it reads them, drills them and plans a
/// restore, which an admin alone may begin.
fn over_http(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    // A command that anybody could undo: what matters is that it is undone for no longer than that
    // takes.
    let place =
        "[snapshots]\nevery = \"1h\"\nencrypt = [\"gzip\", \"-c\"]\ndecrypt = [\"gzip\", \"-dc\"]";
    lab.topology(&context.version, place, 1)?;
    lab.apply()?;
    lab.etcdctl(&Lab::endpoints(1), &["put", "kept", "yes"])?
        .exits(0)?;
    let _server = Server::start(&lab)?;
    let client = Client::new(&lab)?;
    let path = "/v1/clusters/etcdup/snapshots";
    let start = Instant::now();
    let due = loop {
        let list = client.get(path)?;
        if let Some(name) = list["snapshots"][0]["name"].as_str() {
            break name.to_owned();
        }
        ensure(
            start.elapsed() < Duration::from_secs(60),
            format!("none was taken that was due: {list}"),
        )?;
        thread::sleep(Duration::from_millis(500));
    };
    let (status, taken) = client.call("POST", path, &[], None)?;
    ensure(
        status == 201 && taken["member"] == "m1" && text(&taken, "who")?.starts_with("token_ann@"),
        format!("{status} {taken}"),
    )?;
    let list = client.get(path)?;
    ensure(
        list["snapshots"].as_array().map_or(0, Vec::len) == 2
            && list["snapshots"][0]["name"] == taken["name"]
            && list["every"] == "1h",
        format!("{list}"),
    )?;
    let work =
        |name: &str, what: &str| client.call("POST", &format!("{path}/{name}/{what}"), &[], None);
    let (status, read) = work(&due, "verify")?;
    ensure(status == 200 && read["whole"] == true, format!("{read}"))?;
    let (status, drilled) = work("latest", "drill")?;
    ensure(
        status == 200 && drilled["restored"]["keys"] == 1,
        format!("{status} {drilled}"),
    )?;
    let host = Lab::address(1);
    let (status, drilled) = work("latest", &format!("drill?on={host}"))?;
    ensure(
        status == 200 && drilled["restored"]["host"] == host,
        format!("{status} {drilled}"),
    )?;
    let (status, nowhere) = work("latest", "drill?on=nowhere")?;
    ensure(status == 404, format!("{status} {nowhere}"))?;
    let (status, none) = work("../../etc", "verify")?;
    ensure(status == 404, format!("{status} {none}"))?;
    // Undone it is another one than was kept.
    lab.inside(&format!(
        "cd snapshots/prod && gzip -dc {due}.db.enc >plain && printf x | dd of=plain bs=1 seek=5000 conv=notrunc 2>&1 \
         && gzip -c plain >{due}.db.enc && rm plain"
    ))?
    .exits(0)?;
    let (_, read) = work(&due, "verify")?;
    ensure(read["whole"] == false, format!("{read}"))?;
    let plan = |body: Value| client.call("POST", "/v1/clusters/etcdup/plans", &[], Some(&body));
    let (status, damaged) = plan(json!({ "verb": "restore", "snapshot": due }))?;
    ensure(status == 422, format!("{status} {damaged}"))?;
    newest_is_measured(&lab)?;
    let (status, restore) = plan(json!({ "verb": "restore", "snapshot": "latest" }))?;
    ensure(
        status == 201 && restore["changes"] == true,
        format!("{status} {restore}"),
    )?;
    let body = json!({ "verb": "restore", "plan": restore["digest"], "confirm": "prod" });
    let (status, refused) =
        client.call("POST", "/v1/clusters/etcdup/operations", &[], Some(&body))?;
    ensure(status == 403, format!("an operator: {status} {refused}"))?;
    let (status, recover) = plan(json!({ "verb": "recover", "gone": [] }))?;
    ensure(
        status == 201 && recover["findings"][0]["id"] == "quorum-not-lost",
        format!("{status} {recover}"),
    )?;
    restored_by_an_admin(&lab, &restore)
}

/// An admin who types the cluster's name restores what was planned.
fn restored_by_an_admin(lab: &Lab, plan: &Value) -> Outcome {
    lab.etcdctl(&Lab::endpoints(1), &["put", "later", "yes"])?
        .exits(0)?;
    let admin = Client::named(lab, "eve", "admin")?;
    let begin = |confirm: Option<&str>| {
        let mut body = json!({ "verb": "restore", "plan": plan["digest"] });
        if let Some(name) = confirm {
            body["confirm"] = name.into();
        }
        let path = "/v1/clusters/etcdup/operations";
        admin.call("POST", path, &[], Some(&body))
    };
    for unconfirmed in [None, Some("etcdup")] {
        let (status, refused) = begin(unconfirmed)?;
        ensure(
            (400..500).contains(&status),
            format!("{unconfirmed:?}: {status} {refused}"),
        )?;
    }
    let (status, begun) = begin(Some("prod"))?;
    ensure(status == 202, format!("{status} {begun}"))?;
    let ended = admin.ended(begun["id"].as_str().unwrap_or_default())?;
    ensure(ended["state"] == "done", format!("{ended}"))?;
    let get = |key: &str| lab.etcdctl(&Lab::endpoints(1), &["get", key, "--print-value-only"]);
    let (kept, later) = (get("kept")?.exits(0)?.out, get("later")?.exits(0)?.out);
    ensure(
        kept == "yes\n" && later.is_empty(),
        format!("kept {kept:?}, later {later:?}"),
    )?;
    // What was decrypted for it is gone; its record is not.
    lab.inside("ls snapshots/prod/.restore/*.db")?
        .says("No such file")?;
    lab.nothing_to_do()
}

/// The metrics say when the newest was taken: a moment ago.
fn newest_is_measured(lab: &Lab) -> Outcome {
    let token = lab.etcdup(&["token", "create", "prometheus", "--role", "viewer"])?;
    let token = token.exits(0)?.out;
    let ask = format!(
        "curl -s -H 'Authorization: Bearer {}' {SERVED}/metrics",
        token.trim()
    );
    let start = Instant::now();
    loop {
        let said = lab.inside(&ask)?.exits(0)?.out;
        let mut lines = said.lines();
        let taken = lines.find(|line| line.contains("cluster_snapshot_taken_timestamp_seconds{"));
        let taken = taken.and_then(|line| line.split(' ').nth(1)?.parse::<f64>().ok());
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH);
        let age = now.unwrap_or_default().as_secs_f64() - taken.unwrap_or_default();
        if (0.0..120.0).contains(&age) {
            return Ok(());
        }
        // It is asked for every half a minute.
        ensure(start.elapsed() < Duration::from_secs(60), &said)?;
        thread::sleep(Duration::from_millis(500));
    }
}
