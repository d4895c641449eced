//! `etcdup status`: the short view.

use std::time::Duration;

use etcdup_core::membership::{Electorate, Standing};
use etcdup_core::observation::Observation;
use etcdup_core::observed::Observed;
use etcdup_core::stage::Goal;
use etcdup_planner::{Ending, Planner};

use crate::arguments::Status;
use crate::command::context::Context;
use crate::exit;
use crate::view::{self, count, outln};

pub(crate) async fn run(context: &Context, arguments: &Status) -> u8 {
    let session = match context.session().await {
        Ok(session) => session,
        Err(error) => return context.fail(&error),
    };
    loop {
        let (planner, seen) = match session
            .observe(Goal::Converge {
                allow_outage: false,
            })
            .await
        {
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
            return if healthy { exit::DONE } else { exit::FAILED };
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
    let rows: Vec<_> = rows(planner, seen).collect();
    view::table::print_fitting(&head, &rows, &spare);
    outln!("{}", summary(planner, seen));
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

fn rows<'a>(planner: &'a Planner, seen: &'a Observation) -> impl Iterator<Item = Vec<String>> + 'a {
    planner.topology().members.iter().map(move |member| {
        let mut row = vec![member.name.to_string(), member.host.to_string()];
        match seen.members.get(&member.name) {
            Some(Observed::Known(view)) => {
                let role = if Some(view.id) == view.leader {
                    "leader"
                } else if view.learner {
                    "learner"
                } else {
                    "follower"
                };
                let health = match &view.served {
                    Observed::Known(served) => {
                        format!("healthy, {:.1} ms", served.took.as_secs_f64() * 1000.0)
                    }
                    Observed::Unknown(unseen) => unseen.why.clone(),
                };
                row.extend([
                    view.id.to_string(),
                    view.version.clone(),
                    format!("{} kB", view.db_size / 1000),
                    role.to_owned(),
                    view.term.to_string(),
                    view.raft_index.to_string(),
                    health,
                ]);
            }
            Some(Observed::Unknown(unseen)) => {
                row.extend(vec!["-".to_owned(); 6]);
                row.push(view::harmless(&unseen.why));
            }
            None => row.extend(vec!["-".to_owned(); 7]),
        }
        row
    })
}
