//! `etcdup snapshot`: the cluster's store as a file, what is kept of it, and what of that is whole.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcdup_core::plain::chain;
use etcdup_core::restore::RestoreOrder;
use etcdup_core::stage::Goal;
use etcdup_deploy::snapshots::{
    FlowError, KeptSnapshot, SnapshotStore, Surplus, TakeError, surplus,
};
use etcdup_deploy::{Cluster, DeployError};
use etcdup_planner::restore_under_way;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::arguments::Snapshot;
use crate::command::context::{Context, directory_of, host_of, member_of};
use crate::command::timer::Units;
use crate::exit;
use crate::view::print::errln;
use crate::view::progress::Display;
use crate::view::{self, age_of, count, outln};

/// Why the command failed.
enum Failed {
    /// A cluster or its file is at fault.
    Deploy(Box<DeployError>),
    /// No snapshot was taken.
    Take(TakeError),
    /// A file here is at fault, or what was typed.
    Here(String),
}

impl From<DeployError> for Failed {
    fn from(error: DeployError) -> Self {
        Self::Deploy(Box::new(error))
    }
}

pub(crate) async fn run(context: &Context, arguments: &Snapshot) -> u8 {
    let done = match arguments {
        Snapshot::Save { member } => save(context, member.as_deref()).await,
        Snapshot::List => list(context).await,
        Snapshot::Verify { snapshots } => check(context, snapshots).await,
        Snapshot::Drill { snapshot, on } => drill(context, snapshot, on.as_deref()).await,
        Snapshot::Get { snapshot, to } => get(context, snapshot, to).await,
        Snapshot::Prune { yes, dry_run } => prune(context, *yes, *dry_run).await,
        Snapshot::Timer { install } => timer(context, *install),
    };
    match done {
        Ok(code) => code,
        Err(Failed::Deploy(error)) => context.fail(&error),
        Err(Failed::Take(error)) => {
            view::error::plain(&chain(&error));
            exit::FAILED
        }
        Err(Failed::Here(message)) => {
            view::error::plain(&message);
            exit::FAILED
        }
    }
}

async fn save(context: &Context, member: Option<&str>) -> Result<u8, Failed> {
    let session = context.session().await?;
    let (planner, seen) = session.observe(Goal::CONVERGE).await?;
    let topology = planner.topology();
    let of = match member {
        None => None,
        Some(name) => match member_of(topology, name) {
            Some(member) => Some(member.name.clone()),
            None => return Ok(exit::USAGE),
        },
    };
    let display = Display::new(context.json());
    let progress = display.progress();
    let show = |done: u64, total: u64| {
        if let Some(progress) = &progress {
            progress("snapshot", done, total);
        }
    };
    let saving = session.take_snapshot(topology, &seen, of.as_ref(), show);
    let saved = tokio::select! {
        saved = saving => Some(saved),
        () = context.cancel.cancelled() => None,
    };
    display.clear();
    let Some(saved) = saved else {
        return Ok(exit::STOPPED);
    };
    let (store, document) = saved.map_err(Failed::Take)?;
    if context.json() {
        view::json::document(&document);
    } else {
        // Alone on standard output, so that a script can take it from there.
        outln!("{}", store.show_one(&document.name));
        errln!(
            "saved and verified: {} of {}, at revision {} or later, by etcd {}",
            size(document.size),
            document.member,
            document.revision,
            document.etcd
        );
    }
    Ok(exit::DONE)
}

async fn drill(context: &Context, snapshot: &str, on: Option<&str>) -> Result<u8, Failed> {
    let kept = named_or_file(context, snapshot).await?;
    let session = context.session().await?;
    let topology = session.resolved().await?;
    let on = match on {
        None => None,
        Some(name) => match host_of(&topology, name) {
            Some(host) => Some(host),
            None => return Ok(exit::USAGE),
        },
    };
    let drilling = session.drill(&topology, &kept, on);
    let drilled = tokio::select! {
        drilled = drilling => drilled,
        () = context.cancel.cancelled() => return Ok(exit::STOPPED),
    };
    let drilled = drilled.map_err(|why| {
        let found = match why.is_of_snapshot() {
            true => "cannot be restored",
            false => "was not tried",
        };
        Failed::Here(format!("{} {found}: {}", kept.name, chain(&why)))
    })?;
    if context.json() {
        view::json::print("drill", &json!(drilled));
        return Ok(exit::DONE);
    }
    let keys = drilled.keys.map_or_else(
        || "its keys cannot be counted, for authentication is on".to_owned(),
        |keys| count(usize::try_from(keys).unwrap_or_default(), "key"),
    );
    outln!(
        "restored and read back{}: {}, at revision {}, {keys}, by etcd {}, in {:.1} s",
        drilled
            .host
            .map_or_else(String::new, |host| format!(" on {host}")),
        drilled.snapshot,
        drilled.revision,
        drilled.etcd,
        Duration::from_millis(drilled.took_ms).as_secs_f32()
    );
    Ok(exit::DONE)
}

async fn list(context: &Context) -> Result<u8, Failed> {
    let (store, found) = listed(context).await?;
    if context.json() {
        let snapshots: Vec<Value> = found.iter().map(one).collect();
        let document = json!({ "at": store.show(), "snapshots": snapshots });
        view::json::print("snapshots", &document);
        return Ok(exit::DONE);
    }
    if found.is_empty() {
        outln!(
            "There is no snapshot in {}: take one with `etcdup snapshot save`.",
            store.show()
        );
        return Ok(exit::DONE);
    }
    let rows: Vec<Vec<String>> = found.iter().rev().map(row).collect();
    let head = [
        "snapshot", "age", "size", "revision", "etcd", "member", "remarks",
    ];
    view::table::print_fitting(&head, &rows, &["member", "etcd", "revision"]);
    Ok(exit::DONE)
}

/// Reads snapshots to their end: those that are named, or all that are kept.
async fn check(context: &Context, names: &[String]) -> Result<u8, Failed> {
    let mut wanted = Vec::new();
    if names.is_empty() {
        let (store, found) = listed(context).await?;
        if found.is_empty() {
            let place = store.show();
            return Err(Failed::Here(format!("there is no snapshot in {place}")));
        }
        wanted = found;
    }
    for name in names {
        wanted.push(named_or_file(context, name).await?);
    }
    let mut checked: Vec<(String, Result<String, FlowError>)> = Vec::new();
    for kept in &wanted {
        checked.push((kept.show(), kept.verify().await));
    }
    let bad = checked.iter().filter(|(_, found)| found.is_err()).count();
    if context.json() {
        let one = |(path, found): &(String, Result<String, FlowError>)| match found {
            Ok(sha256) => json!({ "file": path, "whole": true, "sha256": sha256 }),
            Err(fault) => json!({
                "file": path,
                // Of what could not be read nothing is known.
                "whole": fault.is_damage().then_some(false),
                "why": chain(fault),
            }),
        };
        let snapshots: Vec<Value> = checked.iter().map(one).collect();
        view::json::print("snapshots-verified", &json!({ "snapshots": snapshots }));
    } else {
        for (path, found) in &checked {
            match found {
                Ok(_) => outln!("whole    {path}"),
                Err(fault) => {
                    let word = match fault.is_damage() {
                        true => "damaged ",
                        false => "unread  ",
                    };
                    outln!("{word} {}", view::harmless(&chain(fault)));
                }
            }
        }
    }
    if bad == 0 {
        return Ok(exit::DONE);
    }
    errln!(
        "{bad} of {} damaged, or could not be read",
        count(checked.len(), "snapshot")
    );
    Ok(exit::FAILED)
}

/// Copies one that is whole into a file of its own.
async fn get(context: &Context, name: &str, to: &Path) -> Result<u8, Failed> {
    let kept = named(context, name).await?;
    let to = if to.is_dir() {
        to.join(format!("{}.db", kept.name))
    } else {
        to.to_owned()
    };
    let copied = kept.copy_to(&to).await;
    copied.map_err(|error| Failed::Here(chain(&error)))?;
    if context.json() {
        let document = json!({ "name": kept.name, "file": to.display().to_string() });
        view::json::print("snapshot-copied", &document);
    } else {
        outln!("{}", to.display());
    }
    Ok(exit::DONE)
}

/// Deletes those that `[snapshots] keep` does not keep. The newest that is whole is always kept.
async fn prune(context: &Context, yes: bool, dry_run: bool) -> Result<u8, Failed> {
    let (document, _) = context.document()?;
    let (store, found) = listed(context).await?;
    let all = count(found.len(), "snapshot");
    let Some(Surplus { gone, stay }) = surplus(found, &document.spec.snapshots.keep).await else {
        let place = store.show();
        return Err(Failed::Here(format!(
            "none of the {all} in {place} is whole: nothing is deleted; see `etcdup snapshot verify`"
        )));
    };
    let names: Vec<String> = gone.iter().map(|kept| kept.name.clone()).collect();
    if !context.json() {
        for name in &names {
            outln!("- {name}");
        }
    }
    let deleted = count(gone.len(), "snapshot");
    let stays = count(stay, "snapshot");
    if !gone.is_empty() && !dry_run && !yes {
        if !std::io::stdin().is_terminal() {
            view::error::plain("stdin is not a terminal; use --yes to delete them");
            return Ok(exit::UNAPPROVED);
        }
        let question = format!("Delete {deleted} and keep {stays}?");
        match view::ask::yes(&question) {
            view::ask::Answer::Yes => {}
            view::ask::Answer::No => return Ok(exit::UNAPPROVED),
            view::ask::Answer::Stop => return Ok(exit::STOPPED),
        }
    }
    if !gone.is_empty() && !dry_run {
        // The one that is being restored may be among them, and is needed until that has ended.
        let (planner, seen) = context.session().await?.observe(Goal::CONVERGE).await?;
        let mut hosts = planner.topology().member_hosts();
        if hosts.all(|host| seen.host(host).is_none()) {
            let why =
                "no host answers that would say whether a restore is under way: nothing is deleted";
            return Err(Failed::Here(why.to_owned()));
        }
        if let Some(restore) = restore_under_way(planner.topology(), &seen) {
            return Err(Failed::Here(format!(
                "the cluster is being restored from {}: nothing is deleted before that has ended",
                restore.snapshot
            )));
        }
        for kept in &gone {
            let failed = |error| Failed::Here(chain(&error));
            kept.delete().await.map_err(failed)?;
        }
    }
    let word = if dry_run {
        "would be deleted"
    } else {
        "deleted"
    };
    if context.json() {
        let document = json!({ "deleted": names, "kept": stay, "dry-run": dry_run });
        view::json::print("snapshots-pruned", &document);
    } else {
        outln!("{deleted} {word}, {stays} kept");
    }
    Ok(exit::DONE)
}

/// Where the cluster's snapshots are kept.
fn store(context: &Context) -> Result<SnapshotStore, Failed> {
    let (document, path) = context.document()?;
    let (base, spec) = (directory_of(&path), &document.spec);
    let store = SnapshotStore::of(base, &spec.snapshots, &spec.cluster);
    store.map_err(|error| Failed::Here(chain(&error)))
}

/// What is kept of them, the oldest first.
async fn listed(context: &Context) -> Result<(SnapshotStore, Vec<KeptSnapshot>), Failed> {
    let store = store(context)?;
    let failed = |error| Failed::Here(chain(&error));
    let found = store.list().await.map_err(failed)?;
    Ok((store, found))
}

/// A file, or the kept snapshot of this name, or the newest for `latest`.
async fn named_or_file(context: &Context, name: &str) -> Result<KeptSnapshot, Failed> {
    let path = Path::new(name);
    if !path.is_file() {
        let is_url = name.contains("://");
        let is_kept = !name.contains('/') || is_url || name.starts_with(&store(context)?.show());
        return match is_kept {
            true => named(context, name).await,
            false => Err(Failed::Here(format!("there is no file {name}"))),
        };
    }
    let failed = |error| Failed::Here(format!("{}: {error}", path.display()));
    let kept = KeptSnapshot::at(path).map_err(failed)?;
    match kept.is_encrypted() {
        true => store(context)?.at(path).map_err(failed),
        false => Ok(kept),
    }
}

/// An order to restore a file, or the kept snapshot of this name.
///
/// # Errors
/// Why there is none, in words.
pub(crate) async fn order(
    context: &Context,
    cluster: &Cluster,
    name: &str,
    bump: bool,
    again: bool,
) -> Result<RestoreOrder, String> {
    let found = async {
        let kept = named_or_file(context, name).await?;
        Ok(cluster.restore_order_of(kept, bump, again).await?)
    };
    found.await.map_err(|failed| match failed {
        Failed::Deploy(error) => chain(&error),
        Failed::Take(error) => chain(&error),
        Failed::Here(why) => why,
    })
}

/// The one of this name, or the newest for `latest`.
async fn named(context: &Context, name: &str) -> Result<KeptSnapshot, Failed> {
    let store = store(context)?;
    // As `save` prints it.
    let place = format!("{}/", store.show());
    let wanted = name.strip_prefix(&place).unwrap_or(name);
    let wanted = wanted.trim_end_matches(".enc").trim_end_matches(".db");
    let found = store.find(wanted).await;
    let found = found.map_err(|error| Failed::Here(chain(&error)))?;
    found.ok_or_else(|| {
        let place = store.show();
        Failed::Here(format!(
            "no snapshot `{name}` in {place}; `etcdup snapshot list` shows what is there"
        ))
    })
}

fn one(kept: &KeptSnapshot) -> Value {
    json!({
        "at": kept.show(),
        "encrypted": kept.is_encrypted(),
        "name": kept.name,
        "taken": kept.taken.to_string(),
        "size": kept.size,
        "document": kept.document,
    })
}

fn row(kept: &KeptSnapshot) -> Vec<String> {
    let document = kept.document.as_ref();
    let of = |text: Option<String>| text.unwrap_or_else(|| "not known".to_owned());
    vec![
        kept.name.clone(),
        age_of(Timestamp::now().duration_since(kept.taken).as_secs()),
        size(kept.size),
        of(document.map(|document| document.revision.to_string())),
        of(document.map(|document| document.etcd.clone())),
        of(document.map(|document| document.member.to_string())),
        remarks(kept),
    ]
}

/// What sets one apart from the others.
fn remarks(kept: &KeptSnapshot) -> String {
    let replaced = kept
        .document
        .as_ref()
        .is_some_and(|document| document.replaced);
    let remarks = [
        (replaced, "replaced by a restore"),
        (kept.is_encrypted(), "encrypted"),
    ];
    let remarks = remarks.iter().filter(|(holds, _)| *holds);
    let remarks: Vec<&str> = remarks.map(|(_, remark)| *remark).collect();
    match remarks.is_empty() {
        true => "-".to_owned(),
        false => remarks.join(", "),
    }
}

fn size(bytes: u64) -> String {
    if bytes < 1 << 20 {
        format!("{} KiB", bytes >> 10)
    } else {
        format!("{} MiB", bytes >> 20)
    }
}

/// The timer's units, for this machine.
fn timer(context: &Context, install: bool) -> Result<u8, Failed> {
    let (document, path) = context.document()?;
    let spec = &document.spec;
    let Some(every) = spec.snapshots.every else {
        let why = "the file does not say how often: add `every = \"6h\"` under [snapshots]";
        return Err(Failed::Here(why.to_owned()));
    };
    if !context.global.set.is_empty() || !context.global.target.is_empty() {
        let why = "the timer runs with the file alone: write into it what --set or --target says";
        return Err(Failed::Here(why.to_owned()));
    }
    let here = |error: std::io::Error| {
        Failed::Here(format!(
            "the path of this program or of its file is not known: {error}"
        ))
    };
    // Links stay links: one to a release leads to the next, and what lies beside a link to a file
    // lies where the link is.
    let units = Units {
        cluster: spec.cluster.as_str(),
        program: &program().map_err(here)?,
        file: &std::path::absolute(&path).map_err(here)?,
        every,
    };
    if install {
        let place = units.install().map_err(Failed::Here)?;
        errln!("installed and started: {}", place.display());
        return Ok(exit::DONE);
    }
    for (name, text) in units.all() {
        outln!("# {name}\n{text}");
    }
    Ok(exit::DONE)
}

/// This program as it was called, links and all.
fn program() -> std::io::Result<PathBuf> {
    let called = PathBuf::from(std::env::args_os().next().unwrap_or_default());
    if called.components().count() > 1 {
        return std::path::absolute(called);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|place| place.join(&called));
    match places.find(|place| place.is_absolute() && place.is_file()) {
        Some(found) => Ok(found),
        None => std::env::current_exe(),
    }
}
