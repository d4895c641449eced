//! What a topology from the network may name, and what becomes of it.
#![allow(clippy::unwrap_used, reason = "tests say what they expect")]

use super::*;
use crate::file::Document;

/// A topology with every key that names something outside it, each as `NAME` says.
fn everything(name: impl Fn(&str) -> String) -> Vec<Spec> {
    let provided = |from: &str| {
        format!(
            "[certificates.provided]\nfrom = \"{from}\"\nca = \"{0}\"\n\
             server = {{ cert = \"{0}\", key = \"{0}\" }}\npeer = {{ cert = \"{0}\", key = \"{0}\" }}\n\
             operator = {{ ca = \"{0}\", cert = \"{0}\", key = \"{1}\" }}\n",
            name("file"),
            name("key")
        )
    };
    let of_ca = format!(
        "[certificates.ca]\ncert = \"{0}\"\nkey = \"{2}\"\nkey-env = \"{1}\"\n\
         [certificates.cfssl]\nca = \"{0}\"\nmember = \"{0}\"\nconfig = \"{0}\"\n",
        name("file"),
        name("environment"),
        name("key")
    );
    let binaries = [
        format!("release = {{ mirror = \"{}\" }}", name("mirror")),
        format!("archive = {{ path = \"{}\" }}", name("archive")),
        format!(
            "directory = {{ path = \"{0}\", also = [\"{0}\"] }}",
            name("directory")
        ),
    ];
    let heads = [of_ca, provided("operator")];
    let tail = format!(
        "[ssh]\nkey = \"{key}\"\njump = \"{jump}\"\nknown-hosts = \"{known}\"\n\
         [snapshots]\nto = \"{snapshots}\"\ncredentials = \"{secret}\"\n\
         [layout]\nunit-template = \"{template}\"\n[pod]\narchive = \"{archive}\"\n\
         [time]\nhosts = [{{ ssh = \"10.0.0.9\", key = \"{key}\", jump = \"{jump}\" }}]\n\
         [[file]]\nfrom = \"{file}\"\nto = \"/etc/x\"\n\
         [[member]]\nname = \"m1\"\nhost = {{ ssh = \"10.0.0.1\", key = \"{key}\", jump = \"{jump}\" }}\n",
        snapshots = name("snapshots"),
        secret = name("key"),
        key = name("ssh-key"),
        jump = name("jump-host"),
        known = name("known-hosts"),
        template = name("template"),
        archive = name("archive"),
        file = name("file"),
    );
    let heads = heads.iter().flat_map(|head| {
        let tail = &tail;
        binaries.iter().map(move |binaries| {
            format!("format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\nbinaries = {{ {binaries} }}\n{head}{tail}")
        })
    });
    let parse = |text: String| Document::parse("etcdup.toml", &text, &[]).unwrap().spec;
    heads.map(parse).collect()
}

fn sources() -> Sources {
    let kinds = [
        "ssh-key",
        "known-hosts",
        "key",
        "file",
        "template",
        "archive",
        "directory",
    ];
    let mut text = "hosts = [\"10.0.0.0/24\", \"etcd-*.example.com\", \"fd00::7\"]\n".to_owned();
    for kind in kinds {
        text.push_str(&format!(
            "[source.{kind}]\nkind = \"{kind}\"\npath = \"/srv/{kind}\"\n"
        ));
    }
    text.push_str(
        "[source.jump-host]\nkind = \"jump-host\"\nhost = \"bastion\"\n\
         [source.snapshots]\nkind = \"snapshots\"\nto = \"s3://backups\"\ncredentials = \"/srv/s3.env\"\n\
         options = { region = \"eu-1\" }\nencrypt = [\"age\"]\ndecrypt = [\"age\", \"-d\"]\n\
         [source.mirror]\nkind = \"mirror\"\nurl = \"https://mirror\"\n\
         [source.environment]\nkind = \"environment\"\nvariable = \"KEY\"\n\
         [source.vault]\nkind = \"command\"\nrun = [\"vault\", \"read\"]\n",
    );
    Sources::parse(&text).unwrap()
}

#[test]
fn whatever_names_something_outside_is_refused_unless_it_is_a_source() {
    for path in [
        "/etc/shadow",
        "../x",
        "~/.ssh/id_ed25519",
        "",
        "Source:file",
    ] {
        for spec in everything(|_| path.to_owned()) {
            let mut copy = spec.clone();
            let all = places(&mut copy).len();
            let refused = sources().forbidden(&spec);
            assert_eq!(refused.len(), all, "{path}: {refused:?}");
            assert!(all >= 13, "{all}");
        }
    }
    for mut spec in everything(|kind| format!("source:{kind}")) {
        assert_eq!(sources().forbidden(&spec), []);
        sources().fill_in(&mut spec).unwrap();
        // Filled in, it is what a person could have written, and the network still may not.
        let named = places(&mut spec);
        assert!(
            named
                .iter()
                .all(|place| !place.slot.get().starts_with(PREFIX))
        );
        let ssh = named.iter().find(|place| place.kind == "ssh-key").unwrap();
        assert_eq!(ssh.slot.get(), "/srv/ssh-key");
    }
}

#[test]
fn a_source_that_is_not_there_or_of_another_kind_is_told_with_its_place() {
    for name in ["nope", "mirror"] {
        for mut spec in everything(|_| format!("source:{name}")) {
            let findings = sources().fill_in(&mut spec).unwrap_err();
            assert!(
                findings
                    .iter()
                    .all(|finding| finding.id == "source-unknown")
            );
            assert!(findings.iter().all(|finding| finding.at.is_some()));
        }
    }
}

/// A command of a topology from the network would be run by whoever serves it.
#[test]
fn commands_for_snapshots_come_with_a_source_only() {
    let mut spec = everything(|kind| format!("source:{kind}")).remove(0);
    assert_eq!(sources().forbidden(&spec), []);
    sources().fill_in(&mut spec).unwrap();
    let filled = &spec.snapshots;
    assert_eq!(filled.to.as_ref().unwrap(), "s3://backups");
    assert_eq!(filled.credentials.as_ref().unwrap(), "/srv/s3.env");
    assert_eq!((filled.encrypt.len(), filled.decrypt.len()), (1, 2));
    assert!(named_outside(&spec).contains(&"age".to_owned()));
    for change in [
        |snapshots: &mut Snapshots| snapshots.encrypt = vec!["rm".into()],
        |snapshots: &mut Snapshots| snapshots.decrypt = vec!["rm".into()],
        |snapshots: &mut Snapshots| snapshots.keep.last = 0,
        |snapshots: &mut Snapshots| {
            snapshots.options = [("endpoint".into(), "http://x".into())].into();
        },
    ] {
        let mut spec = everything(|kind| format!("source:{kind}")).remove(0);
        change(&mut spec.snapshots);
        let refused = sources().forbidden(&spec);
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(refused[0].id, "reference-forbidden");
    }
}

#[test]
fn a_command_that_prints_the_key_stands_in_its_place() {
    let mut spec = everything(|kind| format!("source:{kind}")).remove(0);
    spec.certificates.ca.key = Some("source:vault".into());
    assert_eq!(sources().forbidden(&spec), []);
    sources().fill_in(&mut spec).unwrap();
    let ca = &spec.certificates.ca;
    assert_eq!(
        (&ca.key, ca.key_command.as_deref().map(<[_]>::len)),
        (&None, Some(2))
    );
    assert!(
        !sources().forbidden(&spec).is_empty(),
        "a command is no source"
    );
}

#[test]
fn hosts_are_those_of_the_list() {
    let sources = sources();
    for host in [
        "10.0.0.1",
        "etcd-7.example.com",
        "ETCD-a-b.Example.com",
        "fd00::7",
        "[fd00::7]",
    ] {
        assert!(sources.allows(host), "{host}");
    }
    for host in [
        "10.0.1.1",
        "etcd-7.example.com.evil",
        "etcd-7.x.example.com",
        "xetcd-7.example.com",
        "fd00::8",
        "localhost",
        "127.0.0.1",
        "10.0.0.1.evil.example",
        "",
        "*",
    ] {
        assert!(!sources.allows(host), "{host}");
    }
    let spec = |host: &str| {
        let text = format!(
            "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n[[member]]\nname = \"m1\"\nhost = {host}\n"
        );
        Document::parse("etcdup.toml", &text, &[]).unwrap().spec
    };
    for host in [
        "\"local\"",
        "{ vagrant = \"m1\" }",
        "\"root@10.0.9.1:22\"",
        "\"10.0.0.1@10.0.9.1\"",
    ] {
        let refused = sources.forbidden(&spec(host));
        assert_eq!(refused.len(), 1, "{host}");
        assert_eq!(refused[0].id, "host-forbidden");
    }
    assert_eq!(sources.forbidden(&spec("\"root@10.0.0.1:2222\"")), []);
    // What a resolver takes for an address is no name, however wide the pattern.
    let wide = Sources::parse("hosts = [\"*\"]").unwrap();
    for host in [
        "2130706433",
        "0x7f000001",
        "fe80::1%eth0",
        "-oProxyCommand=x",
    ] {
        assert!(!wide.allows(host), "{host}");
    }
    assert!(wide.allows("etcd-1"));
}

#[test]
fn a_member_is_dialled_and_a_key_is_taken_only_where_that_is_allowed() {
    let text = "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\nssh = { host-key = \"accept-new\" }\n\
                [[member]]\nname = \"m1\"\nhost = \"10.0.0.1\"\naddress = \"169.254.169.254\"\n";
    let spec = Document::parse("etcdup.toml", text, &[]).unwrap().spec;
    let refused = sources().forbidden(&spec);
    let at: Vec<String> = refused
        .iter()
        .map(|finding| finding.at.as_ref().unwrap().to_string())
        .collect();
    assert_eq!(at, ["ssh.host-key", "member[0].address"]);
}
