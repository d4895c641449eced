//! `etcdup status`: the short view.

use std::time::Duration;

use etcdup_core::observation::Observation;
use etcdup_core::seen::Seen;
use etcdup_core::stage::Goal;
use etcdup_planner::Planner;

use crate::arguments::Status;
use crate::command::Context;
use crate::exit;
use crate::view;

pub(crate) async fn run(context: &Context, arguments: &Status) -> u8 {
    let session = match context.session(None, None).await {
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
            let document = etcdup_deploy::status_document(&planner, &seen);
            if arguments.watch {
                view::json::line(&document);
            } else {
                view::json::print("status", &document);
            }
        } else {
            if arguments.watch {
                // Home and clear, as `watch` does.
                anstream::print!("\x1b[H\x1b[2J");
            }
            let head = [
                "member", "host", "endpoint", "id", "version", "db size", "role", "term", "index",
                "health",
            ];
            view::table::print(&head, rows(&planner, &seen));
        }
        let healthy = planner
            .topology
            .members
            .iter()
            .all(|member| seen.serves(&member.name));
        if !arguments.watch {
            session.close().await;
            return if healthy { exit::DONE } else { exit::FAILED };
        }
        tokio::select! {
            () = context.cancel.cancelled() => return exit::STOPPED,
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
        }
    }
}

fn rows<'a>(planner: &'a Planner, seen: &'a Observation) -> impl Iterator<Item = Vec<String>> + 'a {
    planner.topology.members.iter().map(move |member| {
        let endpoint = planner.topology.client_url(member).to_string();
        let mut row = vec![member.name.to_string(), member.host.to_string(), endpoint];
        match seen.members.get(&member.name) {
            Some(Seen::Yes(view)) => {
                let role = if view.id == view.leader {
                    "leader"
                } else if view.learner {
                    "learner"
                } else {
                    "follower"
                };
                let health = match &view.served {
                    Seen::Yes(served) => {
                        format!("healthy, {:.1} ms", served.took.as_secs_f64() * 1000.0)
                    }
                    Seen::No(unseen) => unseen.why.clone(),
                };
                row.extend([
                    format!("{:x}", view.id),
                    view.version.clone(),
                    format!("{} kB", view.db_size / 1000),
                    role.to_owned(),
                    view.term.to_string(),
                    view.raft_index.to_string(),
                    health,
                ]);
            }
            Some(Seen::No(unseen)) => {
                row.extend(vec!["-".to_owned(); 6]);
                row.push(unseen.why.clone());
            }
            None => row.extend(vec!["-".to_owned(); 7]),
        }
        row
    })
}
