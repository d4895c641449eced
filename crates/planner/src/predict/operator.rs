//! What is predicted of the operator's own machine: certificates.

use etcdup_core::certificate::CertFacts;
use etcdup_core::name::ClusterName;
use etcdup_core::observation::{CaView, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::stage::OperatorStep;
use jiff::SignedDuration;

use crate::trusted::NOT_MADE;

pub(super) fn operator_step(cluster: &ClusterName, world: &mut Observation, step: &OperatorStep) {
    match step {
        OperatorStep::CreateCa => {
            let life = SignedDuration::from_hours(24 * 3650);
            world.ca = CaView::Usable(CertFacts {
                name: format!("{cluster} etcd CA"),
                issuer: format!("{cluster} etcd CA"),
                sans: std::collections::BTreeSet::new(),
                other_sans: Vec::new(),
                server_auth: true,
                client_auth: true,
                is_ca: true,
                not_before: world.at,
                not_after: world.at + life,
                fingerprint: "new".to_owned(),
                key_id: NOT_MADE.to_owned(),
                issuer_key_id: NOT_MADE.to_owned(),
                public_key: "new".to_owned(),
                algorithm: None,
                der: None,
                further: Vec::new(),
            });
        }
        OperatorStep::IssueClient(request) => {
            let facts = issued(request, world.ca.facts(), world.at);
            world
                .clients
                .insert(request.name.clone(), Observed::Known(facts));
        }
    }
}

pub(super) fn issued(
    request: &etcdup_core::certificate::CertRequest,
    ca: Option<&CertFacts>,
    at: jiff::Timestamp,
) -> CertFacts {
    CertFacts {
        name: request.name.clone(),
        issuer: ca.map(|facts| facts.name.clone()).unwrap_or_default(),
        sans: request.sans.clone(),
        other_sans: Vec::new(),
        server_auth: request.usage.is_server(),
        client_auth: true,
        is_ca: false,
        not_before: at,
        not_after: at + SignedDuration::from_hours(i64::from(request.hours)),
        fingerprint: "new".to_owned(),
        key_id: NOT_MADE.to_owned(),
        issuer_key_id: ca.map(|facts| facts.key_id.clone()).unwrap_or_default(),
        public_key: "new".to_owned(),
        algorithm: Some(request.algorithm),
        der: Some(b"new".as_slice().into()),
        further: Vec::new(),
    }
}
