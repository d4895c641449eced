//! `etcdup logs`: a member's log, wherever its runtime leaves it.

use std::sync::Mutex;

use etcdup_deploy::{DeployError, LogRange, Session};

use crate::arguments::Logs;
use crate::command::context::{Context, member_of};
use crate::exit;
use crate::view;

pub(crate) async fn run(context: &Context, arguments: &Logs) -> u8 {
    let session = match context.session().await {
        Ok(session) => session,
        Err(error) => return context.fail(&error),
    };
    let printed = print(&session, arguments).await;
    match printed {
        Ok(code) => code,
        Err(error) => context.fail(&error),
    }
}

async fn print(session: &Session, arguments: &Logs) -> Result<u8, DeployError> {
    let topology = session.resolved().await?;
    let Some(member) = member_of(&topology, &arguments.member) else {
        return Ok(exit::USAGE);
    };
    let range = LogRange {
        lines: arguments.lines,
        follow: arguments.follow,
    };
    // What a login shell printed before the log begins is not part of it.
    let begun = Mutex::new(Some(String::new()));
    let show = |piece: &[u8]| {
        let text = String::from_utf8_lossy(piece);
        let Ok(mut begun) = begun.lock() else { return };
        match begun.as_mut() {
            None => view::write(&view::harmless(&text)),
            Some(before) => {
                before.push_str(&text);
                if let Some((_, rest)) = before.split_once("@log\n") {
                    if !rest.starts_with("@refused") {
                        view::write(&view::harmless(rest));
                    }
                    *begun = None;
                }
            }
        }
    };
    session.logs(&topology, member, range, &show).await?;
    Ok(exit::DONE)
}
