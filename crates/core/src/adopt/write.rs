//! What was read of every member, as one topology file.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::read::{AdoptError, AdoptTarget, Read, read};
use crate::file::{Document, Ssh};

/// The operator's own files, to speak to members with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorFiles {
    /// The CA's certificate.
    pub ca: Option<String>,
    /// The client certificate.
    pub cert: Option<String>,
    /// Its key.
    pub key: Option<String>,
}

/// Which of the etcds of the hosts make the cluster, where they are several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdoptFilter {
    /// Only those on this data directory.
    pub data: Option<String>,
}

/// A topology file, TOML, whose cluster is the one that runs.
///
/// # Errors
/// When members contradict each other, or run in a way that a topology cannot say.
pub fn adopt(
    cluster: &str,
    found: &[AdoptTarget],
    select: &AdoptFilter,
    ssh: &Ssh,
    operator: &OperatorFiles,
) -> Result<String, AdoptError> {
    let wanted = |found: &&AdoptTarget| {
        let data = found.etcd.flags.get("data-dir");
        select.data.is_none() || select.data.as_deref() == data
    };
    let members: Vec<Read> = found
        .iter()
        .filter(wanted)
        .map(read)
        .collect::<Result<_, _>>()?;
    let first = members.first().ok_or(AdoptError::Nothing)?;
    let common = common_flags(&members);
    let mut file = Map::new();
    file.insert("format".into(), json!(1));
    file.insert("cluster".into(), json!(cluster));
    file.insert(
        "etcd".into(),
        json!(same("the version", &members, |m| m.version.clone())?),
    );
    let token = same("the token", &members, |m| m.token.clone())?;
    // etcd's own default, when nothing is given.
    file.insert(
        "token".into(),
        json!(token.unwrap_or_else(|| "etcd-cluster".to_owned())),
    );
    let runtime = same("what runs them", &members, |m| m.runtime)?;
    file.insert("runtime".into(), json!(runtime));
    let home = same("where etcd lies", &members, |m| m.home.clone())?;
    if let Some(home) = home {
        file.insert("binaries".into(), json!({ "host": { "directory": home } }));
    }
    file.insert(
        "security".into(),
        same("security", &members, |m| m.security.clone())?,
    );
    if first.tls {
        let mut provided = same("where certificates lie", &members, |m| m.provided.clone())?;
        let given = |file: &Option<String>, name: &str| {
            file.clone().unwrap_or_else(|| format!("operator/{name}"))
        };
        provided["operator"] = json!({
            "ca": given(&operator.ca, "ca.crt"),
            "cert": given(&operator.cert, "client.crt"),
            "key": given(&operator.key, "client.key"),
        });
        let files = same("what certificates are called", &members, |m| {
            m.files.clone()
        })?;
        file.insert(
            "certificates".into(),
            json!({ "provided": provided, "files": files }),
        );
    }
    file.insert(
        "layout".into(),
        same("the layout", &members, |m| m.layout.clone())?,
    );
    if runtime == "static-pod" {
        file.insert("pod".into(), same("the pod", &members, |m| m.pod.clone())?);
    }
    if !common.is_empty() {
        file.insert("flags".into(), json!(common));
    }
    if *ssh != Ssh::default() {
        file.insert("ssh".into(), json!(ssh));
    }
    let list: Vec<Value> = members.iter().map(|member| member.entry(&common)).collect();
    file.insert("member".into(), Value::Array(list));
    let text = toml::to_string(&Value::Object(file))
        .map_err(|error| AdoptError::Unwritable(error.to_string()))?;
    Document::parse("etcdup.toml", &text, &[])
        .map_err(|error| AdoptError::Unwritable(error.to_string()))?;
    Ok(text)
}

/// The flags that all members have with one value.
fn common_flags(members: &[Read]) -> BTreeMap<String, String> {
    let mut common = members
        .first()
        .map(|first| first.flags.clone())
        .unwrap_or_default();
    common.retain(|name, value| {
        members
            .iter()
            .all(|member| member.flags.get(name) == Some(value))
    });
    common
}

fn same<T: PartialEq + std::fmt::Debug>(
    what: &'static str,
    members: &[Read],
    of: impl Fn(&Read) -> T,
) -> Result<T, AdoptError> {
    let mut values: Vec<T> = members.iter().map(of).collect();
    if values.windows(2).any(|pair| pair[0] != pair[1]) {
        let found: BTreeSet<String> = values.iter().map(|value| format!("{value:?}")).collect();
        let found = found.into_iter().collect::<Vec<_>>().join(" and ");
        return Err(AdoptError::Differ { what, found });
    }
    values.pop().ok_or(AdoptError::Nothing)
}
