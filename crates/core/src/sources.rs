//! What of the operator's machine a topology may name: `sources.toml` beside the topologies.
//!
//! A topology that a person writes into a file names files, commands and hosts as it likes. One
//! that comes over the network may not: it would read the server's files, run its commands and use
//! its keys on any host. It names sources instead, `source:deploy-key`, which only who has the
//! machine can define. Files on disk may name them too, so that one topology does for both.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::file::{AddressSpec, HostKeyPolicy, Keep, KeyPath, Snapshots, Spec, line_column};
use crate::finding::{Check, Finding};
use crate::host::{HostId, HostTarget, split_login};
use crate::name::DnsName;

mod places;

use places::{Place, hosts, places};

/// How a topology names a source.
const PREFIX: &str = "source:";

/// The checks of what a topology names.
pub const SOURCE_CHECKS: &[Check] = &[
    SOURCES_MALFORMED,
    SOURCE_UNKNOWN,
    REFERENCE_FORBIDDEN,
    HOST_FORBIDDEN,
];

const SOURCES_MALFORMED: Check = Check {
    id: "sources-malformed",
    title: "sources.toml cannot be read",
    about: "`hosts`, `local`, `vagrant`, and `[source.NAME]` with a `kind` and what that kind takes: a path, a host, a URL, \
            a command or a variable. Nothing is run by a topology beside a file that says something else.",
    advice: "correct it; docs/topology.md shows one",
};

const SOURCE_UNKNOWN: Check = Check {
    id: "source-unknown",
    title: "a topology names a source that is not there",
    about: "`source:NAME` is a source of `sources.toml` beside the topology, of the kind that the place takes.",
    advice: "define it in sources.toml, or correct the name",
};
const REFERENCE_FORBIDDEN: Check = Check {
    id: "reference-forbidden",
    title: "a topology from the network names something of this machine",
    about: "Files, commands, variables, keys, mirrors and jump hosts of the server are named as `source:NAME` only, and sources \
            are defined where the network cannot reach: in `sources.toml`. Anything else would read any file, or use any key.",
    advice: "define a source in sources.toml and name that",
};
const HOST_FORBIDDEN: Check = Check {
    id: "host-forbidden",
    title: "a topology from the network names a host that it may not",
    about: "Hosts of such a topology are those of the list `hosts` in `sources.toml`: the server would otherwise use its SSH \
            keys wherever the topology says. This machine itself and Vagrant machines take `local = true` and `vagrant = true`.",
    advice: "add the host to `hosts` in sources.toml",
};

/// `sources.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Sources {
    /// Hosts that a topology from the network may name: addresses, networks such as `10.0.1.0/24`,
    /// and names, in which `*` stands for any letters.
    pub hosts: Vec<String>,
    /// Such a topology may name this very machine.
    pub local: bool,
    /// Such a topology may name Vagrant machines.
    pub vagrant: bool,
    /// Such a topology may take a host's key at the first connection, which writes it down for all.
    pub accept_new: bool,
    /// The sources, by name.
    pub source: BTreeMap<String, Source>,
}

/// Something of the operator's machine. Relative paths start from the directory of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "kind",
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Source {
    /// A private key for SSH.
    SshKey {
        /// Its file.
        path: String,
    },
    /// The hosts' keys.
    KnownHosts {
        /// The file.
        path: String,
    },
    /// A jump host.
    JumpHost {
        /// `[user@]host[:port]`.
        host: String,
    },
    /// A private key of this machine: the CA's, or the operator's own. It goes to no host.
    Key {
        /// Its file.
        path: String,
    },
    /// A certificate, a request of cfssl's, or a file for hosts.
    File {
        /// The file; `{member}` is filled in where the place does so.
        path: String,
    },
    /// A template of the unit.
    Template {
        /// Its file.
        path: String,
    },
    /// An archive of a release or an image.
    Archive {
        /// Its file.
        path: String,
    },
    /// A directory of programs.
    Directory {
        /// The directory.
        path: String,
    },
    /// Where releases are downloaded from.
    Mirror {
        /// Its URL.
        url: String,
    },
    /// Where snapshots are kept, and how they are encrypted there, as under `[snapshots]`: a
    /// topology names it as `to`.
    Snapshots {
        /// The directory or the object store.
        to: String,
        /// How an object store is reached.
        #[serde(default)]
        options: BTreeMap<String, String>,
        /// The file that says who asks it.
        #[serde(default)]
        credentials: Option<String>,
        /// The command that encrypts.
        #[serde(default)]
        encrypt: Vec<String>,
        /// The command that decrypts.
        #[serde(default)]
        decrypt: Vec<String>,
        /// What is kept when older ones are deleted.
        #[serde(default)]
        keep: Keep,
    },
    /// A command that prints the CA's key.
    Command {
        /// The program and its arguments.
        run: Vec<String>,
    },
    /// A variable that holds the CA's key.
    Environment {
        /// Its name.
        variable: String,
    },
}

impl Source {
    fn kind(&self) -> &'static str {
        match self {
            Source::SshKey { .. } => "ssh-key",
            Source::KnownHosts { .. } => "known-hosts",
            Source::JumpHost { .. } => "jump-host",
            Source::Key { .. } => "key",
            Source::File { .. } => "file",
            Source::Template { .. } => "template",
            Source::Archive { .. } => "archive",
            Source::Directory { .. } => "directory",
            Source::Mirror { .. } => "mirror",
            Source::Snapshots { .. } => "snapshots",
            Source::Command { .. } => "command",
            Source::Environment { .. } => "environment",
        }
    }

    /// What a place of this kind is filled in with.
    fn value(&self) -> Option<&str> {
        match self {
            Source::SshKey { path }
            | Source::KnownHosts { path }
            | Source::Key { path }
            | Source::File { path }
            | Source::Template { path }
            | Source::Archive { path }
            | Source::Directory { path } => Some(path),
            Source::Snapshots { to, .. } => Some(to),
            Source::JumpHost { host } => Some(host),
            Source::Mirror { url } => Some(url),
            Source::Environment { variable } => Some(variable),
            Source::Command { .. } => None,
        }
    }
}

/// Everything of the operator's machine that a topology names, as it stands in it: who may see the
/// cluster need not see that.
#[must_use]
pub fn named_outside(spec: &Spec) -> Vec<String> {
    let mut spec = spec.clone();
    let command = spec.certificates.ca.key_command.clone();
    let snapshots = &spec.snapshots;
    let commands = [snapshots.encrypt.clone(), snapshots.decrypt.clone()];
    let places = places(&mut spec);
    let named = places.iter().map(|place| place.slot.get().to_owned());
    let commands = command.into_iter().chain(commands);
    named.chain(commands.flatten()).collect()
}

impl Sources {
    /// Everything of the operator's machine that sources stand for.
    #[must_use]
    pub fn named(&self) -> Vec<String> {
        let mut named = Vec::new();
        for source in self.source.values() {
            named.extend(source.value().map(str::to_owned));
            match source {
                Source::Command { run } => named.extend(run.iter().cloned()),
                Source::Snapshots {
                    credentials,
                    encrypt,
                    decrypt,
                    ..
                } => {
                    let words = encrypt.iter().chain(decrypt).chain(credentials);
                    named.extend(words.cloned());
                }
                _ => {}
            }
        }
        named
    }

    /// Reads `sources.toml`.
    ///
    /// # Errors
    /// A finding at the first fault of syntax or shape.
    pub fn parse(text: &str) -> Result<Self, Box<Finding>> {
        toml::from_str(text).map_err(|error| {
            // Without the line itself, which may hold a password: viewers read findings.
            let line = error.span().map(|span| line_column(text, &span).0);
            let line = line.map_or_else(String::new, |line| format!("line {line}: "));
            let why = format!("{line}{}", error.message());
            Box::new(SOURCES_MALFORMED.error("sources.toml", why))
        })
    }

    /// Fills in what a topology names as a source; what it names otherwise stays.
    ///
    /// # Errors
    /// Every source that is not there, or is of another kind than its place takes.
    pub fn fill_in(&self, spec: &mut Spec) -> Result<(), Vec<Finding>> {
        let mut findings = Vec::new();
        // A key that a command prints is another key of the file.
        let ca = &mut spec.certificates.ca;
        let printed = ca
            .key
            .as_ref()
            .and_then(|key| key.as_str().strip_prefix(PREFIX));
        if let Some(Source::Command { run }) = printed.and_then(|name| self.source.get(name)) {
            ca.key_command = Some(run.clone());
            ca.key = None;
        }
        self.fill_in_snapshots(&mut spec.snapshots);
        for place in places(spec) {
            let Some(name) = place.slot.get().strip_prefix(PREFIX).map(str::to_owned) else {
                continue;
            };
            match self.value(&place, &name) {
                Ok(value) => place.slot.set(value),
                Err(why) => {
                    findings.push(SOURCE_UNKNOWN.error(&place.at, why).at(place.at.clone()));
                }
            }
        }
        if findings.is_empty() {
            Ok(())
        } else {
            Err(findings)
        }
    }

    /// What a source says of the place that it is, beside the place.
    fn fill_in_snapshots(&self, snapshots: &mut Snapshots) {
        let named = snapshots.to.as_ref();
        let named = named.and_then(|to| to.as_str().strip_prefix(PREFIX));
        if let Some(Source::Snapshots {
            to: _,
            options,
            credentials,
            encrypt,
            decrypt,
            keep,
        }) = named.and_then(|name| self.source.get(name))
        {
            snapshots.options.clone_from(options);
            snapshots.credentials = credentials.as_ref().map(Into::into);
            snapshots.encrypt.clone_from(encrypt);
            snapshots.decrypt.clone_from(decrypt);
            snapshots.keep = *keep;
        }
    }

    fn value(&self, place: &Place<'_>, name: &str) -> Result<String, String> {
        let source = self.source.get(name);
        let source = source.ok_or_else(|| format!("there is no source `{name}`"))?;
        let value = source.value().filter(|_| source.kind() == place.kind);
        value.map(str::to_owned).ok_or_else(|| {
            format!(
                "source `{name}` is of kind {}, and {} takes one of kind {}",
                source.kind(),
                place.at,
                place.kind
            )
        })
    }

    /// What a topology from the network may not name, as it was sent.
    #[must_use]
    pub fn forbidden(&self, spec: &Spec) -> Vec<Finding> {
        let mut copy = spec.clone();
        let refused = |at: KeyPath, what: &str| {
            let evidence = format!("{at} is `{what}`, and may only be `{PREFIX}NAME`");
            REFERENCE_FORBIDDEN.error(&at, evidence).at(at)
        };
        let mut findings: Vec<Finding> = places(&mut copy)
            .into_iter()
            .filter(|place| !place.slot.get().starts_with(PREFIX))
            .map(|place| refused(place.at.clone(), place.slot.get()))
            .collect();
        if spec.certificates.ca.key_command.is_some() {
            let at = KeyPath::root("certificates").key("ca").key("key-command");
            findings.push(refused(at, "a command"));
        }
        let snapshots = &spec.snapshots;
        let own = [
            ("options", !snapshots.options.is_empty()),
            ("encrypt", !snapshots.encrypt.is_empty()),
            ("decrypt", !snapshots.decrypt.is_empty()),
            // A schedule deletes by it, and nobody approves that.
            ("keep", snapshots.keep != Keep::default()),
        ];
        for (key, _) in own.into_iter().filter(|(_, is_there)| *is_there) {
            let at = KeyPath::root("snapshots").key(key);
            let evidence = format!("{at} comes with a source of kind snapshots that `to` names");
            findings.push(REFERENCE_FORBIDDEN.error(&at, evidence).at(at));
        }
        if spec.ssh.host_key == HostKeyPolicy::AcceptNew && !self.accept_new {
            let at = KeyPath::root("ssh").key("host-key");
            let evidence = "`accept-new` takes whatever key a host shows, and writes it down";
            findings.push(REFERENCE_FORBIDDEN.error(&at, evidence).at(at));
        }
        // Members are dialled where they say they are, from here where a host forwards nothing.
        for (index, member) in spec.member.iter().enumerate() {
            if let Some(AddressSpec::Given(address)) = &member.address
                && !self.allows(&address.to_string())
            {
                let at = KeyPath::member(index).key("address");
                let evidence = format!("{address} is not among the hosts of sources.toml");
                findings.push(HOST_FORBIDDEN.error(&at, evidence).at(at));
            }
        }
        for (at, host) in hosts(spec) {
            let target = HostTarget::from_spec(host, &spec.ssh);
            let (named, allowed) = match &target {
                HostTarget::Local { .. } => ("local".to_owned(), self.local),
                HostTarget::Vagrant(machine) => {
                    // It becomes an argument of the vagrant command.
                    let plain = machine.starts_with(|c: char| c.is_ascii_alphanumeric());
                    (machine.clone(), self.vagrant && plain)
                }
                HostTarget::Ssh(ssh) => (ssh.host.clone(), self.allows(&ssh.host)),
            };
            if !allowed {
                let evidence = format!("{named} is not among the hosts of sources.toml");
                findings.push(HOST_FORBIDDEN.error(&at, evidence).at(at));
            }
        }
        findings
    }

    /// Whether a host that is reached by SSH is among them.
    #[must_use]
    pub fn allows_host(&self, host: &HostId) -> bool {
        self.allows(&split_login(host.as_str()).1)
    }

    fn allows(&self, host: &str) -> bool {
        let bare = host.trim_matches(['[', ']']);
        match bare.parse::<IpAddr>() {
            Ok(address) => self.hosts.iter().any(|pattern| contains(pattern, address)),
            // A resolver takes `2130706433` and `0x7f000001` for addresses.
            Err(_) => {
                let last = bare.rsplit('.').next().unwrap_or_default();
                let is_number = last.starts_with(|c: char| c.is_ascii_digit());
                let is_name = bare.parse::<DnsName>().is_ok() && !is_number;
                is_name && self.hosts.iter().any(|pattern| matches(pattern, bare))
            }
        }
    }
}

/// Whether a network, or an address, holds this address.
fn contains(pattern: &str, address: IpAddr) -> bool {
    let network = pattern.parse::<ipnet::IpNet>();
    network.is_ok_and(|network| network.contains(&address)) || pattern.parse() == Ok(address)
}

/// Whether a name is as this pattern says: `*` stands for letters of one part of a name, so that
/// `*.example.com` is not `a.b.example.com`.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('.');
    let mut names = name.split('.');
    loop {
        match (parts.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if part_matches(pattern, name) => {}
            _ => return false,
        }
    }
}

fn part_matches(pattern: &str, part: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern.eq_ignore_ascii_case(part);
    };
    let rest = part
        .get(..before.len())
        .filter(|start| start.eq_ignore_ascii_case(before));
    let Some(rest) = rest.and_then(|_| part.get(before.len()..)) else {
        return false;
    };
    // Every way that the star can end.
    (0..=rest.len())
        .filter_map(|skipped| rest.get(skipped..))
        .any(|rest| part_matches(after, rest))
}

#[cfg(test)]
mod tests;
