//! Snapshots that are kept elsewhere: in an object store, encrypted.

use std::path::Path;
use std::time::Duration;

use super::context::{Context, Scenario};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};
use crate::running::Running;
use crate::setup::example;

/// Where the object store listens, within the lab's network, and what it asks for.
const AT: &str = "127.0.0.1:9000";
const SECRET: &str = "hush-hush";

pub(crate) const ALL: &[Scenario] = &[("snapshots-in-an-object-store", in_an_object_store)];

/// All of a snapshot's life is over S3 and encrypted by `age`: what lies there is nothing that a
/// thief could read, and comes back as it was.
fn in_an_object_store(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    let buckets = tempfile::tempdir().map_err(|error| error.to_string())?;
    std::fs::create_dir(buckets.path().join("backups")).map_err(|error| error.to_string())?;
    let program = example("etcdup-deploy", "objects", false)?;
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
    lab.inside("ls snapshots/prod/*.db")?.says("No such file")?;
    // The restore kept what was there, so that two are; the rule keeps one.
    lab.edit(
        "[snapshots]",
        "[snapshots]\nkeep = { last = 1, hourly = 0, daily = 0, weekly = 0 }",
    )?;
    lab.etcdup(&["snapshot", "prune", "--yes"])?
        .exits(0)?
        .says("1 snapshot deleted, 1 snapshot kept")?;
    left(buckets.path(), 1)?;
    // The server is gone.
    server.kill()?;
    lab.edit("allow_http", "timeout = \"2s\", allow_http")?;
    lab.etcdup(&["snapshot", "list"])?
        .exits(1)?
        .says("s3://backups/etcd/prod")?
        .never_says(SECRET)?;
    left(buckets.path(), 1)
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
