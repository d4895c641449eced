//! What is made on the operator's own machine: the authority, and certificates of named clients.

use std::collections::BTreeSet;

use etcdup_core::certificate::{CertRequest, Subject, Usage};
use etcdup_core::file::KeyPath;
use etcdup_core::finding::Check;
use etcdup_core::observation::AuthorityView;
use etcdup_core::seen::Seen;
use etcdup_core::stage::{Content, Impact, OperatorStep, Stage, StageKey, Work};
use etcdup_core::topology::Topology;

use crate::plan_context::{Rule, World};

pub(crate) const AUTHORITY_BROKEN: Check = Check {
    id: "authority-unusable",
    title: "the certificate authority cannot be used",
    about: "The CA's certificate or key cannot be read, they do not belong together, or the certificate is no CA's.",
    advice: "mend the files that [certificates.authority] names, or take both away to have a CA made",
};
pub(crate) const AUTHORITY_WITHOUT_KEY: Check = Check {
    id: "authority-without-key",
    title: "certificates are needed and the CA's key is not here",
    about: "A certificate must be issued or renewed, and the CA's key is neither in a file, nor in the environment, nor \
            printed by a command. Where a CA must not be reachable, give certificates with [certificates.provided].",
    advice: "set key, key-env or key-command under [certificates.authority]",
};

/// Whether anything of this stage of the plan is dated by the operator's clock.
pub(crate) fn clock(world: &World<'_>) -> Rule {
    let issues = world.members.iter().flat_map(|member| &member.files);
    let members = issues
        .into_iter()
        .any(|(artifact, _)| matches!(artifact.content, Content::Issued { .. }));
    let makes = matches!(world.seen.authority, AuthorityView::Absent);
    if !members && !makes && due_clients(world).is_empty() {
        return Rule::Pass;
    }
    match crate::rules::trust::operator_clock(world.target, world.seen) {
        Some(finding) => Rule::Block(vec![finding]),
        None => Rule::Pass,
    }
}

pub(crate) fn authority(world: &World<'_>) -> Rule {
    let at = || KeyPath::root("certificates").key("authority");
    match &world.seen.authority {
        AuthorityView::Unneeded | AuthorityView::Usable(_) => Rule::Pass,
        AuthorityView::Broken(why) => Rule::Block(vec![
            AUTHORITY_BROKEN.error("authority", why.clone()).at(at()),
        ]),
        AuthorityView::WithoutKey(facts) => {
            let needed = world
                .members
                .iter()
                .flat_map(|member| &member.files)
                .find(|(artifact, _)| matches!(artifact.content, Content::Issued { .. }));
            match needed {
                None => Rule::Pass,
                Some((artifact, difference)) => {
                    let evidence = format!(
                        "{} {}; the key of `{}` is not here",
                        artifact.path, difference.why, facts.name
                    );
                    Rule::Block(vec![
                        AUTHORITY_WITHOUT_KEY.error("authority", evidence).at(at()),
                    ])
                }
            }
        }
        AuthorityView::Absent => Rule::Do(Stage {
            key: StageKey::new("authority", None),
            title: "create the certificate authority (CA)".to_owned(),
            why: vec![format!(
                "cluster {} has no CA: there is none on this machine and none on its hosts",
                world.target.topology.cluster
            )],
            impact: Impact::None,
            before: Vec::new(),
            work: Work::Operator(vec![OperatorStep::MakeAuthority]),
            settle: Vec::new(),
        }),
    }
}

/// The certificates of named clients that must be issued, each with its reason.
fn due_clients(world: &World<'_>) -> Vec<(CertRequest, String)> {
    let AuthorityView::Usable(authority) = &world.seen.authority else {
        return Vec::new();
    };
    let due = |request: CertRequest| {
        let unmet = match world.seen.clients.get(&request.name) {
            Some(Seen::Yes(facts)) => facts
                .meets(&request, &authority.key_id, world.seen.at)
                .err()
                .map(|unmet| format!("is {unmet}")),
            Some(Seen::No(unseen)) => Some(unseen.why.clone()),
            None => Some("is missing".to_owned()),
        };
        unmet.map(|unmet| (request, unmet))
    };
    client_requests(&world.target.topology)
        .filter_map(due)
        .collect()
}

pub(crate) fn clients(world: &World<'_>) -> Rule {
    let mut why = Vec::new();
    let mut steps = Vec::new();
    for (request, unmet) in due_clients(world) {
        why.push(format!("the certificate of {} {unmet}", request.name));
        steps.push(OperatorStep::IssueClient(request));
    }
    if steps.is_empty() {
        return Rule::Pass;
    }
    Rule::Do(Stage {
        key: StageKey::new("clients", None),
        title: "issue client certificates".to_owned(),
        why,
        impact: Impact::None,
        before: Vec::new(),
        work: Work::Operator(steps),
        settle: Vec::new(),
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
        })
}
