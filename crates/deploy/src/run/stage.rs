//! Carrying out one stage: steps on hosts side by side, one call to the cluster, or steps here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcdup_core::certificate::CertRequest;
use etcdup_core::event::HostState;
use etcdup_core::host::HostId;
use etcdup_core::membership::Electorate;
use etcdup_core::name::MemberName;
use etcdup_core::observation::{
    HostRecord, HostView, Observation, Operation, Origin, RecordedFile, RecordedMember,
};
use etcdup_core::observed::Observed;
use etcdup_core::operation::Verb;
use etcdup_core::path::HostPath;
use etcdup_core::stage::{
    Artifact, ClusterStep, Content, Goal, HostStep, Impact, OperatorStep, Part, Reason, Rule,
    Stage, Work,
};
use etcdup_core::topology::Topology;
use etcdup_host::{Header, StageInput, StageReport, Stamp, Supply, query_text};
use etcdup_pki::Issued;
use etcdup_planner::Planner;
use etcdup_transport::{Metered, Transport};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::binaries::release::{self, Binary, Ready};
use crate::error::{DeployError, HostFailure};
use crate::lease::Leases;
use crate::observe::{inspect, provided, state_of};
use crate::scripts::STAGE;
use crate::session::Session;
use crate::stream::stream;
use crate::tasks::{blocking, run_all};
use crate::vault::{Vault, VaultError};

/// The gates before a stage were checked just now and hold. Only [`permit`] makes one, and nothing is stopped without.
pub(crate) struct Permit(());

/// Checks the gates before a stage once more, and that no member that serves is stopped without one, unless the stage
/// says that it is an outage, which was approved as such.
pub(crate) fn permit(
    topology: &Topology,
    stage: &Stage,
    seen: &Observation,
) -> Result<Permit, Reason> {
    for gate in &stage.preconditions {
        gate.check(seen)?;
    }
    if matches!(stage.impact, Impact::Outage(_)) {
        return Ok(Permit(()));
    }
    // Judged together: each alone may be spared where two at once may not.
    let mut stop = stage.stops(&topology.members);
    stop.retain(|member| seen.is_healthy_voter(member));
    if !stop.is_empty() {
        let members: Vec<MemberName> = topology
            .members
            .iter()
            .map(|member| member.name.clone())
            .collect();
        Electorate::of(seen, &members).spare(&stop)?;
    }
    Ok(Permit(()))
}

/// What a run holds while it carries out stages.
pub(crate) struct Run<'a> {
    pub(crate) session: &'a Session,
    pub(crate) planner: &'a Planner,
    pub(crate) leases: &'a Leases,
    pub(crate) binaries: &'a BTreeMap<String, Binary>,
    pub(crate) verb: Verb,
    /// Pairs that were issued in this stage, so that certificate and key of one place belong together. They live on their hosts
    /// alone once it is done.
    pub(crate) pairs: Mutex<BTreeMap<String, Issued>>,
}

impl Run<'_> {
    /// Carries out a stage. What hosts look like afterwards is in `seen`, even where some failed.
    pub(crate) async fn execute(
        &self,
        stage: &Stage,
        seen: &mut Observation,
        permit: Permit,
    ) -> Result<(), DeployError> {
        let Permit(()) = permit;
        match &stage.work {
            Work::Operator(steps) => self.operator(steps, seen).await,
            Work::Cluster(step) => self.cluster(step, seen).await,
            Work::Hosts(tasks) => self.hosts(stage, tasks, seen).await,
        }
    }

    async fn operator(
        &self,
        steps: &[OperatorStep],
        seen: &mut Observation,
    ) -> Result<(), DeployError> {
        let steps = steps.to_vec();
        let worked = self.session.with_vault(move |vault| {
            for step in &steps {
                match step {
                    OperatorStep::MakeAuthority => vault.make_authority(Timestamp::now())?,
                    OperatorStep::IssueClient(request) => {
                        let directory = vault.directory();
                        vault.issue_client(request, &directory, Timestamp::now())?;
                    }
                }
            }
            Ok::<_, VaultError>((vault.ca_state(), vault.clients()))
        });
        (seen.authority, seen.clients) = worked.await?;
        Ok(())
    }

    async fn cluster(&self, step: &ClusterStep, seen: &Observation) -> Result<(), DeployError> {
        self.leases.check().await?;
        let ClusterStep::MoveLeader { from, to } = step;
        let failed = |why: String| DeployError::Cluster {
            what: format!("move leadership from {from} to {to}"),
            why,
        };
        let topology = self.planner.topology();
        let leader = topology
            .member(from)
            .ok_or_else(|| failed("no such member".to_owned()))?;
        let transferee = seen
            .member(to)
            .ok_or_else(|| failed(format!("{to} does not answer")))?;
        let client = self
            .session
            .client(topology, leader)
            .await
            .map_err(failed)?;
        client
            .move_leader(transferee.id)
            .await
            .map_err(|error| failed(error.to_string()))
    }

    async fn hosts(
        &self,
        stage: &Stage,
        tasks: &BTreeMap<HostId, Vec<HostStep>>,
        seen: &mut Observation,
    ) -> Result<(), DeployError> {
        let mut failures = Vec::new();
        let mut packed = Vec::new();
        // All are packed before any is sent: what cannot be packed here must not leave half of the hosts at work.
        for (host, steps) in tasks {
            let link = match self.session.link(host) {
                Observed::Known(link) => link,
                Observed::Unknown(unseen) => {
                    failures.push(HostFailure {
                        host: host.clone(),
                        step: "connect".to_owned(),
                        why: unseen.why,
                        lines: Vec::new(),
                    });
                    continue;
                }
            };
            packed.push((host, link, self.pack_stage(stage, host, steps, seen).await?));
        }
        let work: Vec<_> = packed
            .into_iter()
            .map(|(host, link, input)| {
                let epoch = self.leases.epochs.get(host).copied().unwrap_or(0);
                let state = state_of(self.planner.topology(), host);
                let cluster = self.planner.topology().cluster.as_str();
                let header = Header {
                    state: &state,
                    cluster,
                    operation: Some((self.session.events.operation(), epoch)),
                    now: Timestamp::now(),
                }
                .line();
                let provided = provided(self.planner, seen);
                let queries = query_text(&self.planner.queries(host, &provided, false));
                let (host, events) = (host.clone(), self.session.events.clone());
                let progress = self.session.settings.progress.clone();
                let key = host.clone();
                let ran = async move {
                    events.host(&host, "sending", HostState::Working);
                    let ran =
                        run_stage(link, input, header, queries, &host, (progress, &events)).await;
                    let (what, state) = match &ran {
                        Ok(_) => ("done".to_owned(), HostState::Done),
                        Err(failed) => (
                            format!("{}: {}", failed.0.step, failed.0.why),
                            HostState::Failed,
                        ),
                    };
                    events.host(&host, what, state);
                    ran
                };
                (key, ran)
            })
            .collect();
        for (host, ran) in run_all(work).await {
            match ran {
                Ok(Ok(view)) => merge(seen, host, view),
                Ok(Err(failed)) => {
                    let (failure, view) = *failed;
                    failures.push(failure);
                    if let Some(view) = view {
                        merge(seen, host, *view);
                    }
                }
                Err(why) => failures.push(HostFailure {
                    host,
                    step: "carry out the stage".to_owned(),
                    why,
                    lines: Vec::new(),
                }),
            }
        }
        self.pairs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        failures.sort_by(|a, b| a.host.cmp(&b.host));
        if failures.is_empty() {
            Ok(())
        } else {
            Err(DeployError::Hosts(failures))
        }
    }

    async fn pack_stage(
        &self,
        stage: &Stage,
        host: &HostId,
        steps: &[HostStep],
        seen: &Observation,
    ) -> Result<StageInput, DeployError> {
        let view = seen.host(host);
        let stamp = Stamp {
            operation: self.session.events.operation().to_owned(),
            time: Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string(),
        };
        let mut input = StageInput::default();
        for step in steps {
            let supply = self.supply(host, view, step).await?;
            input.add(step, supply, &stamp)?;
        }
        if !steps.is_empty() {
            self.pack_record(&mut input, host, view, stage)?;
        }
        Ok(input)
    }

    /// What a step needs that the plan does not hold.
    async fn supply(
        &self,
        host: &HostId,
        view: Option<&HostView>,
        step: &HostStep,
    ) -> Result<Supply, DeployError> {
        let architecture = || {
            view.map(|view| view.facts.architecture.to_string())
                .unwrap_or_default()
        };
        match step {
            HostStep::File(artifact) | HostStep::Pod(artifact) => {
                self.content(host, artifact).await
            }
            HostStep::LoadImage { archive, .. } => {
                let path = archive.replace("{arch}", &architecture());
                let path = self.session.base.join(path);
                let ready = blocking(move || release::ready(&path)).await?;
                Ok(Supply::Archive(ready.into_body()))
            }
            HostStep::Binaries { .. } => Ok(match self.binaries.get(&architecture()) {
                Some(Binary::Archive(ready)) => Supply::Archive(ready.clone().into_body()),
                Some(Binary::Files(files)) => {
                    let body =
                        |(name, ready): &(String, Ready)| (name.clone(), ready.clone().into_body());
                    Supply::Binaries(files.iter().map(body).collect())
                }
                Some(Binary::Fetch { url, sha256 }) => Supply::Download {
                    url: url.clone(),
                    sha256: sha256.clone(),
                },
                None => Supply::Nothing,
            }),
            HostStep::User { .. }
            | HostStep::Directory { .. }
            | HostStep::Links { .. }
            | HostStep::TimeSync
            | HostStep::Reload
            | HostStep::Enable(_)
            | HostStep::Restart(_)
            | HostStep::Disable(_)
            | HostStep::Spawn { .. }
            | HostStep::StopProcess { .. }
            | HostStep::BouncePod { .. }
            | HostStep::StopPod { .. }
            | HostStep::Note(_)
            | HostStep::Forget
            | HostStep::MoveAside { .. }
            | HostStep::Remove(_) => Ok(Supply::Nothing),
        }
    }

    async fn content(&self, host: &HostId, artifact: &Artifact) -> Result<Supply, DeployError> {
        let bytes = match &artifact.content {
            Content::OnHost(_) => return Ok(Supply::Nothing),
            Content::Text(text) => text.clone().into_bytes(),
            Content::Authority => self
                .session
                .with_vault(|vault| vault.ca())
                .await?
                .into_bytes(),
            Content::Provided(source) => {
                let source = source.clone();
                let read = self
                    .session
                    .with_vault(move |vault| vault.provided(&source))
                    .await?;
                read.reveal().as_bytes().to_vec()
            }
            Content::Issued { request, part } => {
                let issued = self.pair(host, request).await?;
                match part {
                    Part::Certificate => issued.certificate.into_bytes(),
                    Part::Key => issued.key.reveal().as_bytes().to_vec(),
                }
            }
        };
        Ok(Supply::Content(Zeroizing::new(bytes)))
    }

    /// The certificate and key for a place on a host: issued once a stage.
    async fn pair(&self, host: &HostId, request: &CertRequest) -> Result<Issued, DeployError> {
        let place = format!("{host}:{}:{}", request.name, request.usage);
        let known = || {
            let pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
            pairs.get(&place).cloned()
        };
        if let Some(issued) = known() {
            return Ok(issued);
        }
        let wanted = request.clone();
        let issue = move |vault: &mut Vault| vault.issue(&wanted, Timestamp::now());
        let issued = self.session.with_vault(issue).await?;
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        pairs.insert(place, issued.clone());
        Ok(issued)
    }

    /// The host record as it will be when the stage has worked.
    fn pack_record(
        &self,
        input: &mut StageInput,
        host: &HostId,
        view: Option<&HostView>,
        stage: &Stage,
    ) -> Result<(), DeployError> {
        let topology = self.planner.topology();
        let mut record = view.and_then(HostView::record).cloned().unwrap_or_default();
        record.format = "etcdup/record/1".to_owned();
        record.generation += 1;
        if matches!(self.planner.goal(), Goal::Reset { .. }) {
            record.resets += 1;
            // What was known of the old cluster must not keep the next one from being bootstrapped.
            record.cluster = None;
            record.members.clear();
            record.begun = None;
        }
        record.origin.get_or_insert_with(|| Origin {
            who: self.session.who.to_string(),
            at: Timestamp::now().to_string(),
            directory: std::path::absolute(&self.session.base)
                .unwrap_or_else(|_| self.session.base.clone())
                .display()
                .to_string(),
        });
        if stage.key.rule == Rule::Bootstrap {
            record.begun = Some(self.planner.target().leg().generation);
        }
        let steps = match &stage.work {
            Work::Hosts(tasks) => tasks.get(host).map_or(&[][..], Vec::as_slice),
            Work::Cluster(_) | Work::Operator(_) => &[],
        };
        for step in steps {
            if let HostStep::Note(noted) = step {
                record.cluster = Some(noted.cluster);
                let member = RecordedMember {
                    id: noted.id,
                    mark: noted
                        .mark
                        .clone()
                        .unwrap_or_else(|| self.session.events.operation().to_owned()),
                    version: noted.version.clone(),
                };
                record.members.insert(noted.member.clone(), member);
            }
        }
        for (path, sha256) in input.written() {
            record.files.insert(
                path.clone(),
                RecordedFile {
                    sha256: sha256.clone(),
                },
            );
        }
        for path in input.removed() {
            record.files.remove(path);
        }
        for member in topology.on_host(host) {
            let etcd = &self.planner.desired(member).etcd;
            let binaries_now = matches!(&stage.work, Work::Hosts(tasks) if tasks.get(host).is_some_and(|steps| {
                steps.iter().any(|step| matches!(step, HostStep::Binaries { directory, .. } if *directory == member.layout.binaries))
            }));
            if binaries_now {
                // Their digest is known when they have been seen in place.
                record.files.remove(etcd);
            } else if let Some(sha256) = view
                .and_then(|view| view.files.get(etcd))
                .and_then(|file| file.sha256.clone())
            {
                record
                    .files
                    .entry(etcd.clone())
                    .or_insert(RecordedFile { sha256 });
            }
        }
        record.history.push(Operation {
            id: self.session.events.operation().to_owned(),
            at: Timestamp::now().to_string(),
            verb: self.verb.to_string(),
            who: self.session.who.to_string(),
            stage: stage.key.to_string(),
        });
        let surplus = record.history.len().saturating_sub(20);
        record.history.drain(..surplus);
        let path = HostPath::try_from(format!(
            "{}/{}.json",
            state_of(topology, host),
            topology.cluster
        ))
        .map_err(etcdup_render::RenderError::from)?;
        let text = serde_json::to_string_pretty::<HostRecord>(&record).unwrap_or_default();
        input.record(&path, text);
        Ok(())
    }
}

/// What was measured once stays known: the clock's difference.
fn merge(seen: &mut Observation, host: HostId, mut view: HostView) {
    if let Some(before) = seen.host(&host) {
        view.facts.clock_ahead_ms = before.facts.clock_ahead_ms;
        view.facts.clock_error_ms = before.facts.clock_error_ms;
    }
    seen.hosts.insert(host, Observed::Known(view));
}

type Failed = Box<(HostFailure, Option<Box<HostView>>)>;

async fn run_stage(
    link: Arc<dyn Transport>,
    input: StageInput,
    header: String,
    queries: String,
    host: &HostId,
    (progress, events): (Option<crate::events::Progress>, &crate::events::Events),
) -> Result<HostView, Failed> {
    let failure = |step: &str, why: String, lines: Vec<String>| HostFailure {
        host: host.clone(),
        step: step.to_owned(),
        why,
        lines,
    };
    let titles = input.titles().to_vec();
    let size = input.size();
    tracing::debug!(%host, bytes = size, "sending a stage");
    let (reader, writing) = stream(header, input.into_entries(&queries));
    let count = Arc::new(AtomicU64::new(0));
    let metered = Metered::new(reader, Arc::clone(&count));
    // The script reports each operation as it ends: what comes next is what it works on now.
    let reported = std::sync::Mutex::new((String::new(), 0_usize));
    let watch = |piece: &[u8]| {
        let Ok(mut reported) = reported.lock() else {
            return;
        };
        reported.0.push_str(&String::from_utf8_lossy(piece));
        while let Some(end) = reported.0.find('\n') {
            let line: String = reported.0.drain(..=end).collect();
            if line.starts_with("@ok|") {
                reported.1 += 1;
                if let Some(title) = titles.get(reported.1) {
                    events.host(host, title.clone(), HostState::Working);
                }
            }
        }
    };
    let began = std::time::Instant::now();
    let running = link.run_watched(&STAGE, Box::new(metered), &watch);
    tokio::pin!(running);
    let ran = loop {
        tokio::select! {
            ran = &mut running => break ran,
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                if let Some(progress) = &progress {
                    progress(host.as_str(), count.load(Ordering::Relaxed).min(size), size);
                }
            }
        }
    };
    tracing::debug!(%host, script = "stage", elapsed_ms = began.elapsed().as_millis(), "ran");
    let written = writing.await;
    let output = match ran {
        Ok(output) => output,
        Err(error) => {
            return Err(Box::new((
                failure("send the stage", error.to_string(), Vec::new()),
                None,
            )));
        }
    };
    let read = StageReport::read(&output.text(), &inspect);
    if let Some(why) = read.refused {
        let why = match written {
            Ok(Err(error)) if why.contains("cut off") => error.to_string(),
            _ => why,
        };
        return Err(Box::new((
            failure("begin the stage", why, Vec::new()),
            read.view.ok().map(Box::new),
        )));
    }
    if let Some((number, lines)) = read.failed {
        let title = titles
            .get(number)
            .cloned()
            .unwrap_or_else(|| format!("step {number}"));
        let why = lines
            .last()
            .cloned()
            .unwrap_or_else(|| "it failed without output".to_owned());
        return Err(Box::new((
            failure(&title, why, lines),
            read.view.ok().map(Box::new),
        )));
    }
    match read.view {
        Ok(view) => Ok(view),
        Err(why) => {
            let step = titles
                .get(read.done)
                .cloned()
                .unwrap_or_else(|| "look at the host".to_owned());
            let complaint = output.last_stderr_line();
            let why = if complaint.is_empty() { why } else { complaint };
            Err(Box::new((failure(&step, why, Vec::new()), None)))
        }
    }
}
