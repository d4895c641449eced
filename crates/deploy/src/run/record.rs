//! The host record as a stage leaves it.

use etcdup_core::host::HostId;
use etcdup_core::observation::{
    HostRecord, HostView, Operation, Origin, RecordedFile, RecordedMember,
};
use etcdup_core::path::HostPath;
use etcdup_core::stage::{Goal, HostStep, Rule, Stage, Work};
use etcdup_host::StageInput;
use jiff::Timestamp;

use super::context::Run;
use crate::error::DeployError;
use crate::observe::state_of;

/// The host record as it will be when the stage has worked.
pub(super) fn add_record(
    run: &Run<'_>,
    input: &mut StageInput,
    host: &HostId,
    view: Option<&HostView>,
    stage: &Stage,
) -> Result<(), DeployError> {
    let topology = run.planner.topology();
    let mut record = view.and_then(HostView::record).cloned().unwrap_or_default();
    record.format = "etcdup/record/1".to_owned();
    record.generation += 1;
    if matches!(run.planner.goal(), Goal::Reset { .. }) {
        record.resets += 1;
        // What was known of the old cluster must not keep the next one from being bootstrapped.
        record.forget_cluster();
    }
    record.origin.get_or_insert_with(|| Origin {
        who: run.session.who.to_string(),
        at: Timestamp::now().to_string(),
        directory: std::path::absolute(&run.session.base)
            .unwrap_or_else(|_| run.session.base.clone())
            .display()
            .to_string(),
    });
    if stage.key.rule == Rule::Bootstrap {
        record.begun = Some(run.planner.target().leg().generation);
    }
    let steps = match &stage.work {
        Work::Hosts(tasks) => tasks.get(host).map_or(&[][..], Vec::as_slice),
        Work::Cluster(_) | Work::Operator(_) => &[],
    };
    for step in steps {
        if let HostStep::Roster(roster) = step {
            record.roster.clone_from(roster);
        }
        if let HostStep::Place(known) = step {
            record.place((**known).clone());
        }
        if let HostStep::NoteFailed { member, failed } = step {
            record.failed.insert(member.clone(), failed.clone());
        }
        if let HostStep::ForgetMember(name) = step {
            record.forget(name);
        }
        if let HostStep::NoteRestore(restore) = step {
            record.note_restore(restore);
        }
        if let HostStep::NoteRecover(recover) = step {
            record.note_recover(recover);
        }
        if *step == HostStep::Forget {
            record.forget_cluster();
        }
        if let HostStep::Note(noted) = step {
            record.cluster = Some(noted.cluster);
            let member = RecordedMember {
                id: noted.id,
                mark: noted
                    .mark
                    .clone()
                    .unwrap_or_else(|| run.session.events.operation().to_owned()),
                version: noted.version.clone(),
            };
            record.members.insert(noted.member.clone(), member);
            // It runs: whatever failed before is over.
            record.failed.remove(&noted.member);
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
        let etcd = &run.planner.desired(member).etcd;
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
        id: run.session.events.operation().to_owned(),
        at: Timestamp::now().to_string(),
        verb: run.verb.to_string(),
        who: run.session.who.to_string(),
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
