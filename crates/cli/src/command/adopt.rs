//! `etcdup adopt`: a topology file for an existing cluster, and the plan that follows from it.

use crate::view::print::errln;
use etcdup_core::adopt::{AdoptFilter, OperatorFiles, adopt};
use etcdup_core::file::Document;
use etcdup_core::stage::Goal;
use etcdup_core::version::SUGGESTED;
use etcdup_deploy::{DeployError, PlanDocument, read_topology};

use crate::arguments::Adopt;
use crate::command::context::Context;
use crate::exit;
use crate::template::template;
use crate::view;

pub(crate) async fn run(context: &Context, arguments: &Adopt) -> u8 {
    let path = &context.settings.file;
    if context.global.target.is_empty() {
        view::error::plain("name the hosts: etcdup adopt --target root@10.0.1.10 --target ...");
        return exit::USAGE;
    }
    if path.exists() && !arguments.force {
        view::error::plain(&format!(
            "{} already exists; use --force to replace it",
            path.display()
        ));
        return exit::FAILED;
    }
    // What the plan will be made with must be readable, or every member looks as if it did not
    // serve.
    let files = [&arguments.ca, &arguments.cert, &arguments.key];
    for file in files.into_iter().flatten() {
        let path = path
            .parent()
            .map_or_else(|| file.into(), |base| base.join(file));
        if let Err(error) = std::fs::read(&path) {
            view::error::plain(&format!("cannot read {}: {error}", path.display()));
            return exit::USAGE;
        }
    }
    if arguments.cert.is_some() != arguments.key.is_some() {
        view::error::plain("--cert and --key belong together: give both or neither");
        return exit::USAGE;
    }
    match write_and_plan(context, arguments).await {
        Ok(code) => code,
        Err(error) => context.fail(&error),
    }
}

async fn write_and_plan(context: &Context, arguments: &Adopt) -> Result<u8, DeployError> {
    let path = &context.settings.file;
    let directory = path.parent().unwrap_or(std::path::Path::new(""));
    let engine = context.engine(directory, None);
    let text = template(&arguments.cluster, SUGGESTED, &context.global.target);
    let name = "--target".to_owned();
    let targets = Document::parse(&name, &text, &context.global.set)
        .map_err(|error| DeployError::Parse { name, text, error })?;
    let ssh = targets.spec.ssh.clone();
    let found = engine
        .cluster(targets, path)?
        .session()
        .await
        .instances()
        .await;
    let operator = OperatorFiles {
        ca: arguments.ca.clone(),
        cert: arguments.cert.clone(),
        key: arguments.key.clone(),
    };
    let select = AdoptFilter {
        data: arguments.data.clone(),
    };
    let found = found?;
    for target in &context.global.target {
        if !found.iter().any(|one| one.target == *target) {
            view::error::plain(&format!("no etcd runs on {target}"));
            return Ok(exit::BLOCKED);
        }
    }
    let written = adopt(&arguments.cluster, &found, &select, &ssh, &operator);
    let text = match written {
        Ok(text) => text,
        Err(error) => {
            view::error::plain(&error.to_string());
            return Ok(exit::BLOCKED);
        }
    };
    if let Err(source) = std::fs::write(path, &text) {
        let path = path.clone();
        return Err(DeployError::File { path, source });
    }
    errln!(
        "wrote {}; this is what `etcdup apply` would do:",
        path.display()
    );
    let cluster = engine.cluster(read_topology(path, &[])?, path)?;
    let goal = Goal::Converge {
        allow_outage: true,
        retry: false,
    };
    let plan = cluster.plan(goal).await?;
    if context.json() {
        view::json::document(&PlanDocument::new(&plan));
    } else {
        view::plan::print(&plan, cluster.document());
    }
    Ok(exit::DONE)
}
