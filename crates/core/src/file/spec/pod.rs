//! `[pod]`: how a static pod looks.

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::path::HostPath;

/// How a static pod looks. The rest is as kubeadm writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Pod {
    /// The image; `registry.k8s.io/etcd:<version>-0` when not given. `{version}` stands for the
    /// release, such as 3.5.33.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// When the kubelet pulls it.
    pub pull_policy: PullPolicy,
    /// An archive of the image here, loaded on each host that lacks it: for hosts without a
    /// registry. `{arch}` and `{version}` are filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub archive: Option<Utf8PathBuf>,
    /// The directory that the kubelet watches; `/etc/kubernetes/manifests` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifests: Option<HostPath>,
    /// Flags as `ETCD_*` variables instead of arguments.
    pub environment: bool,
    /// Probes as kubeadm's, over plain HTTP on loopback; they need a metrics port, 2381 when none
    /// is given.
    pub probes: bool,
    /// A file on the host that etcd logs to beside its standard error: images have no shell to do
    /// it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<HostPath>,
    /// More paths of the host that the pod sees at the same place, such as `/etc/hosts`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<HostPath>,
    /// What is merged into the manifest: tables are merged, lists are added to.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")]
    pub extra: Map<String, Value>,
}

impl Default for Pod {
    fn default() -> Self {
        Self {
            image: None,
            pull_policy: PullPolicy::default(),
            archive: None,
            manifests: None,
            environment: false,
            probes: true,
            log: None,
            mounts: Vec::new(),
            extra: Map::new(),
        }
    }
}

/// When the kubelet pulls an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// When it is not there.
    #[default]
    IfNotPresent,
    /// At each start.
    Always,
    /// Never.
    Never,
}

impl PullPolicy {
    /// As Kubernetes spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PullPolicy::IfNotPresent => "IfNotPresent",
            PullPolicy::Always => "Always",
            PullPolicy::Never => "Never",
        }
    }
}
