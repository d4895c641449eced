//! Checks of the flags that the file gives.

use std::collections::BTreeMap;

use super::rows::{FLAG_IN_VERSION, FLAG_OWNED, FLAG_VALUE, TLS_CONTRADICTION, UNKNOWN_FLAG};
use crate::file::{KeyPath, Spec, TransportSecurity};
use crate::finding::Finding;
use crate::flag::{FlagSpec, FlagValue, SetBy, Successor, Support, lookup, nearest, translate};

pub(super) fn lint_flags(spec: &Spec, findings: &mut Vec<Finding>) {
    table(spec, &spec.flags, &KeyPath::root("flags"), findings);
    for (index, member) in spec.member.iter().enumerate() {
        table(
            spec,
            &member.flags,
            &KeyPath::member(index).key("flags"),
            findings,
        );
    }
    timing(spec, findings);
}

fn table(
    spec: &Spec,
    flags: &BTreeMap<String, FlagValue>,
    place: &KeyPath,
    findings: &mut Vec<Finding>,
) {
    for (name, value) in flags {
        let at = place.clone().key(name);
        match lookup(name) {
            Some(row) => findings.extend(one(spec, row, value).map(|finding| finding.at(at))),
            None => findings.push(unknown(spec, name).at(at)),
        }
    }
}

/// In bytes (server/storage/quota.go, `maxQuotaBytes`): etcd starts with more, and warns.
const MOST_ADVISED_QUOTA: u64 = 8 << 30;

fn unknown(spec: &Spec, name: &str) -> Finding {
    let bare = name
        .trim_start_matches('-')
        .replace('_', "-")
        .to_ascii_lowercase();
    let bare = bare.strip_prefix("etcd-").unwrap_or(&bare);
    let near = if lookup(bare).is_some() {
        Some(bare.to_owned())
    } else {
        nearest(bare, &spec.etcd).map(str::to_owned)
    };
    let finding = UNKNOWN_FLAG.error(name, format!("etcd has no flag `{name}`"));
    match near {
        Some(near) => finding.advise(format!("did you mean `{near}`?")),
        None => finding,
    }
}

fn one(spec: &Spec, row: &FlagSpec, value: &FlagValue) -> Option<Finding> {
    let name = row.name;
    match row.owned {
        SetBy::Etcdup => {
            return Some(
                FLAG_OWNED
                    .error(name, format!("`{name}` is set by etcdup"))
                    .advise(instead_of(name)),
            );
        }
        SetBy::Security => {
            return Some(TLS_CONTRADICTION.error(
                name,
                format!("`{name}` is decided by [security] and [certificates]"),
            ));
        }
        SetBy::User | SetBy::Append => {}
    }
    if row.presence(&spec.etcd) == Support::Absent {
        return Some(elsewhere(spec, row, value).unwrap_or_else(|| absent(spec, row)));
    }
    if let Err(error) = row.canonical(&value.to_string()) {
        return Some(FLAG_VALUE.error(name, error.to_string()));
    }
    if let Err(wanted) = row.limits().check(&value.to_string(), &spec.etcd) {
        let evidence = format!(
            "`{value}` is not {wanted}; etcd {} refuses to start with it",
            spec.etcd
        );
        return Some(FLAG_VALUE.error(name, evidence));
    }
    // Starting and recovering take longer with every byte.
    let quota = value.to_string().parse::<u64>();
    if name == "quota-backend-bytes" && quota.is_ok_and(|bytes| bytes > MOST_ADVISED_QUOTA) {
        let evidence = format!("{value} bytes is more than the 8 GiB that etcd recommends at most");
        return Some(FLAG_VALUE.warning(name, evidence));
    }
    let plain = |plane: TransportSecurity| plane == TransportSecurity::Plain;
    let idle = match name {
        "cipher-suites" | "tls-min-version" | "tls-max-version" => {
            plain(spec.security.client_tls()) && plain(spec.security.peer)
        }
        "client-crl-file" | "client-cert-allowed-hostname" => {
            spec.security.client_tls() != TransportSecurity::Mutual
        }
        "peer-crl-file" | "peer-cert-allowed-cn" | "peer-cert-allowed-hostname" => {
            plain(spec.security.peer)
        }
        _ => false,
    };
    idle.then(|| {
        TLS_CONTRADICTION.error(
            name,
            format!("`{name}` has no effect under this [security]"),
        )
    })
}

fn instead_of(name: &str) -> &'static str {
    match name {
        "name" => "write `name` in the [[member]]",
        "data-dir" => "write `data` in the [[member]] or under [layout]",
        "wal-dir" => "write `wal` in the [[member]] or under [layout]: the directory that holds it",
        "initial-cluster-token" => "write `token` at the top of the file",
        "unsafe-no-fsync" | "force-new-cluster" => "leave it out: it can lose data",
        _ => "leave it out; the members in the file decide it",
    }
}

/// A flag that is written as another release has it, and what it is in this one.
fn elsewhere(spec: &Spec, row: &FlagSpec, value: &FlagValue) -> Option<Finding> {
    if let Err(error) = row.canonical(&value.to_string()) {
        return Some(FLAG_VALUE.error(row.name, error.to_string()));
    }
    let given = BTreeMap::from([(row.name.to_owned(), value.to_string())]);
    let translated = translate(&given, &spec.etcd);
    let (_, here) = translated.renamed.first()?;
    let evidence = format!(
        "etcd {} has no `{}`; it is given as `{here}`",
        spec.etcd, row.name
    );
    Some(
        FLAG_IN_VERSION
            .warning(row.name, evidence)
            .advise(format!("write `{here}`")),
    )
}

fn absent(spec: &Spec, row: &FlagSpec) -> Finding {
    let finding = FLAG_IN_VERSION.error(
        row.name,
        format!("etcd {} has no `{}`", spec.etcd, row.name),
    );
    match row.successor() {
        Some(Successor::Flag(next)) => finding.advise(format!("it became `{next}`")),
        Some(Successor::Gate(gate)) => finding.advise(format!(
            "it became the feature gate `{gate}`: feature-gates = \"{gate}=true\""
        )),
        Some(Successor::Nothing) => finding.advise("nothing took its place; leave it out"),
        None => {
            let cells = crate::version::KNOWN_MINORS
                .iter()
                .enumerate()
                .filter(|(column, _)| row.cell(*column) != "-")
                .map(
                    |(column, minor)| match row.cell(column).trim_end_matches('!') {
                        "all" => format!("3.{minor}"),
                        from => format!("3.{minor}.{from}"),
                    },
                )
                .collect::<Vec<_>>();
            finding.advise(format!("it is in {}", cells.join(", ")))
        }
    }
}

/// Election timeout: at least five heartbeats, at most 50 s, equal on all members (etcd's tuning
/// guide).
fn timing(spec: &Spec, findings: &mut Vec<Finding>) {
    let number = |flags: &BTreeMap<String, FlagValue>, name: &str| {
        flags
            .get(name)
            .and_then(|value| value.to_string().parse::<u64>().ok())
    };
    let heartbeat = number(&spec.flags, "heartbeat-interval").unwrap_or(100);
    let election = number(&spec.flags, "election-timeout").unwrap_or(1000);
    let at = |name: &str| KeyPath::root("flags").key(name);
    if election < heartbeat * 5 {
        let evidence = format!(
            "election-timeout {election} ms is less than five heartbeats of {heartbeat} ms"
        );
        findings.push(
            FLAG_VALUE
                .error("election-timeout", evidence)
                .at(at("election-timeout")),
        );
    }
    if election > 50_000 {
        findings.push(
            FLAG_VALUE
                .error(
                    "election-timeout",
                    format!("{election} ms is more than 50 s"),
                )
                .at(at("election-timeout")),
        );
    }
    for (index, member) in spec.member.iter().enumerate() {
        for flag in ["heartbeat-interval", "election-timeout"] {
            if member.flags.contains_key(flag) {
                let evidence = format!("`{flag}` must be the same on every member");
                let at = KeyPath::member(index).key("flags").key(flag);
                findings.push(
                    FLAG_VALUE
                        .error(flag, evidence)
                        .at(at)
                        .advise("move it to the file's [flags]"),
                );
            }
        }
    }
}
