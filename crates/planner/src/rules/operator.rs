//! What is made on the operator's own machine: the CA, and certificates of named clients.

use std::collections::BTreeSet;

use etcdup_core::certificate::{CertRequest, Subject, Usage};
use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::observation::CaView;
use etcdup_core::observed::Observed;
use etcdup_core::stage::{Content, Impact, OperatorStep, Rule, Stage, StageKey, TrustLeg, Work};
use etcdup_core::topology::Topology;

use crate::plan_context::{Decision, PlanContext};
use crate::rules::expired;
use crate::rules::trust::CA_WITHOUT_KEY;
use crate::trusted::unmet;

pub(crate) const CA_BROKEN: Check = Check {
    id: "ca-unusable",
    title: "the certificate authority cannot be used",
    about: "The CA's certificate or key cannot be read, they do not belong together, or the certificate is no CA's.",
    advice: "fix the files that [certificates.ca] names, or remove both to create a new CA",
};

/// Whether anything of this stage of the plan is dated by the operator's clock.
pub(crate) fn clock(context: &PlanContext<'_>) -> Decision {
    let issues = context.members.iter().flat_map(|member| &member.files);
    let members = issues
        .into_iter()
        .any(|(artifact, _)| matches!(artifact.content, Content::Issued { .. }));
    let makes = matches!(context.seen.ca, CaView::Absent);
    if !members && !makes && due_clients(context).is_empty() {
        return Decision::Continue;
    }
    match crate::rules::trust::operator_clock(context.target, context.seen) {
        Some(finding) => Decision::Block(vec![finding]),
        None => Decision::Continue,
    }
}

pub(crate) fn ca(context: &PlanContext<'_>) -> Decision {
    let at = || KeyPath::root("certificates").key("ca");
    for (index, view) in context.seen.trusted.iter().enumerate() {
        if let CaView::Broken(why) = view {
            let at = KeyPath::root("certificates").key("trust").index(index);
            return Decision::Block(vec![CA_BROKEN.error("ca", why.clone()).at(at)]);
        }
    }
    if let Some(finding) = expired::lacks_key(context) {
        return Decision::Block(vec![finding]);
    }
    let block = |finding: Option<Finding>| match finding {
        Some(finding) => Decision::Block(vec![finding.at(at())]),
        None => Decision::Continue,
    };
    match &context.seen.ca {
        CaView::Usable(_) => Decision::Continue,
        // Members use TLS until they have restarted without it.
        CaView::Unneeded => {
            let finding = needs_key(context, "by the file no CA is needed any more");
            let advice = "put security back, apply, then change it again";
            block(finding.map(|finding| finding.advise(advice)))
        }
        CaView::Broken(why) => block(Some(CA_BROKEN.error("ca", why.clone()))),
        CaView::WithoutKey(_) if !context.target.topology.issuer.is_own() => Decision::Continue,
        CaView::WithoutKey(facts) => {
            let why = format!("the key of `{}` is not here", facts.name);
            block(needs_key(context, &why))
        }
        CaView::Absent => Decision::run(Stage {
            key: StageKey::new(Rule::Ca, None),
            title: "create the certificate authority (CA)".to_owned(),
            why: vec![if context.seen.trusted.is_empty() {
                format!(
                    "cluster {} has no CA: there is none on this machine and none on its hosts",
                    context.target.topology.cluster
                )
            } else {
                "certificates.trust names what is trusted, and there is no CA to take its place"
                    .to_owned()
            }],
            impact: Impact::None,
            preconditions: Vec::new(),
            work: Work::Operator(vec![OperatorStep::CreateCa]),
            postconditions: Vec::new(),
        }),
    }
}

/// What must be issued, where anything must, although nothing can be.
fn needs_key(context: &PlanContext<'_>, why: &str) -> Option<Finding> {
    let mut files = context.members.iter().flat_map(|member| &member.files);
    let issued = files.find(|(artifact, _)| matches!(artifact.content, Content::Issued { .. }));
    let (_, difference) = issued?;
    Some(CA_WITHOUT_KEY.error("ca", format!("{difference}; {why}")))
}

/// The certificates of named clients that must be issued, each with its reason.
fn due_clients(context: &PlanContext<'_>) -> Vec<(CertRequest, String)> {
    let topology = &context.target.topology;
    let issuer = context.seen.issuer(topology.issuer);
    // Members would refuse one of the new CA, and nothing else can be signed.
    let keyless = topology.trust == Some(TrustLeg::Keyless);
    if keyless || !matches!(issuer, Some(CaView::Usable(_))) {
        return Vec::new();
    }
    let due = |request: CertRequest| {
        let unmet = match context.seen.clients.get(&request.name) {
            Some(Observed::Known(facts)) => {
                unmet(topology, context.seen, facts, &request).map(|unmet| unmet.to_string())
            }
            Some(Observed::Unknown(unseen)) => Some(unseen.why.clone()),
            None => Some("is missing".to_owned()),
        };
        unmet.map(|unmet| (request, unmet))
    };
    client_requests(topology).filter_map(due).collect()
}

pub(crate) fn clients(context: &PlanContext<'_>) -> Decision {
    let mut why = Vec::new();
    let mut steps = Vec::new();
    for (request, unmet) in due_clients(context) {
        why.push(format!("the certificate of {} {unmet}", request.name));
        steps.push(OperatorStep::IssueClient(request));
    }
    if steps.is_empty() {
        return Decision::Continue;
    }
    Decision::run(Stage {
        key: StageKey::new(Rule::Clients, None),
        title: "issue client certificates".to_owned(),
        why,
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Operator(steps),
        postconditions: Vec::new(),
    })
}

pub(crate) fn client_requests(topology: &Topology) -> impl Iterator<Item = CertRequest> {
    topology
        .certificates
        .clients
        .iter()
        .map(|client| CertRequest {
            name: client.name.to_string(),
            subject: Subject::organization(client.organization.clone()),
            usage: Usage::Client,
            sans: BTreeSet::new(),
            algorithm: topology.certificates.algorithm,
            hours: topology.certificates.days * 24,
            issuer: topology.issuer,
        })
}
