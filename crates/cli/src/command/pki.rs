//! `etcdup pki`.

use crate::view::outln;
use crate::view::print::errln;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use etcdup_core::certificate::{CertFacts, CertRequest, Issuer, Subject, Usage, format_sans};
use etcdup_core::observed::Observed;
use etcdup_core::stage::Goal;
use etcdup_deploy::Vault;
use jiff::Timestamp;

use crate::command::context::Context;
use crate::exit;
use crate::view;

pub(crate) async fn show(context: &Context) -> u8 {
    let session = match context.session().await {
        Ok(session) => session,
        Err(error) => return context.fail(&error),
    };
    let (_, seen) = match session.observe(Goal::CONVERGE).await {
        Ok(observed) => observed,
        Err(error) => return context.fail(&error),
    };
    let mut found: Vec<(String, CertFacts)> = Vec::new();
    found.extend(
        seen.ca
            .facts()
            .map(|facts| ("here: the CA".to_owned(), facts.clone())),
    );
    found.extend(seen.clients.iter().filter_map(|(name, facts)| {
        Some((format!("here: client {name}"), facts.known()?.clone()))
    }));
    // What `connect`, `env` and `pki issue` wrote beside the CA.
    let beside = Vault::open(&session.document.spec, &session.base).issued();
    let known: BTreeSet<String> = found
        .iter()
        .map(|(_, facts)| facts.fingerprint.clone())
        .collect();
    found.extend(
        beside
            .into_iter()
            .filter(|(_, facts)| !known.contains(&facts.fingerprint))
            .map(|(name, facts)| (format!("here: {name}"), facts)),
    );
    for (host, view) in seen
        .hosts
        .iter()
        .filter_map(|(host, view)| Some((host, view.known()?)))
    {
        let facts = view
            .certificates
            .iter()
            .filter_map(|(path, facts)| Some((format!("{host}: {path}"), facts.known()?.clone())));
        found.extend(facts);
    }
    let unseen: Vec<(String, String)> = seen
        .hosts
        .iter()
        .filter_map(|(host, view)| match view {
            Observed::Unknown(unseen) => Some((host.to_string(), unseen.to_string())),
            Observed::Known(_) => None,
        })
        .collect();
    if context.json() {
        let list: Vec<_> = found
            .iter()
            .map(|(place, facts)| serde_json::json!({ "place": place, "certificate": facts }))
            .collect();
        let unseen: Vec<_> = unseen
            .iter()
            .map(|(host, why)| serde_json::json!({ "host": host, "why": why }))
            .collect();
        let parts = serde_json::json!({ "certificates": list, "unseen": unseen });
        view::json::print("pki", &parts);
    } else {
        let rows = found.iter().map(|(place, facts)| {
            let days = facts.remaining(seen.at).as_hours() / 24;
            let until = facts.not_after.strftime("%Y-%m-%d").to_string();
            vec![
                place.clone(),
                facts.name.clone(),
                if seen.is_of_another_ca(facts) {
                    format!("{}, another CA", facts.issuer)
                } else {
                    facts.issuer.clone()
                },
                // A CA and a client have none, which is as it should be.
                if facts.sans.is_empty() {
                    "-".to_owned()
                } else {
                    format_sans(&facts.sans)
                },
                until,
                format!("{days} days"),
            ]
        });
        view::table::print(
            &[
                "location",
                "subject",
                "issuer",
                "SANs",
                "expires",
                "remaining",
            ],
            rows,
        );
        for (host, why) in &unseen {
            view::error::plain(&format!("{host}: {why}"));
        }
    }
    if unseen.is_empty() {
        exit::DONE
    } else {
        exit::FAILED
    }
}

pub(crate) fn issue(
    context: &Context,
    name: &str,
    organization: Option<String>,
    days: u32,
    out: Option<PathBuf>,
    force: bool,
) -> u8 {
    let (document, path) = match context.document() {
        Ok(found) => found,
        Err(error) => return context.fail(&error),
    };
    if let Err(error) = name.parse::<etcdup_core::name::MemberName>() {
        view::error::plain(&error.to_string().replace("member name", "client name"));
        return exit::USAGE;
    }
    let base = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let vault = Vault::open(&document.spec, base);
    let request = CertRequest {
        name: name.to_owned(),
        subject: Subject::organization(organization),
        usage: Usage::Client,
        sans: BTreeSet::new(),
        algorithm: document.spec.certificates.algorithm,
        hours: days * 24,
        issuer: Issuer::Own,
    };
    let directory = out.unwrap_or_else(|| vault.directory());
    let there = directory.join(format!("{name}.key"));
    if there.exists() && !force {
        view::error::plain(&format!(
            "{} is there already; --force issues another in its place",
            there.display()
        ));
        return exit::FAILED;
    }
    let now = Timestamp::now();
    if vault.is_between_cas() {
        errln!("it is of the new CA: members accept it once `etcdup plan` issues nothing any more");
    }
    if let Some(left) = vault.days_left(now).filter(|left| *left < i64::from(days)) {
        errln!("the CA itself ends in {left} days, and the certificate with it");
    }
    match vault.issue_client(&request, &directory, now) {
        Ok((certificate, key)) if context.json() => {
            let parts = serde_json::json!({ "certificate": certificate, "key": key });
            view::json::print("issued", &parts);
            exit::DONE
        }
        Ok((certificate, key)) => {
            outln!("wrote {} and {}", certificate.display(), key.display());
            exit::DONE
        }
        Err(error) => context.fail(&error.into()),
    }
}
