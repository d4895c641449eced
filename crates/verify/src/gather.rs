//! Gathering evidence from members, all at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use etcdup_client::{Access, ClientError, Dial, Endpoint, MemberClient};
use etcdup_core::name::MemberName;
use etcdup_core::observation::MemberView;
use etcdup_core::seen::Seen;
use tokio::task::JoinSet;

use crate::metrics::active_peers;

/// What became of a client without a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anonymous {
    /// It was refused, in these words.
    Refused(String),
    /// Something else went wrong, so nothing is proven.
    Unproven(String),
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
    pub hash: Seen<(u32, i64)>,
    /// The alarms it knows.
    pub alarms: Seen<Vec<(u64, &'static str)>>,
    /// Active connections by remote member ID.
    pub peers: Seen<BTreeMap<u64, i64>>,
    /// What became of a client without a certificate.
    pub anonymous: Anonymous,
}

/// A member to ask: its name, its endpoint, and the way to it.
pub type Asked = (MemberName, Endpoint, Arc<dyn Dial>);

/// Asks every member. Hashes are taken at the lowest revision that all of them have.
pub async fn gather(
    members: Vec<Asked>,
    access: &Access,
    demands_certificate: bool,
) -> BTreeMap<MemberName, Seen<MemberEvidence>> {
    let mut tasks = JoinSet::new();
    for (name, endpoint, dial) in members {
        let access = access.clone();
        tasks.spawn(async move {
            let gathered = first_round(&endpoint, &access, &dial, demands_certificate).await;
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
            Err(error) => (name, error.into_seen()),
            Ok((_, mut evidence)) => {
                if let Some(hash) = found.remove(&name) {
                    evidence.hash = seen(hash);
                }
                (name, Seen::Yes(evidence))
            }
        })
        .collect()
}

async fn first_round(
    endpoint: &Endpoint,
    access: &Access,
    dial: &Arc<dyn Dial>,
    demands_certificate: bool,
) -> Result<(MemberClient, MemberEvidence), ClientError> {
    let client = MemberClient::new(endpoint, access, Arc::clone(dial))?;
    let (view, alarms, peers, anonymous) = tokio::join!(
        client.view(),
        client.alarms(),
        active_peers(endpoint, access, dial.as_ref()),
        anonymous(endpoint, access, dial, demands_certificate),
    );
    let evidence = MemberEvidence {
        view: view?,
        hash: Seen::no("not asked"),
        alarms: seen(alarms),
        peers: seen(peers),
        anonymous,
    };
    Ok((client, evidence))
}

fn seen<T>(result: Result<T, ClientError>) -> Seen<T> {
    result.map_or_else(ClientError::into_seen, Seen::Yes)
}

/// Tries to read without showing a certificate. Only an answer proves that it is served: with TLS 1.3 the handshake
/// succeeds on our side before the member has looked.
async fn anonymous(
    endpoint: &Endpoint,
    access: &Access,
    dial: &Arc<dyn Dial>,
    demands_certificate: bool,
) -> Anonymous {
    let Access::Tls { authority, .. } = access else {
        return Anonymous::NotTried;
    };
    if !demands_certificate {
        return Anonymous::NotTried;
    }
    let nobody = Access::Tls {
        authority: authority.clone(),
        client: None,
    };
    let mut unproven = String::new();
    // The member may hang up in the middle of our request, which reads like a call that we gave up: asked once more, it
    // says what it means.
    for _ in 0..2 {
        let client = match MemberClient::new(endpoint, &nobody, Arc::clone(dial)) {
            Ok(client) => client,
            Err(error) => return Anonymous::Unproven(error.to_string()),
        };
        match client.serve().await {
            Ok(_) => return Anonymous::Served,
            // The member's TLS says so with an alert, or hangs up on the first read.
            Err(error @ ClientError::Connect(_)) => return Anonymous::Refused(error.to_string()),
            Err(error) => unproven = error.to_string(),
        }
    }
    Anonymous::Unproven(unproven)
}
