//! Every place of a topology that names something outside it. The topology is taken apart to its
//! last key, without `..`: a new key does not compile until it is classified.

use camino::Utf8PathBuf;

use crate::file::{
    Archive, Binaries, Ca, CertificateSource, Certificates, CfsslFiles, Directory, FileSpec,
    HostBinaries, HostSpec, KeyPath, Layout, MemberSpec, OperatorSource, Pod, Provided,
    ProvidedFrom, Release, Snapshots, Spec, Ssh, SshHost, Time,
};

/// A place that names something of the operator's machine.
pub(super) struct Place<'a> {
    pub(super) at: KeyPath,
    /// The kind of source that it takes.
    pub(super) kind: &'static str,
    pub(super) slot: Slot<'a>,
}

/// Where its name stands.
pub(super) enum Slot<'a> {
    Text(&'a mut String),
    Path(&'a mut Utf8PathBuf),
}

impl Slot<'_> {
    pub(super) fn get(&self) -> &str {
        match self {
            Slot::Text(text) => text,
            Slot::Path(path) => path.as_str(),
        }
    }

    pub(super) fn set(self, value: String) {
        match self {
            Slot::Text(text) => *text = value,
            Slot::Path(path) => *path = value.into(),
        }
    }
}

/// Collects places.
struct Found<'a>(Vec<Place<'a>>);

impl<'a> Found<'a> {
    fn text(
        &mut self,
        at: &KeyPath,
        kind: &'static str,
        text: impl IntoIterator<Item = &'a mut String>,
    ) {
        let slots = text.into_iter().map(Slot::Text);
        self.add(at, kind, slots);
    }

    fn path(
        &mut self,
        at: &KeyPath,
        kind: &'static str,
        path: impl IntoIterator<Item = &'a mut Utf8PathBuf>,
    ) {
        let slots = path.into_iter().map(Slot::Path);
        self.add(at, kind, slots);
    }

    fn add(&mut self, at: &KeyPath, kind: &'static str, slots: impl Iterator<Item = Slot<'a>>) {
        self.0.extend(slots.map(|slot| Place {
            at: at.clone(),
            kind,
            slot,
        }));
    }
}

/// Every place that names something of the operator's machine.
pub(super) fn places(spec: &mut Spec) -> Vec<Place<'_>> {
    let Spec {
        format: _,
        snapshots,
        cluster: _,
        etcd: _,
        through: _,
        token: _,
        runtime: _,
        binaries,
        security: _,
        certificates,
        // Paths in flags are the hosts' own.
        flags: _,
        layout,
        pod,
        ssh,
        // Looked up by hosts and by this machine, which tells nothing but whether a name exists.
        discovery: _,
        time,
        file,
        member,
    } = spec;
    let mut found = Found(Vec::new());
    of_snapshots(snapshots, &mut found);
    of_binaries(binaries, &KeyPath::root("binaries"), &mut found);
    of_certificates(certificates, &mut found);
    of_layout(layout, &mut found);
    of_pod(pod, &mut found);
    let Ssh {
        user: _,
        port: _,
        key,
        jump,
        sudo: _,
        host_key: _,
        known_hosts,
    } = ssh;
    let at = |name: &str| KeyPath::root("ssh").key(name);
    found.text(&at("key"), "ssh-key", key);
    found.text(&at("jump"), "jump-host", jump);
    found.text(&at("known-hosts"), "known-hosts", known_hosts);
    if let Some(Time { hosts }) = time {
        for (index, host) in hosts.iter_mut().enumerate() {
            let at = KeyPath::root("time").key("hosts").index(index);
            of_host(host, &at, &mut found);
        }
    }
    for (index, file) in file.iter_mut().enumerate() {
        let FileSpec {
            from,
            to: _,
            mode: _,
            owner: _,
        } = file;
        let at = KeyPath::root("file").index(index).key("from");
        found.text(&at, "file", [from]);
    }
    for (index, member) in member.iter_mut().enumerate() {
        let MemberSpec {
            name: _,
            host,
            address: _,
            listen: _,
            names: _,
            client_port: _,
            peer_port: _,
            metrics_port: _,
            data: _,
            wal: _,
            flags: _,
            absent: _,
        } = member;
        of_host(host, &KeyPath::member(index).key("host"), &mut found);
    }
    found.0
}

/// Every host that a topology names, members' and others'.
pub(super) fn hosts(spec: &Spec) -> Vec<(KeyPath, &HostSpec)> {
    let members = spec.member.iter().enumerate();
    let members = members.map(|(index, member)| {
        let at = KeyPath::member(index).key("host");
        (at, &member.host)
    });
    let time = spec.time.iter().flat_map(|time| &time.hosts).enumerate();
    let time = time.map(|(index, host)| {
        let at = KeyPath::root("time").key("hosts").index(index);
        (at, host)
    });
    members.chain(time).collect()
}

fn of_host<'a>(host: &'a mut HostSpec, at: &KeyPath, found: &mut Found<'a>) {
    match host {
        // Which hosts may be named has a check of its own.
        HostSpec::Text(_) | HostSpec::Vagrant(_) => {}
        HostSpec::Ssh(SshHost {
            ssh: _,
            user: _,
            port: _,
            key,
            jump,
            sudo: _,
        }) => {
            found.text(&at.clone().key("key"), "ssh-key", key);
            found.text(&at.clone().key("jump"), "jump-host", jump);
        }
    }
}

fn of_snapshots<'a>(snapshots: &'a mut Snapshots, found: &mut Found<'a>) {
    let Snapshots {
        every: _,
        keep: _,
        to,
        credentials,
        // Refused as they are: a source of kind snapshots has them with its place.
        options: _,
        encrypt: _,
        decrypt: _,
    } = snapshots;
    let at = |name: &str| KeyPath::root("snapshots").key(name);
    found.path(&at("to"), "snapshots", to);
    found.path(&at("credentials"), "key", credentials);
}

fn of_binaries<'a>(binaries: &'a mut Binaries, base: &KeyPath, found: &mut Found<'a>) {
    let at = |kind: &str, name: &str| base.clone().key(kind).key(name);
    match binaries {
        Binaries::Release(Release {
            mirror,
            download: _,
            sha256: _,
        }) => found.text(&at("release", "mirror"), "mirror", mirror),
        Binaries::Archive(Archive { path, sha256: _ }) => {
            found.path(&at("archive", "path"), "archive", [path]);
        }
        Binaries::Directory(Directory { path, also }) => {
            found.path(&at("directory", "path"), "directory", [path]);
            found.path(&at("directory", "also"), "directory", also);
        }
        Binaries::Host(HostBinaries {
            directory: _,
            tools,
        }) => of_binaries(tools, &at("host", "tools"), found),
    }
}

fn of_certificates<'a>(certificates: &'a mut Certificates, found: &mut Found<'a>) {
    let Certificates {
        ca,
        trust,
        algorithm: _,
        days: _,
        shared: _,
        clients: _,
        provided,
        // What they are called on hosts.
        files: _,
        cfssl,
        // Read from the files of `cfssl`.
        requests: _,
    } = certificates;
    let at = |table: &str, name: &str| KeyPath::root("certificates").key(table).key(name);
    let Ca {
        cert,
        key,
        key_env,
        // Refused as it is: a source of kind command stands in `key`.
        key_command: _,
        days: _,
    } = ca;
    found.path(&at("ca", "cert"), "file", cert);
    found.path(&at("ca", "key"), "key", key);
    found.text(&at("ca", "key-env"), "environment", key_env);
    found.path(&KeyPath::root("certificates").key("trust"), "file", trust);
    if let Some(CfsslFiles {
        ca,
        member,
        config,
        profile: _,
    }) = cfssl
    {
        found.path(&at("cfssl", "ca"), "file", ca);
        found.path(&at("cfssl", "member"), "file", member);
        found.path(&at("cfssl", "config"), "file", config);
    }
    let Some(Provided {
        from,
        ca,
        server,
        peer,
        operator,
    }) = provided
    else {
        return;
    };
    // Paths on hosts are the hosts' own; the operator's pair never is.
    if *from == ProvidedFrom::Operator {
        found.text(&at("provided", "ca"), "file", [ca]);
        for (name, pair) in [("server", Some(server)), ("peer", peer.as_mut())] {
            if let Some(CertificateSource { cert, key }) = pair {
                found.text(&at("provided", name).key("cert"), "file", [cert]);
                found.text(&at("provided", name).key("key"), "file", [key]);
            }
        }
    }
    if let Some(OperatorSource { ca, cert, key }) = operator {
        let at = at("provided", "operator");
        found.text(&at.clone().key("ca"), "file", ca);
        found.text(&at.clone().key("cert"), "file", [cert]);
        found.text(&at.clone().key("key"), "key", [key]);
    }
}

fn of_layout<'a>(layout: &'a mut Layout, found: &mut Found<'a>) {
    let Layout {
        root: _,
        certificates: _,
        data: _,
        wal: _,
        binaries: _,
        links: _,
        unit: _,
        user: _,
        client_port: _,
        peer_port: _,
        metrics_port: _,
        keep_unit: _,
        unit_template,
    } = layout;
    let at = KeyPath::root("layout").key("unit-template");
    found.path(&at, "template", unit_template);
}

fn of_pod<'a>(pod: &'a mut Pod, found: &mut Found<'a>) {
    let Pod {
        // Pulled by hosts, from where they may.
        image: _,
        pull_policy: _,
        archive,
        manifests: _,
        environment: _,
        probes: _,
        log: _,
        mounts: _,
        extra: _,
    } = pod;
    found.path(&KeyPath::root("pod").key("archive"), "archive", archive);
}
