//! A new CA for members whose certificates have all ended, where the old one's key is lost: nothing
//! that they accept can be made any more.

use std::collections::BTreeMap;

use etcdup_core::file::KeyPath;
use etcdup_core::finding::Finding;
use etcdup_core::host::HostId;
use etcdup_core::stage::{
    Artifact, Content, HostStep, Impact, Part, Rule, Stage, StageKey, TrustLeg, Work,
};

use crate::assess::Assessment;
use crate::identity::Bootstrap;
use crate::plan_context::{Decision, PlanContext};
use crate::rules::restart::{all_seen, restart_steps};
use crate::rules::roll::OUTAGE;
use crate::rules::trust::{CA_WITHOUT_KEY, is_cut_off};

/// Whether only the new CA can sign, and not every member is known to trust it.
fn is_keyless(context: &PlanContext<'_>) -> bool {
    let topology = &context.target.topology;
    topology.trust == Some(TrustLeg::Spread) && topology.issuer.is_own()
}

/// Whether a member needs a certificate now.
fn needs<'w, 'a>(member: &'w Assessment<'a>) -> impl Iterator<Item = &'w Artifact> + use<'w, 'a> {
    let files = member.files.iter().map(|(artifact, _)| artifact.as_ref());
    files.filter(|artifact| {
        let certificate = Part::Certificate;
        matches!(&artifact.content, Content::Issued { part, .. } if *part == certificate)
    })
}

/// Whether all that it shows to others has ended, so that none of them lets it in.
fn is_refused(context: &PlanContext<'_>, member: &Assessment<'_>) -> bool {
    let shown = context.target.shown_to_peers(member.member);
    let ended = shown.is_some_and(|shown| is_cut_off(context.seen, member.host, &shown.path));
    ended && !member.answers
}

fn all_are_refused(context: &PlanContext<'_>) -> bool {
    let mut running = context
        .members
        .iter()
        .filter(|member| member.process.is_some());
    context.unseen.is_empty() && running.all(|member| is_refused(context, member))
}

/// A member that needs a certificate while others, which would refuse one of the new CA, are in
/// touch with each other.
pub(crate) fn lacks_key(context: &PlanContext<'_>) -> Option<Finding> {
    if !is_keyless(context) || all_are_refused(context) {
        return None;
    }
    let members = context.members.iter().filter(|member| !member.to_join);
    let mut needed = members.filter_map(|member| Some((member, needs(member).next()?)));
    let (member, artifact) = needed.next()?;
    let evidence = format!(
        "{} on {} must be replaced, and not every member trusts the new CA yet; the old CA's key is not beside its \
         certificate",
        artifact.path, member.member.host
    );
    let at = KeyPath::root("certificates").key("trust");
    let advice = "put the old CA's key beside its certificate, ending in .key; without it, take the member out \
                  (absent = true), and add it again once the others trust the new CA";
    Some(CA_WITHOUT_KEY.error("ca", evidence).advise(advice).at(at))
}

/// Restarts all members at once with the new CA and certificates of it. Connections that stand from
/// before may still make a quorum, so it may be an outage.
pub(crate) fn restart_all(context: &PlanContext<'_>) -> Decision {
    let due = is_keyless(context) && context.bootstrap == Bootstrap::Complete;
    let any = context
        .members
        .iter()
        .any(|member| needs(member).next().is_some());
    if !due || !any || !all_are_refused(context) {
        return Decision::Continue;
    }
    let evidence = "all certificates have ended, and members accept those of the new CA only once all have restarted";
    if !context.allow_outage {
        return Decision::Block(vec![OUTAGE.error("cluster", evidence)]);
    }
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    let mut why = Vec::new();
    for member in context
        .members
        .iter()
        .filter(|member| member.takes_part() && !member.to_join)
    {
        let differs = member.restart_reasons();
        why.extend(differs.map(|difference| format!("{}: {difference}", member.member.name)));
        let task = tasks.entry(member.member.host.clone()).or_default();
        task.extend(restart_steps(context.target, member));
    }
    Decision::run(Stage {
        key: StageKey::new(Rule::Start, None),
        title: "restart all members with certificates of the new CA".to_owned(),
        why,
        impact: Impact::Outage(evidence.to_owned()),
        preconditions: Vec::new(),
        work: Work::Hosts(tasks),
        postconditions: all_seen(context),
    })
}
