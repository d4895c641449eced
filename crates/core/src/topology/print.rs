//! `etcdup show`: everything resolved, each value with where it came from.

use serde::Serialize;
use serde_json::Value;

use crate::flag::{SetBy, lookup};

use super::meant::{ClusterState, Topology};
use crate::file::{Document, KeyPath};

/// One value of the topology and its origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EffectiveValue {
    /// Where it stands, such as `member[0].address`.
    pub path: String,
    /// The value, as JSON.
    pub value: String,
    /// `etcdup.toml:7`, `--set`, or `default`.
    pub origin: String,
}

/// Every value of a topology, those not given in the file too.
#[must_use]
pub fn show(document: &Document) -> Vec<EffectiveValue> {
    let mut settings = Vec::new();
    if let Ok(value) = serde_json::to_value(&document.spec) {
        walk(document, "", &value, &mut settings);
    }
    settings
}

/// What follows from a topology and stands in no file: names, URLs, paths and the flags that each
/// member will run with.
#[must_use]
pub fn derived_values(topology: &Topology) -> Vec<EffectiveValue> {
    let mut settings = Vec::new();
    let mut add = |path: String, value: String, origin: &str| {
        settings.push(EffectiveValue {
            path,
            value: Value::String(value).to_string(),
            origin: origin.to_owned(),
        });
    };
    add(
        "token".to_owned(),
        topology.token.to_string(),
        "cluster, token",
    );
    add("user".to_owned(), topology.user.to_string(), "layout");
    for member in &topology.members {
        let at = |key: &str| format!("member[{}].{key}", member.index);
        let layout = &member.layout;
        add(at("name"), member.name.to_string(), "name");
        add(at("host"), member.host.to_string(), "host, ssh");
        add(
            at("peer-url"),
            topology.peer_url(member).to_string(),
            "address, security",
        );
        add(
            at("client-url"),
            topology.client_url(member).to_string(),
            "address, security",
        );
        add(at("data"), layout.data.to_string(), "layout");
        if let Some(wal) = &layout.wal {
            add(at("wal"), wal.to_string(), "layout");
        }
        add(
            at("certificates"),
            layout.certificates.to_string(),
            "layout",
        );
        add(at("binaries"), layout.binaries.to_string(), "layout, etcd");
        add(at("unit"), layout.unit.clone(), "layout");
        for (name, value) in topology.flags(member, ClusterState::Existing).iter() {
            let from = match lookup(name).map(|row| row.owned) {
                Some(SetBy::Etcdup) => "member, layout",
                Some(SetBy::Security) => "security, layout",
                Some(SetBy::Append) => "address, flags",
                Some(SetBy::User) | None => "flags",
            };
            add(at(&format!("flags.{name}")), value.to_owned(), from);
        }
    }
    settings
}

fn walk(document: &Document, path: &str, value: &Value, settings: &mut Vec<EffectiveValue>) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                let dot = if path.is_empty() { "" } else { "." };
                walk(document, &format!("{path}{dot}{key}"), value, settings);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            for (index, value) in list.iter().enumerate() {
                walk(document, &format!("{path}[{index}]"), value, settings);
            }
        }
        leaf => settings.push(EffectiveValue {
            path: path.to_owned(),
            value: leaf.to_string(),
            origin: origin(document, path),
        }),
    }
}

fn origin(document: &Document, path: &str) -> String {
    let Ok(path) = path.parse::<KeyPath>() else {
        return "default".to_owned();
    };
    if document.override_for(&path).is_some() {
        return "--set".to_owned();
    }
    match document.find(&path) {
        Some(span) if document.defines(&path) => {
            format!("{}:{}", document.name, document.line_column(&span).0)
        }
        _ => "default".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_says_where_it_came_from() {
        let text = "format = 1\ncluster = \"prod\"\netcd = \"3.5.30\"\n[[member]]\nname = \"m1\"\nhost = \"10.0.0.1\"\n";
        let document = Document::parse("etcdup.toml", text, &["token=t2".to_owned()]).unwrap();
        let settings = show(&document);
        let origin = |path: &str| {
            settings
                .iter()
                .find(|setting| setting.path == path)
                .map(|setting| setting.origin.as_str())
        };
        assert_eq!(origin("cluster"), Some("etcdup.toml:2"));
        assert_eq!(origin("member[0].host"), Some("etcdup.toml:6"));
        assert_eq!(origin("security.client"), Some("default"));
        assert_eq!(origin("token"), Some("--set"));
    }
}
