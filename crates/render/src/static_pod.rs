//! The manifest of a member that runs as a static pod, in the shape that kubeadm writes.

use etcdup_core::file::fill_version;
use etcdup_core::flag::{FlagSet, FlagSource};
use etcdup_core::path::HostPath;
use etcdup_core::topology::{Member, Topology};
use etcdup_core::version::EtcdVersion;
use serde_json::{Map, Value, json};

use crate::template::RenderError;

pub(crate) fn manifest(
    topology: &Topology,
    member: &Member,
    flags: &FlagSet,
) -> Result<String, RenderError> {
    let pod = &topology.pod;
    let container = container(topology, member, flags);
    let mut manifest = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": member.layout.manifest.file_name().trim_end_matches(".yaml"),
            "namespace": "kube-system",
            "labels": { "component": "etcd", "tier": "control-plane" },
            "annotations": {
                "kubeadm.kubernetes.io/etcd.advertise-client-urls": topology.client_url(member).to_string(),
            },
        },
        "spec": {
            "containers": [container],
            "hostNetwork": true,
            "priority": 2_000_001_000,
            "priorityClassName": "system-node-critical",
            "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
            "volumes": volumes(topology, member).into_iter().map(|volume| volume.of_pod()).collect::<Vec<_>>(),
        },
    });
    merge(&mut manifest, &Value::Object(pod.extra.clone()));
    let unusable = |error: String| RenderError::Template {
        template: "etcd.yaml",
        message: error,
    };
    let text = serde_saphyr::to_string(&manifest).map_err(|error| unusable(error.to_string()))?;
    // What was merged must not have taken flags away.
    let read = FlagSource::manifest(&text).map_err(|error| unusable(error.to_string()))?;
    if read.flags != *flags {
        return Err(RenderError::FlagsLost {
            member: member.name.to_string(),
            difference: "pod.extra changes the command or its variables".to_owned(),
        });
    }
    Ok(text)
}

/// The image that the file names, or the one that kubeadm takes.
#[must_use]
pub fn image(topology: &Topology) -> String {
    let version = &topology.version;
    let given = topology.pod.image.as_deref();
    let given = given.map(|image| fill_version(image, version));
    given.unwrap_or_else(|| format!("registry.k8s.io/etcd:{version}-0"))
}

fn container(topology: &Topology, member: &Member, flags: &FlagSet) -> Value {
    let pod = &topology.pod;
    let mounts: Vec<Value> = volumes(topology, member)
        .into_iter()
        .map(|volume| volume.of_container())
        .collect();
    let mut container = json!({
        "name": "etcd",
        "image": image(topology),
        "imagePullPolicy": pod.pull_policy.as_str(),
        "resources": { "requests": { "cpu": "100m", "memory": "100Mi" } },
        "volumeMounts": mounts,
    });
    if pod.environment {
        let variables = flags.environment();
        let variables = variables
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value }));
        container["command"] = json!(["etcd"]);
        container["env"] = variables.collect();
    } else {
        let command = std::iter::once("etcd".to_owned()).chain(flags.arguments());
        container["command"] = command.map(Value::String).collect();
    }
    if let (true, Some(port)) = (pod.probes, member.ports.metrics) {
        probes(&mut container, &topology.version, port);
    }
    container
}

/// A path of the host that the pod sees at the same place.
struct Volume {
    name: String,
    path: HostPath,
    /// What the kubelet makes where nothing is; empty leaves it to what is there.
    kind: &'static str,
}

impl Volume {
    fn of_pod(&self) -> Value {
        let mut host_path = json!({ "path": self.path });
        if !self.kind.is_empty() {
            host_path["type"] = json!(self.kind);
        }
        json!({ "name": self.name, "hostPath": host_path })
    }

    fn of_container(&self) -> Value {
        json!({ "name": self.name, "mountPath": self.path })
    }
}

fn volumes(topology: &Topology, member: &Member) -> Vec<Volume> {
    let volume = |name: &str, path: &HostPath, kind| Volume {
        name: name.to_owned(),
        path: path.clone(),
        kind,
    };
    // Not `DirectoryOrCreate`, as kubeadm has it: a data directory that is missing must keep the
    // pod from starting, or etcd would come up empty under the old member's ID.
    let mut volumes = vec![volume("etcd-data", &member.layout.data, "Directory")];
    if let Some(wal) = &member.layout.wal {
        volumes.push(volume("etcd-wal", wal, "Directory"));
    }
    if topology.uses_tls() {
        let certificates = &member.layout.certificates;
        volumes.push(volume("etcd-certs", certificates, "DirectoryOrCreate"));
    }
    if let Some(log) = &topology.pod.log {
        volumes.push(volume("etcd-log", log, "FileOrCreate"));
    }
    for (index, path) in topology.pod.mounts.iter().enumerate() {
        volumes.push(volume(&format!("host-{index}"), path, ""));
    }
    volumes
}

/// Probes as kubeadm writes them. `/health` would crash-loop a member without space (etcd issue
/// 14497), so the newer paths are used where the release has them.
fn probes(container: &mut Value, version: &EtcdVersion, port: u16) {
    let newer = match version.minor() {
        4 => version.patch() >= 29,
        5 => version.patch() >= 11,
        _ => true,
    };
    let probe = |path: &str, failures: u32, period: u32, delay: u32| {
        // Older releases have one path for all: without these it would ask a quorum, and fail with
        // the alarm NOSPACE.
        let path = if newer {
            path
        } else {
            "/health?exclude=NOSPACE&serializable=true"
        };
        json!({
            "failureThreshold": failures,
            "httpGet": { "host": "127.0.0.1", "path": path, "port": "probe-port", "scheme": "HTTP" },
            "initialDelaySeconds": delay,
            "periodSeconds": period,
            "timeoutSeconds": 15,
        })
    };
    container["ports"] =
        json!([{ "containerPort": port, "name": "probe-port", "protocol": "TCP" }]);
    container["livenessProbe"] = probe("/livez", 8, 10, 10);
    container["readinessProbe"] = probe("/readyz", 3, 1, 0);
    container["startupProbe"] = probe("/readyz", 24, 10, 10);
}

/// Tables are merged, lists are added to, anything else is replaced. The first container takes what
/// is given for it.
fn merge(into: &mut Value, extra: &Value) {
    match (into, extra) {
        (Value::Object(into), Value::Object(extra)) => {
            for (key, value) in extra {
                merge_entry(into, key, value);
            }
        }
        (into, extra) => *into = extra.clone(),
    }
}

fn merge_entry(into: &mut Map<String, Value>, key: &str, value: &Value) {
    match (into.get_mut(key), value) {
        (Some(Value::Array(list)), Value::Array(more)) if key == "containers" => {
            if let (Some(first), Some(extra)) = (list.first_mut(), more.first()) {
                merge(first, extra);
            }
            list.extend(more.iter().skip(1).cloned());
        }
        (Some(Value::Array(list)), Value::Array(more)) => list.extend(more.iter().cloned()),
        (Some(old), value) => merge(old, value),
        (None, value) => {
            into.insert(key.to_owned(), value.clone());
        }
    }
}
