//! What the next program needs to use the cluster: its flags, its configuration, its variables.

use etcdup_core::topology::Topology;

/// A program that uses etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Flags of kube-apiserver.
    KubeApiserver,
    /// The external-etcd stanza of kubeadm's ClusterConfiguration.
    Kubeadm,
    /// Flags of k3s server.
    K3s,
    /// Variables for etcdctl.
    Etcdctl,
    /// A scrape job of Prometheus.
    Prometheus,
}

/// Where the program finds its certificate, on its own machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// The CA's certificate.
    pub ca: String,
    /// The client's own certificate and key, where members demand one.
    pub own: Option<(String, String)>,
}

impl Program {
    /// The common name that a certificate for it has by custom.
    #[must_use]
    pub fn client_name(self) -> &'static str {
        match self {
            Program::KubeApiserver | Program::Kubeadm => "kube-apiserver-etcd-client",
            Program::K3s => "k3s-etcd-client",
            Program::Etcdctl => "etcdctl",
            Program::Prometheus => "prometheus",
        }
    }

    /// The text that it is given; `files` is `None` where clients speak plain HTTP.
    #[must_use]
    pub fn connect(self, topology: &Topology, files: Option<&ClientFiles>) -> String {
        let urls: Vec<String> = topology
            .members
            .iter()
            .map(|member| topology.client_url(member).to_string())
            .collect();
        match self {
            Program::KubeApiserver => flags(
                ("--etcd-servers", &urls.join(",")),
                files,
                ["--etcd-cafile", "--etcd-certfile", "--etcd-keyfile"],
                '\n',
            ),
            Program::K3s => flags(
                ("--datastore-endpoint", &urls.join(",")),
                files,
                [
                    "--datastore-cafile",
                    "--datastore-certfile",
                    "--datastore-keyfile",
                ],
                '\n',
            ),
            Program::Etcdctl => flags(
                // No ETCDCTL_API: 3 is the default since 3.4, and 3.6 and 3.7 warn about the
                // variable on every command.
                ("export ETCDCTL_ENDPOINTS", &urls.join(",")),
                files,
                [
                    "export ETCDCTL_CACERT",
                    "export ETCDCTL_CERT",
                    "export ETCDCTL_KEY",
                ],
                '\n',
            ),
            Program::Kubeadm => kubeadm(&urls, files),
            Program::Prometheus => prometheus(topology, files),
        }
    }
}

/// `name=value` a line.
fn flags(first: (&str, &str), files: Option<&ClientFiles>, names: [&str; 3], end: char) -> String {
    let mut text = format!("{}={}{end}", first.0, first.1);
    for (name, value) in names.into_iter().zip(paths(files)) {
        text.push_str(&format!("{name}={}{end}", quoted(value)));
    }
    text
}

/// A word that a shell takes as it is.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@+".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn paths(files: Option<&ClientFiles>) -> Vec<&str> {
    let own = files.and_then(|files| files.own.as_ref());
    files
        .map(|files| files.ca.as_str())
        .into_iter()
        .chain(
            own.into_iter()
                .flat_map(|(cert, key)| [cert.as_str(), key.as_str()]),
        )
        .collect()
}

fn kubeadm(urls: &[String], files: Option<&ClientFiles>) -> String {
    let mut text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\netcd:\n  external:\n    endpoints:\n".to_owned();
    for url in urls {
        text.push_str(&format!("    - {url}\n"));
    }
    for (name, value) in ["caFile", "certFile", "keyFile"]
        .into_iter()
        .zip(paths(files))
    {
        text.push_str(&format!("    {name}: {value}\n"));
    }
    text
}

fn prometheus(topology: &Topology, files: Option<&ClientFiles>) -> String {
    let cluster = &topology.cluster;
    let scheme = topology.client_scheme();
    let mut text = format!("scrape_configs:\n- job_name: etcd-{cluster}\n  scheme: {scheme}\n");
    if files.is_some() {
        text.push_str("  tls_config:\n");
    }
    for (name, value) in ["ca_file", "cert_file", "key_file"]
        .into_iter()
        .zip(paths(files))
    {
        text.push_str(&format!("    {name}: {value}\n"));
    }
    text.push_str("  static_configs:\n  - targets:\n");
    for member in &topology.members {
        text.push_str(&format!(
            "    - '{}'\n",
            topology.client_url(member).authority()
        ));
    }
    text.push_str(&format!("    labels:\n      cluster: {cluster}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use etcdup_core::file::Document;
    use etcdup_core::topology::resolve;

    fn topology(head: &str) -> Topology {
        let text = format!(
            "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n{head}\n[[member]]\nname = \"m1\"\nhost = \"10.0.1.10\"\n[[member]]\nname = \"m2\"\nhost = \"fd00::1\"\n"
        );
        let document = Document::parse("etcdup.toml", &text, &[]).unwrap();
        resolve(&document.spec, |_| None).unwrap()
    }

    #[test]
    fn each_program_gets_every_endpoint_and_its_files() {
        let files = ClientFiles {
            ca: "/pki/ca.crt".into(),
            own: Some(("/pki/me.crt".into(), "/pki/me.key".into())),
        };
        for program in [
            Program::KubeApiserver,
            Program::Kubeadm,
            Program::K3s,
            Program::Etcdctl,
            Program::Prometheus,
        ] {
            let text = program.connect(&topology(""), Some(&files));
            for part in [
                "10.0.1.10:2379",
                "[fd00::1]:2379",
                "/pki/ca.crt",
                "/pki/me.crt",
                "/pki/me.key",
            ] {
                assert!(text.contains(part), "{program:?} lacks {part}:\n{text}");
            }
        }
    }

    #[test]
    fn plain_http_needs_no_files() {
        let plain = topology("security = { client = \"plain\", allow-plain = true }");
        assert_eq!(
            Program::KubeApiserver.connect(&plain, None),
            "--etcd-servers=http://10.0.1.10:2379,http://[fd00::1]:2379\n"
        );
    }
}
