//! One etcd that runs, read as a member of a topology.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::flag::{FlagSet, SetBy, lookup};
use crate::observation::EtcdInstance;
use crate::topology::LOG;
use crate::url::{Address, EtcdUrl, Scheme};
use crate::version::EtcdVersion;

/// An etcd that runs, and the host it runs on as the user named it.
#[derive(Debug, Clone, PartialEq)]
pub struct AdoptTarget {
    /// `[user@]host[:port]`, or `local`.
    pub target: String,
    /// What runs there.
    pub etcd: EtcdInstance,
}

/// Why what runs cannot be written down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdoptError {
    /// Nothing runs.
    #[error("no etcd runs on these hosts")]
    Nothing,
    /// A flag that is needed is not given.
    #[error("etcd of {target} runs without --{flag}, which a member of a cluster needs")]
    Missing {
        /// The host.
        target: String,
        /// The flag.
        flag: &'static str,
    },
    /// A flag is not understood.
    #[error("etcd of {target}: --{flag}: {why}")]
    Odd {
        /// The host.
        target: String,
        /// The flag.
        flag: &'static str,
        /// What is odd.
        why: String,
    },
    /// Its release cannot be known without running what others may have put there.
    #[error(
        "the release of the etcd of {target} is not known: its file is not root's own, and no image's tag says it"
    )]
    Release {
        /// The host.
        target: String,
    },
    /// Members differ in what a topology says once for all.
    #[error("members differ in {what}: {found}")]
    Differ {
        /// In what.
        what: &'static str,
        /// What they have.
        found: String,
    },
    /// What was written is no topology.
    #[error("what runs cannot be written down: {0}")]
    Unwritable(String),
}

/// What a member's own flags say.
pub(super) struct Read {
    pub(super) version: String,
    pub(super) token: Option<String>,
    pub(super) runtime: &'static str,
    pub(super) home: Option<String>,
    pub(super) tls: bool,
    pub(super) security: Value,
    pub(super) provided: Value,
    pub(super) files: Value,
    pub(super) layout: Value,
    pub(super) pod: Value,
    pub(super) own: Map<String, Value>,
    pub(super) flags: BTreeMap<String, String>,
}

impl Read {
    pub(super) fn entry(&self, common: &BTreeMap<String, String>) -> Value {
        let mut entry = self.own.clone();
        let flags: BTreeMap<_, _> = self
            .flags
            .iter()
            .filter(|(name, _)| !common.contains_key(*name))
            .collect();
        if !flags.is_empty() {
            entry.insert("flags".into(), json!(flags));
        }
        Value::Object(entry)
    }
}

pub(super) fn read(found: &AdoptTarget) -> Result<Read, AdoptError> {
    let etcd = &found.etcd;
    let flags = Flags {
        target: &found.target,
        flags: &etcd.flags,
    };
    let peer = flags.url("initial-advertise-peer-urls")?;
    let advertised = flags.url("advertise-client-urls")?;
    let listen_peer = flags.url("listen-peer-urls")?;
    let listen_client = flags.urls("listen-client-urls")?;
    let outer = listen_client
        .iter()
        .find(|url| url.address == listen_peer.address)
        .or_else(|| listen_client.iter().find(|url| !url.address.is_loopback()))
        .or_else(|| listen_client.first())
        .ok_or(flags.missing("listen-client-urls"))?;
    let inner = listen_client
        .iter()
        .find(|url| url.address.is_loopback() && *url != outer);
    let client = plane(advertised.scheme, &flags, "client-cert-auth");
    let peers = plane(peer.scheme, &flags, "peer-client-cert-auth");
    let runtime = match (&etcd.manifest, &etcd.unit) {
        (Some(_), _) => "static-pod",
        (None, Some(_)) => "systemd",
        (None, None) => "process",
    };
    let mut own = Map::new();
    own.insert("name".into(), json!(flags.need("name")?));
    own.insert("host".into(), json!(found.target));
    own.insert("address".into(), json!(peer.address.to_string()));
    if Some(listen_peer.address.clone()) != Some(peer.address.clone()) {
        own.insert("listen".into(), json!(listen_peer.address.to_string()));
    }
    own.insert("client-port".into(), json!(advertised.port));
    own.insert("peer-port".into(), json!(peer.port));
    own.insert("data".into(), json!(flags.need("data-dir")?));
    if let Some(wal) = own_log(&flags)? {
        own.insert("wal".into(), json!(wal));
    }
    if let Some(metrics) = flags.urls("listen-metrics-urls")?.first() {
        own.insert("metrics-port".into(), json!(metrics.port));
    }
    let certificates = Certificates::of(&flags)?;
    let outside = outer.address.is_loopback() || is_any(&outer.address);
    Ok(Read {
        version: version(found)?,
        token: etcd.flags.get("initial-cluster-token").map(str::to_owned),
        runtime,
        home: (runtime != "static-pod").then(|| parent(&etcd.exe)),
        tls: client != "plain" || peers != "plain",
        security: json!({
            "client": client,
            "peer": peers,
            "loopback-http": inner.is_some_and(|url| url.scheme == Scheme::Http) && client != "plain",
            "loopback": outside || inner.is_some(),
            "allow-plain": client == "plain" || peers == "plain",
        }),
        provided: certificates.provided(),
        files: certificates.files(),
        layout: layout(etcd, &certificates),
        pod: pod(&flags, etcd)?,
        own,
        flags: remaining(&etcd.flags, runtime == "static-pod"),
    })
}

/// The directory that holds the log, where that is not in the data. etcd makes a log beside its
/// place and renames it, so a directory of its own is what a topology names.
fn own_log(flags: &Flags<'_>) -> Result<Option<String>, AdoptError> {
    let data = flags.need("data-dir")?.trim_end_matches('/');
    let Some(wal) = flags.flags.get("wal-dir").filter(|wal| !wal.is_empty()) else {
        return Ok(None);
    };
    let wal = wal.trim_end_matches('/');
    let (holds, name) = wal.rsplit_once('/').unwrap_or_default();
    if wal == format!("{data}/member/{LOG}") {
        return Ok(None);
    }
    let within = |one: &str, other: &str| format!("{one}/").starts_with(&format!("{other}/"));
    let alone = holds.len() > 1 && !holds.ends_with("/member");
    if name != LOG || !alone || within(holds, data) || within(data, holds) {
        let why = format!(
            "{wal}: a log of its own is called `{LOG}`, in a directory with nothing else in it, which is not called \
             `member` and neither holds the data nor lies in it"
        );
        return Err(flags.odd("wal-dir", why));
    }
    Ok(Some(holds.to_owned()))
}

/// The release: as the binary says, or as the image's tag has it.
fn version(found: &AdoptTarget) -> Result<String, AdoptError> {
    if !found.etcd.version.is_empty() {
        return Ok(found.etcd.version.clone());
    }
    let tag = found
        .etcd
        .image
        .as_deref()
        .and_then(|image| image.rsplit_once(':'));
    let bare = tag.map(|(_, tag)| {
        tag.trim_start_matches('v')
            .split('-')
            .next()
            .unwrap_or_default()
    });
    bare.filter(|bare| bare.parse::<EtcdVersion>().is_ok())
        .map(str::to_owned)
        .ok_or_else(|| AdoptError::Release {
            target: found.target.clone(),
        })
}

fn layout(etcd: &EtcdInstance, certificates: &Certificates) -> Value {
    let manifest = etcd
        .manifest
        .as_ref()
        .map(|path| path.file_name().trim_end_matches(".yaml"));
    let unit = etcd
        .unit
        .as_deref()
        .map(|unit| unit.trim_end_matches(".service"));
    let mut layout = json!({ "user": etcd.user, "keep-unit": true });
    if let Some(unit) = manifest.or(unit) {
        layout["unit"] = json!(unit);
    }
    if let Some(directory) = &certificates.directory {
        layout["certificates"] = json!(directory);
    }
    layout
}

/// What the manifest says beside the flags.
fn pod(flags: &Flags<'_>, etcd: &EtcdInstance) -> Result<Value, AdoptError> {
    let (Some(path), Some(text)) = (&etcd.manifest, &etcd.text) else {
        return Ok(Value::Null);
    };
    let manifest: Value =
        serde_saphyr::from_str(text).map_err(|error| flags.odd("data-dir", error))?;
    let container = &manifest["spec"]["containers"][0];
    let named = |list: &Value, name: &Value| -> Option<Value> {
        list.as_array()?
            .iter()
            .find(|entry| entry["name"] == *name)
            .cloned()
    };
    let log = flags.flags.get("log-outputs").and_then(|outputs| {
        outputs
            .split(',')
            .find(|output| output.starts_with('/'))
            .map(str::to_owned)
    });
    let own = [
        etcd.flags.get("data-dir").map(str::to_owned),
        own_log(flags)?,
        etcd.flags
            .get("cert-file")
            .or(etcd.flags.get("peer-cert-file"))
            .map(parent),
        log.clone(),
    ];
    let mut mounts = Vec::new();
    for mount in container["volumeMounts"].as_array().into_iter().flatten() {
        let inside = mount["mountPath"].as_str().unwrap_or_default().to_owned();
        let volume = named(&manifest["spec"]["volumes"], &mount["name"]).unwrap_or_default();
        let outside = volume["hostPath"]["path"].as_str().unwrap_or_default();
        if outside.trim_end_matches('/') != inside.trim_end_matches('/') {
            let why = format!(
                "the manifest mounts {outside} of the host at {inside}: one path on both sides can be said"
            );
            return Err(flags.odd("data-dir", why));
        }
        if !own.contains(&Some(inside.clone())) {
            mounts.push(inside);
        }
    }
    let mut pod = json!({
        "image": etcd.image,
        "manifests": parent(path.as_str()),
        "probes": !container["livenessProbe"].is_null(),
        "environment": !container["env"].is_null(),
        "mounts": mounts,
    });
    if let Some(log) = log {
        pod["log"] = json!(log);
    }
    if let Some(policy) = container["imagePullPolicy"].as_str() {
        pod["pull-policy"] = json!(policy);
    }
    Ok(pod)
}

fn plane(scheme: Scheme, flags: &Flags<'_>, auth: &str) -> &'static str {
    match (scheme, flags.flags.get(auth)) {
        (Scheme::Http, _) => "plain",
        (Scheme::Https, Some("true")) => "mutual",
        (Scheme::Https, _) => "tls",
    }
}

/// What a topology has no other word for.
fn remaining(flags: &FlagSet, pod: bool) -> BTreeMap<String, String> {
    flags
        .iter()
        .filter(|(name, _)| lookup(name).is_none_or(|row| row.owned == SetBy::User))
        .filter(|(name, value)| !(pod && *name == "log-outputs" && value.contains('/')))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn is_any(address: &Address) -> bool {
    address.ip().is_some_and(|ip| ip.is_unspecified())
}

fn parent(path: &str) -> String {
    let above = path.rsplit_once('/').map_or("", |(above, _)| above);
    if above.is_empty() { "/" } else { above }.to_owned()
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// The files of certificates, by the flags that name them.
struct Certificates {
    directory: Option<String>,
    ca: Option<String>,
    server: Option<(String, String)>,
    peer: Option<(String, String)>,
}

impl Certificates {
    fn of(flags: &Flags<'_>) -> Result<Self, AdoptError> {
        let get = |flag: &str| flags.flags.get(flag).map(str::to_owned);
        let pair = |cert: &str, key: &str| get(cert).zip(get(key));
        let read = Self {
            directory: None,
            ca: get("trusted-ca-file").or_else(|| get("peer-trusted-ca-file")),
            server: pair("cert-file", "key-file"),
            peer: pair("peer-cert-file", "peer-key-file"),
        };
        let places: BTreeSet<String> = read.all().map(|path| parent(path)).collect();
        if places.len() > 1 {
            let places: Vec<String> = places.into_iter().collect();
            let why = format!(
                "certificates lie in several directories: {}",
                places.join(", ")
            );
            return Err(flags.odd("cert-file", why));
        }
        Ok(Self {
            directory: places.into_iter().next(),
            ..read
        })
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        let pairs = [&self.server, &self.peer].into_iter().flatten();
        self.ca
            .iter()
            .chain(pairs.flat_map(|(cert, key)| [cert, key]))
    }

    /// Client and peer connections may share one certificate.
    fn shared(&self) -> bool {
        self.server == self.peer
    }

    fn provided(&self) -> Value {
        let pair = |(cert, key): &(String, String)| json!({ "cert": cert, "key": key });
        let server = self.server.as_ref().or(self.peer.as_ref());
        let mut provided = json!({
            "from": "host",
            "ca": self.ca.clone().unwrap_or_default(),
            "server": server.map(pair),
        });
        if let (Some(peer), false) = (&self.peer, self.shared()) {
            provided["peer"] = pair(peer);
        }
        provided
    }

    fn files(&self) -> Value {
        let mut files = Map::new();
        let pair = |(cert, key): &(String, String)| json!({ "cert": file_name(cert), "key": file_name(key) });
        if let Some(ca) = &self.ca {
            files.insert("ca".into(), json!(file_name(ca)));
        }
        if let Some(server) = &self.server {
            files.insert("server".into(), pair(server));
        }
        if let (Some(peer), false) = (&self.peer, self.shared()) {
            files.insert("peer".into(), pair(peer));
        }
        Value::Object(files)
    }
}

struct Flags<'a> {
    target: &'a str,
    flags: &'a FlagSet,
}

impl Flags<'_> {
    fn missing(&self, flag: &'static str) -> AdoptError {
        AdoptError::Missing {
            target: self.target.to_owned(),
            flag,
        }
    }

    fn odd(&self, flag: &'static str, why: impl ToString) -> AdoptError {
        AdoptError::Odd {
            target: self.target.to_owned(),
            flag,
            why: why.to_string(),
        }
    }

    fn need(&self, flag: &'static str) -> Result<&str, AdoptError> {
        self.flags.get(flag).ok_or_else(|| self.missing(flag))
    }

    fn urls(&self, flag: &'static str) -> Result<Vec<EtcdUrl>, AdoptError> {
        let given = self.flags.get(flag).unwrap_or_default();
        given
            .split(',')
            .filter(|url| !url.is_empty())
            .map(|url| url.parse().map_err(|error| self.odd(flag, error)))
            .collect()
    }

    fn url(&self, flag: &'static str) -> Result<EtcdUrl, AdoptError> {
        let mut urls = self.urls(flag)?.into_iter();
        let first = urls.next().ok_or_else(|| self.missing(flag))?;
        match urls.next() {
            None => Ok(first),
            Some(more) => Err(self.odd(
                flag,
                format!("{first} and {more}: one URL a member can be said"),
            )),
        }
    }
}
