//! `etcdup status`: the short view.

use std::time::Duration;

use etcdup_core::membership::{Electorate, Place, Standing};
use etcdup_core::observation::{CORRUPT, MemberView, NO_SPACE, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::stage::Goal;
use etcdup_planner::{Ending, Planner};

use crate::arguments::Status;
use crate::command::context::Context;
use crate::exit;
use crate::view::{self, age_of, count, outln};

/// Alarms that a cluster with a quorum may have all the same, and what to do about each.
const ALARMS: [(&str, &str); 2] = [
    (NO_SPACE, "no member takes writes; run `etcdup maintain`"),
    (
        CORRUPT,
        "members differ, and none takes writes; see `etcdup explain corrupt`",
    ),
];

pub(crate) async fn run(context: &Context, arguments: &Status) -> u8 {
    let session = match context.session().await {
        Ok(session) => session,
        Err(error) => return context.fail(&error),
    };
    loop {
        let (planner, seen) = match session.observe(Goal::CONVERGE).await {
            Ok(observed) => observed,
            Err(error) => return context.fail(&error),
        };
        if context.json() {
            let document = etcdup_deploy::StatusDocument::new(&planner, &seen);
            if arguments.watch {
                view::json::line(&document);
            } else {
                view::json::document(&document);
            }
        } else {
            if arguments.watch {
                // Home and clear, as `watch` does.
                anstream::print!("\x1b[H\x1b[2J");
            }
            print(&planner, &seen);
        }
        let healthy = planner
            .topology()
            .members
            .iter()
            .all(|member| seen.serves(&member.name));
        if !arguments.watch {
            let well = healthy
                && ALARMS
                    .iter()
                    .all(|(alarm, _)| seen.alarms(alarm).is_empty());
            return if well { exit::DONE } else { exit::FAILED };
        }
        tokio::select! {
            () = context.cancel.cancelled() => return exit::STOPPED,
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
        }
    }
}

/// A row a member, then the cluster in one line.
pub(crate) fn print(planner: &Planner, seen: &Observation) {
    let head = [
        "member", "host", "id", "version", "db size", "role", "term", "index", "health",
    ];
    // The first is left out first where the table is too wide. Health gives the reason why a member
    // is unhealthy, so it is never left out.
    let spare = ["index", "term", "db size", "id", "version", "host"];
    let rows = rows(planner, seen);
    view::table::print_fitting(&head, &rows, &spare);
    outln!("{}", summary(planner, seen));
    for (alarm, advice) in ALARMS {
        let raised = seen.alarms(alarm);
        let names = raised.iter().map(|id| seen.shown_name_of(*id));
        let names: Vec<String> = names.collect();
        if !names.is_empty() {
            outln!("alarm {alarm} of {}: {advice}", names.join(", "));
        }
    }
    match &seen.snapshot {
        Observed::Known(Some(newest)) => {
            let age = seen.at.duration_since(newest.taken).as_secs();
            outln!("newest snapshot: {}, {} old", newest.name, age_of(age));
        }
        Observed::Known(None) => outln!("newest snapshot: none is kept"),
        Observed::Unknown(why) => outln!("newest snapshot: not known: {why}"),
    }
}

/// The cluster in one line: how it stands, and what to do next.
fn summary(planner: &Planner, seen: &Observation) -> String {
    let names: Vec<_> = planner
        .topology()
        .members
        .iter()
        .map(|member| member.name.clone())
        .collect();
    let electorate = Electorate::of(seen, &names);
    let (healthy, all) = (electorate.healthy(), electorate.len());
    let cluster = &planner.topology().cluster;
    let unknown = names
        .iter()
        .filter(|name| match seen.members.get(*name) {
            Some(Observed::Unknown(unseen)) => unseen.is_unknown(),
            Some(Observed::Known(_)) => false,
            None => true,
        })
        .count();
    // Whoever could not be asked may be healthy: no quorum is said only where that is known.
    let quorum = if healthy >= electorate.quorum() {
        "has quorum"
    } else if healthy + unknown >= electorate.quorum() {
        "may have quorum"
    } else {
        "has NO quorum"
    };
    let leader = match seen.leader() {
        Some(leader) => format!("leader {leader}"),
        None if unknown > 0 => "leader not known".to_owned(),
        None => "no leader".to_owned(),
    };
    let unknown = if unknown == 0 {
        String::new()
    } else {
        format!(", {unknown} not known")
    };
    let forecast = planner.forecast(seen);
    let next = match (&forecast.ending, forecast.stages.len()) {
        (Ending::Blocked(findings), 0) => {
            let first = findings.first().map_or("", |finding| finding.id.as_str());
            format!("next: `etcdup plan` ({first})")
        }
        (_, 0) => "no changes pending".to_owned(),
        (_, stages) => format!("next: `etcdup apply` ({})", count(stages, "stage")),
    };
    let places = planner.places(seen);
    if places.iter().all(|place| place.standing == Standing::New) {
        return format!("cluster {cluster} is not bootstrapped yet; {next}");
    }
    format!(
        "cluster {cluster} {quorum}: {healthy} of {} healthy{unknown}, {leader}; {next}",
        count(all, "voter")
    )
}

fn rows(planner: &Planner, seen: &Observation) -> Vec<Vec<String>> {
    let places = planner.places(seen).into_iter();
    places
        .filter(|place| !place.has_left())
        .map(|place| row(&place, seen))
        .collect()
}

/// What a member is to the cluster: by its own answer, else by how it stands.
fn role(place: &Place, view: Option<&MemberView>, seen: &Observation) -> String {
    let host = place.host.as_ref();
    let is_being_restored = || host.is_some_and(|host| seen.is_being_restored(host));
    let leads = view.is_some_and(|view| Some(view.id) == view.leader);
    let role = match &place.standing {
        Standing::Voter { .. } if leads => "leader".to_owned(),
        Standing::Voter { .. } if view.is_some() => "follower".to_owned(),
        Standing::Learner {
            behind: Some(behind),
            ..
        } => format!("learner, {behind} behind"),
        Standing::Learner { .. } => "learner".to_owned(),
        Standing::Added { .. } => "added, not started".to_owned(),
        Standing::Lost { .. } if is_being_restored() => "being restored".to_owned(),
        Standing::Lost { .. } => "lost its data".to_owned(),
        Standing::Removed { .. } => "removed".to_owned(),
        Standing::Unmanaged(_) => "in no file".to_owned(),
        Standing::Voter { .. }
        | Standing::New
        | Standing::Bootstrapped(_)
        | Standing::Unknown(_) => "-".to_owned(),
    };
    match (place.leaves, role.as_str()) {
        (true, "-") => "goes".to_owned(),
        (true, _) => format!("{role}, goes"),
        (false, _) => role,
    }
}

fn row(place: &Place, seen: &Observation) -> Vec<String> {
    let name = place.name.as_ref();
    let host = place.host.as_ref();
    let mut row = vec![
        name.map_or_else(|| "(unstarted)".to_owned(), ToString::to_string),
        host.map_or_else(|| "-".to_owned(), ToString::to_string),
    ];
    // Only a member of the topology was asked under its name.
    let observed = name.filter(|_| host.is_some());
    let observed = observed.and_then(|name| seen.members.get(name));
    match observed {
        Some(Observed::Known(view)) => {
            let health = match &view.served {
                Observed::Known(served) => {
                    format!("healthy, {:.1} ms", served.took.as_secs_f64() * 1000.0)
                }
                // A learner is not to serve: nothing is wrong with it.
                Observed::Unknown(_) if view.learner => "follows".to_owned(),
                Observed::Unknown(unseen) => unseen.why.clone(),
            };
            row.extend([
                view.id.to_string(),
                view.version.clone(),
                format!("{} kB", view.db_size / 1000),
                role(place, Some(view), seen),
                view.term.to_string(),
                view.raft_index.to_string(),
                health,
            ]);
        }
        other => {
            row.extend(vec!["-".to_owned(); 3]);
            row.push(role(place, None, seen));
            row.extend(vec!["-".to_owned(); 2]);
            row.push(match other {
                Some(Observed::Unknown(unseen)) => view::harmless(&unseen.why),
                _ => "-".to_owned(),
            });
        }
    }
    row
}
