//! Gathering evidence from members, all at once.

use etcdup_core::membership::MemberId;
use std::collections::BTreeMap;
use std::sync::Arc;

use etcdup_client::{Access, ClientError, Dial, Endpoint, Identities, MemberClient};
use etcdup_core::name::MemberName;
use etcdup_core::observation::MemberView;
use etcdup_core::observed::Observed;
use tokio::task::JoinSet;

use crate::metrics::{Metrics, metrics};

/// What became of a client without a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anonymous {
    /// It was refused, in these words.
    Refused(String),
    /// Something else went wrong, so nothing is proven.
    Inconclusive(String),
    /// It was served.
    Served,
    /// There was nothing to try: the plane does not demand certificates.
    NotTried,
}

/// What was gathered of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberEvidence {
    /// What it says of itself.
    pub view: MemberView,
    /// The hash of its store at the common revision.
    pub hash: Observed<(u32, i64)>,
    /// The alarms it knows.
    pub alarms: Observed<Vec<(MemberId, &'static str)>>,
    /// What its metrics show.
    pub metrics: Observed<Metrics>,
    /// What became of a client without a certificate.
    pub anonymous: Anonymous,
}

/// A member to ask: its name, its endpoint, and the way to it.
pub type MemberTarget = (MemberName, Endpoint, Arc<dyn Dial>);

/// Asks every member. Hashes are taken at the lowest revision that all of them have.
pub async fn gather(
    members: Vec<MemberTarget>,
    access: &Access,
    requires_client_cert: bool,
) -> BTreeMap<MemberName, Observed<MemberEvidence>> {
    let mut tasks = JoinSet::new();
    for (name, endpoint, dial) in members {
        let access = access.clone();
        tasks.spawn(async move {
            let gathered = first_round(&endpoint, &access, &dial, requires_client_cert).await;
            (name, gathered)
        });
    }
    let mut gathered = BTreeMap::new();
    while let Some(joined) = tasks.join_next().await {
        if let Ok((name, result)) = joined {
            gathered.insert(name, result);
        }
    }
    let revision = gathered
        .values()
        .filter_map(|result| result.as_ref().ok())
        .map(|(_, evidence)| evidence.view.revision)
        .min();
    let mut hashes = JoinSet::new();
    for (name, result) in &gathered {
        if let (Ok((client, _)), Some(revision)) = (result, revision) {
            let (client, name) = (client.clone(), name.clone());
            hashes.spawn(async move { (name, client.hash(revision).await) });
        }
    }
    let mut found = BTreeMap::new();
    while let Some(joined) = hashes.join_next().await {
        if let Ok((name, hash)) = joined {
            found.insert(name, hash);
        }
    }
    gathered
        .into_iter()
        .map(|(name, result)| match result {
            Err(error) => (name, error.into_observed()),
            Ok((_, mut evidence)) => {
                if let Some(hash) = found.remove(&name) {
                    evidence.hash = seen(hash);
                }
                (name, Observed::Known(evidence))
            }
        })
        .collect()
}

async fn first_round(
    endpoint: &Endpoint,
    access: &Access,
    dial: &Arc<dyn Dial>,
    requires_client_cert: bool,
) -> Result<(MemberClient, MemberEvidence), ClientError> {
    let client = MemberClient::new(endpoint, access, Arc::clone(dial))?;
    let (view, alarms, metrics, anonymous) = tokio::join!(
        client.view(),
        client.alarms(),
        metrics(endpoint, access, dial.as_ref()),
        anonymous(endpoint, access, dial, requires_client_cert),
    );
    let evidence = MemberEvidence {
        view: view?,
        hash: Observed::unknown("not asked"),
        alarms: seen(alarms),
        metrics: seen(metrics),
        anonymous,
    };
    Ok((client, evidence))
}

fn seen<T>(result: Result<T, ClientError>) -> Observed<T> {
    result.map_or_else(ClientError::into_observed, Observed::Known)
}

/// Tries to read without showing a certificate. Only an answer proves that it is served: with TLS
/// 1.3 the handshake succeeds on our side before the member has looked.
async fn anonymous(
    endpoint: &Endpoint,
    access: &Access,
    dial: &Arc<dyn Dial>,
    requires_client_cert: bool,
) -> Anonymous {
    let Access::Tls { ca, .. } = access else {
        return Anonymous::NotTried;
    };
    if !requires_client_cert {
        return Anonymous::NotTried;
    }
    let nobody = Access::Tls {
        ca: ca.clone(),
        clients: Identities::default(),
    };
    let mut unproven = String::new();
    // The member may hang up in the middle of our request, which reads like a call that we gave up:
    // asked again, it says what it means.
    for _ in 0..5 {
        let client = match MemberClient::new(endpoint, &nobody, Arc::clone(dial)) {
            Ok(client) => client,
            Err(error) => return Anonymous::Inconclusive(error.to_string()),
        };
        match client.serve().await {
            Ok(_) => return Anonymous::Served,
            // The member's TLS says so with an alert, or hangs up on the first read.
            Err(error @ ClientError::Connect(_)) => return Anonymous::Refused(error.to_string()),
            Err(error) => unproven = error.to_string(),
        }
    }
    Anonymous::Inconclusive(unproven)
}
