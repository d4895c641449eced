//! One verb a file; what they share is here: settings, the topology, the session, Ctrl-C.

mod adopt;
mod apply;
mod check;
mod connect;
mod etcdctl;
mod explain;
mod flags;
mod generate;
mod init;
mod logs;
mod pki;
mod plan;
mod render;
mod reset;
mod serve;
mod show;
mod ssh;
mod status;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use etcdup_core::event::Event;
use etcdup_core::file::Document;
use etcdup_core::finding::Verdict;
use etcdup_core::lint::lint;
use etcdup_core::topology::{Member, ResolveError, Topology, resolve};
use etcdup_core::version::SUGGESTED;
use etcdup_deploy::{Cancel, DeployError, Progress, Session, Settings};
use tokio::sync::mpsc::UnboundedSender;

use crate::arguments::{Arguments, Color, Global, Output, Pki, Verb};
use crate::exit;
use crate::settings::{Loaded, ToolSettings, load};
use crate::view;

/// What every verb is given.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) settings: ToolSettings,
    /// Each setting, its value, and where it came from.
    pub(crate) origins: Vec<(String, String, String)>,
    pub(crate) cancel: Cancel,
}

/// Runs a verb; the exit status.
pub(crate) fn run(arguments: Arguments) -> u8 {
    let Arguments { global, verb } = arguments;
    let Loaded { settings, origins } = match load(&global) {
        Ok(loaded) => loaded,
        Err(message) => {
            view::error::plain(&message);
            return exit::USAGE;
        }
    };
    match settings.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    // `init` and `adopt` write a file for these hosts; everything else reads either the one or the other.
    let writes = matches!(verb, Verb::Init(_) | Verb::Adopt(_));
    if global.file.is_some() && !global.target.is_empty() && !writes {
        view::error::plain("--file and --target exclude each other: the hosts are in the file");
        return exit::USAGE;
    }
    listen_to_tracing(global.verbose);
    let context = Context {
        global,
        settings,
        origins,
        cancel: Cancel::new(),
    };
    // Verbs that need no runtime do not wait for one.
    match &verb {
        Verb::Init(init) => return init::run(&context, init),
        Verb::Check => return check::run(&context),
        Verb::Show => return show::run(&context),
        Verb::Explain(explain) => return explain::run(&context, explain),
        Verb::Schema => return generate::schema(),
        Verb::Flags(flags) => return flags::run(&context, flags),
        Verb::Completions { shell } => return generate::completions(*shell),
        Verb::Man { out } => return generate::manual(out.as_deref()),
        Verb::Pki(Pki::Issue {
            name,
            organization,
            days,
            out,
            force,
        }) => {
            let organization = organization.clone();
            return pki::issue(&context, name, organization, *days, out.clone(), *force);
        }
        Verb::Render(_)
        | Verb::Plan(_)
        | Verb::Apply(_)
        | Verb::Verify
        | Verb::Status(_)
        | Verb::Pki(_)
        | Verb::Connect(_)
        | Verb::Env(_)
        | Verb::Etcdctl(_)
        | Verb::Logs(_)
        | Verb::Ssh(_)
        | Verb::Adopt(_)
        | Verb::Reset(_)
        | Verb::Serve(_) => {}
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            view::error::plain(&format!("cannot start the async runtime: {error}"));
            return exit::FAILED;
        }
    };
    let code = runtime.block_on(async {
        let changes = matches!(verb, Verb::Apply(_) | Verb::Reset(_));
        tokio::spawn(stop_on_signal(context.cancel.clone(), changes));
        let looking = async {
            match &verb {
                Verb::Render(render) => Some(render::run(&context, render).await),
                Verb::Plan(plan) => Some(plan::run(&context, plan).await),
                Verb::Verify => Some(verify::run(&context).await),
                Verb::Status(status) => Some(status::run(&context, status).await),
                Verb::Pki(_) => Some(pki::show(&context).await),
                Verb::Connect(connect) => Some(connect::run(&context, connect).await),
                Verb::Env(env) => Some(connect::env(&context, env).await),
                Verb::Etcdctl(etcdctl) => Some(etcdctl::run(&context, etcdctl).await),
                Verb::Logs(logs) => Some(logs::run(&context, logs).await),
                Verb::Ssh(ssh) => Some(ssh::run(&context, ssh).await),
                Verb::Adopt(adopt) => Some(adopt::run(&context, adopt).await),
                _ => None,
            }
        };
        // etcdctl hears Ctrl-C itself and may have something to give back, such as a lock.
        let at_once = !matches!(verb, Verb::Etcdctl(_));
        // Who only looks can stop at once; who changes hosts comes to the end of a stage first.
        let looked = tokio::select! {
            code = looking => code,
            () = context.cancel.cancelled(), if at_once => Some(exit::STOPPED),
        };
        match (looked, verb) {
            (Some(code), _) => code,
            (None, Verb::Apply(apply)) => apply::run(&context, &apply).await,
            (None, Verb::Reset(reset)) => reset::run(&context, &reset).await,
            (None, Verb::Serve(serve)) => serve::run(&context, &serve).await,
            (None, _) => exit::DONE,
        }
    });
    // A task that still dials must not hold the end up.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

/// The first Ctrl-C finishes the stage; the second drops the links.
async fn stop_on_signal(cancel: Cancel, changes: bool) {
    let kind = tokio::signal::unix::SignalKind::terminate();
    let Ok(mut terminate) = tokio::signal::unix::signal(kind) else {
        return;
    };
    for count in 0.. {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        cancel.cancel();
        if count > 0 {
            std::process::exit(i32::from(exit::STOPPED));
        }
        if changes {
            anstream::eprintln!(
                "stopping; a stage that has begun is finished first (press Ctrl-C again to abort)"
            );
        }
    }
}

fn listen_to_tracing(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => {
            "etcdup=debug,etcdup_deploy=debug,etcdup_transport=debug,etcdup_client=debug,etcdup_verify=debug,warn"
        }
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::new(level);
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}

/// The member of this name; reports and returns none where the topology has no such member.
pub(crate) fn member_of<'a>(topology: &'a Topology, name: &str) -> Option<&'a Member> {
    let member = topology
        .members
        .iter()
        .find(|member| member.name.as_str() == name);
    if member.is_none() {
        let names: Vec<&str> = topology
            .members
            .iter()
            .map(|member| member.name.as_str())
            .collect();
        view::error::plain(&format!(
            "no member `{name}`; the topology has {}",
            names.join(", ")
        ));
    }
    member
}

impl Context {
    /// The topology: the file, or one made of `--target`s.
    pub(crate) fn document(&self) -> Result<(Document, PathBuf), DeployError> {
        if self.global.target.is_empty() {
            let path = self.settings.file.clone();
            return Ok((Session::read(&path, &self.global.set)?, path));
        }
        let text = init::template("etcd", SUGGESTED, &self.global.target);
        let name = "--target".to_owned();
        match Document::parse(&name, &text, &self.global.set) {
            Ok(document) => Ok((document, PathBuf::from("etcdup.toml"))),
            Err(error) => Err(DeployError::Parse { name, text, error }),
        }
    }

    /// The topology as meant, and the directory of its file. A host is asked only where a name or address comes from it.
    pub(crate) async fn topology(&self) -> Result<(Topology, PathBuf), DeployError> {
        let (document, path) = self.document()?;
        let mut errors = lint(&document.spec);
        errors.retain(|finding| finding.verdict == Verdict::Error);
        if !errors.is_empty() {
            return Err(DeployError::Blocked(errors));
        }
        match resolve(&document.spec, |_| None) {
            Ok(topology) => {
                let base = path
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty());
                Ok((topology, base.unwrap_or(Path::new(".")).to_owned()))
            }
            Err(ResolveError::NeedsHost { .. }) => {
                let settings = self.library_settings(None, None);
                let session = Session::with_document(document, &path, settings).await?;
                let topology = session.resolved().await?;
                session.close().await;
                Ok((topology, session.base))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A session, with events and progress where somebody listens.
    pub(crate) async fn session(
        &self,
        events: Option<UnboundedSender<Event>>,
        progress: Option<Progress>,
    ) -> Result<Session, DeployError> {
        let (document, path) = self.document()?;
        Session::with_document(document, &path, self.library_settings(events, progress)).await
    }

    pub(crate) fn library_settings(
        &self,
        events: Option<UnboundedSender<Event>>,
        progress: Option<Progress>,
    ) -> Settings {
        let defaults = Settings::default();
        Settings {
            ask: Arc::new(view::ask::Person),
            events,
            progress,
            cancel: self.cancel.clone(),
            cache: self
                .settings
                .cache
                .clone()
                .unwrap_or(defaults.cache.clone()),
            connect: Duration::from_secs(self.settings.connect_timeout),
            ..defaults
        }
    }

    pub(crate) fn json(&self) -> bool {
        self.settings.output == Output::Json
    }

    /// The same within a stream of JSON lines.
    pub(crate) fn fail_line(&self, error: &DeployError) -> u8 {
        let document = self.document().ok().map(|(document, _)| document);
        view::error::line(error, document.as_ref())
    }

    /// Prints an error, its findings with their places in the file, and says which exit status it means.
    pub(crate) fn fail(&self, error: &DeployError) -> u8 {
        let document = self.document().ok().map(|(document, _)| document);
        view::error::deploy(error, document.as_ref(), self.json())
    }
}
