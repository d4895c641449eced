//! From one CA to another, and back from certificates that have ended.

use std::time::Duration;

use crate::e2e::context::{
    Context, Killed, Round, STILL, Scenario, finishes_when_killed, never_still,
};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};
use crate::reconnects::Reconnects;
use crate::writer::Writer;

pub(crate) const ALL: &[Scenario] = &[
    ("ca-rotated-under-clients", ca_rotated),
    ("rotation-killed-at-any-moment", rotation_killed),
    ("expired-certificates", expired_certificates),
    ("plain-to-mutual-and-back", plain_to_mutual),
    ("tls-killed-at-any-moment", tls_killed),
    ("rotation-end-killed-at-any-moment", rotation_end_killed),
    ("tls-back-killed-at-any-moment", tls_back_killed),
    ("ca-key-from-a-command", key_command),
];

const PLAIN: &str = "[security]\nclient = \"plain\"\npeer = \"plain\"\nallow-plain = true\n";
const TRUST: &str = "trust = [\"pki/prod/old-ca.crt\"]\n";

/// A CA made elsewhere, of the very name that the cluster's own has, and a file of both for
/// clients.
fn next_ca(lab: &Lab) -> Outcome {
    lab.inside(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
         -keyout next-ca.key -out next-ca.crt -subj '/CN=prod etcd CA' \
         -addext keyUsage=critical,keyCertSign,cRLSign 2>&1 && \
         cat pki/prod/ca.crt next-ca.crt > both.crt",
    )?
    .exits(0)
    .map(|_| ())
}

/// Puts it in the place of the old one, which is kept beside it.
fn take_its_place(lab: &Lab) -> Outcome {
    lab.inside(
        "cd pki/prod && mv ca.crt old-ca.crt && mv ca.key old-ca.key && \
         cp ../../next-ca.crt ca.crt && cp ../../next-ca.key ca.key",
    )?
    .exits(0)
    .map(|_| ())
}

/// Two CAs of one name, a writer, and clients that connect all the time: one with a certificate of
/// the old CA, one whose files are reissued beneath it. Then the old CA goes.
fn ca_rotated(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    let clients = "[certificates]\nclients = [{ name = \"kube\" }]";
    lab.topology(&context.version, clients, 3)?;
    lab.apply()?;
    lab.etcdup(&["pki", "issue", "alice"])?.exits(0)?;
    next_ca(&lab)?;
    let keys = || {
        lab.on(
            1,
            "sha256sum /etc/etcd/*/*.key /etc/etcd/*.key 2>/dev/null; true",
        )
    };
    let before = keys()?.out;
    ensure(before.contains("server.key"), &before)?;
    let writer = Writer::trusting(&lab, 3, "both.crt")?;
    let clients = Reconnects::start(&lab, "both.crt", &["tester", "pki/prod/kube"], 3)?;
    take_its_place(&lab)?;
    // Nothing is lost where the line was forgotten.
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("ca-mismatch")?
        .says("certificates.trust")?;
    lab.edit("clients = ", &format!("{TRUST}clients = "))?;
    lab.etcdup(&["plan"])?
        .exits(0)?
        .says("clients-must-trust")?
        .says("does not hold the CA `prod etcd CA` (key ")?
        .says("replace the certificates of m1 without a restart")?
        .says("no outage")?;
    lab.apply()?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()?;
    never_still(&writer.stop()?)?;
    clients.stop()?;
    // Each handshake reads a certificate and then its key: they never changed apart.
    let after = keys()?.out;
    ensure(after == before, format!("other keys: {before} {after}"))?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.etcdup(&["pki", "show"])?
        .exits(0)?
        .says("prod etcd CA, another CA")?;
    // The old CA goes, and a client that still needs it is named before.
    lab.edit(TRUST, "")?;
    lab.etcdup(&["plan"])?
        .exits(0)?
        .says("client-locked-out")?
        .says("alice is of `prod etcd CA`")?
        .says("which is to go")?;
    lab.inside("rm tester.crt tester.key")?.exits(0)?;
    let writer = Writer::start(&lab, 3)?;
    let clients = Reconnects::start(&lab, "pki/prod/ca.crt", &["tester", "pki/prod/kube"], 3)?;
    lab.apply()?;
    never_still(&writer.stop()?)?;
    clients.stop()?;
    let old = Reconnects::start(&lab, "pki/prod/ca.crt", &["pki/prod/alice"], 3)?;
    std::thread::sleep(Duration::from_secs(2));
    let refused = old.stop().err().unwrap_or_default();
    // Refused by the members, all of the time, and not for some reason of the client's own.
    ensure(
        refused.contains("unknown ca"),
        format!("a certificate of the old CA was not refused as such: {refused:?}"),
    )?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.nothing_to_do()
}

/// The keys of both CAs lie with a program that gives them out, and no file of etcdup's has them.
fn key_command(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.inside(
        "mkdir safe && for ca in one two; do \
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
         -keyout safe/$ca -out $ca.crt -subj /CN=$ca -addext keyUsage=critical,keyCertSign,cRLSign 2>&1; \
         done && cat one.crt two.crt > both.crt && mkdir -p pki/prod && cp both.crt pki/prod/ca.crt",
    )?
    .exits(0)?;
    let ca = |name: &str| {
        format!(
            "[certificates.ca]\ncert = \"{name}.crt\"\nkey-command = [\"cat\", \"safe/{name}\"]\n"
        )
    };
    lab.topology(&context.version, &ca("one"), 3)?;
    lab.apply()?;
    let writer = Writer::trusting(&lab, 3, "both.crt")?;
    let trust = format!("[certificates]\ntrust = [\"one.crt\"]\n{}", ca("two"));
    lab.edit(&ca("one"), &trust)?;
    // A safe that is locked is named, and nothing was changed.
    lab.inside("mv safe/two safe/locked")?.exits(0)?;
    lab.etcdup(&["apply", "--yes"])?.exits(4)?.says("cat")?;
    lab.inside("mv safe/locked safe/two")?.exits(0)?;
    // What is signed meanwhile must be accepted by members that trust the old CA alone.
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("put the old CA's key beside its certificate")?;
    lab.inside("cp safe/one one.key")?.exits(0)?;
    lab.apply()?.says("replace the certificates of m1")?;
    lab.inside("rm one.key")?.exits(0)?;
    never_still(&writer.stop()?)?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()?;
    lab.edit("trust = [\"one.crt\"]\n", "")?;
    lab.inside("rm tester.crt tester.key")?.exits(0)?;
    let writer = Writer::trusting(&lab, 3, "two.crt")?;
    lab.apply()?;
    never_still(&writer.stop()?)?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    let kept = lab.inside("grep -rl 'PRIVATE KEY' . | sort")?.exits(0)?.out;
    ensure(
        kept.lines()
            .all(|path| path.starts_with("./safe/") || path == "./tester.key"),
        format!("keys in {kept}"),
    )?;
    lab.nothing_to_do()
}

/// `apply` is killed at seeded moments while a new CA takes the old one's place, each time on hosts
/// of its own; the next run finishes.
fn rotation_killed(context: &Context) -> Outcome {
    Killed {
        seed: 20_261_129,
        labs: "t",
        span: Duration::from_millis(15_000),
        gap: STILL,
        sample: 1,
    }
    .series(context, rotation_killed_after)
}

fn rotation_killed_after(context: &Context, name: &str, after: Duration) -> Result<Round, String> {
    let lab = before_rotation(context, name)?;
    let writer = Writer::trusting(&lab, 3, "both.crt")?;
    rotate(&lab)?;
    finishes_when_killed(&lab, writer, after, &[1, 2, 3])
}

/// A cluster whose next CA is there, and used by nothing yet.
fn before_rotation(context: &Context, name: &str) -> Result<Lab, String> {
    let lab = context.named(name, 3)?;
    lab.topology(&context.version, "[certificates]\n", 3)?;
    lab.apply()?;
    next_ca(&lab)?;
    Ok(lab)
}

/// The next CA is the cluster's, and the old one is trusted still.
fn rotate(lab: &Lab) -> Outcome {
    take_its_place(lab)?;
    lab.edit("[certificates]\n", &format!("[certificates]\n{TRUST}"))
}

/// The same while the old CA goes.
fn rotation_end_killed(context: &Context) -> Outcome {
    Killed {
        seed: 20_261_205,
        labs: "x",
        span: Duration::from_millis(9_000),
        gap: STILL,
        sample: 1,
    }
    .series(context, |context, name, after| {
        let lab = before_rotation(context, name)?;
        rotate(&lab)?;
        lab.apply()?;
        let writer = Writer::start(&lab, 3)?;
        lab.edit(TRUST, "")?;
        finishes_when_killed(&lab, writer, after, &[1, 2, 3])
    })
}

/// `apply` is killed at seeded moments while TLS is turned on for peers and clients, each time on
/// hosts of its own; the next run finishes.
fn tls_killed(context: &Context) -> Outcome {
    Killed {
        seed: 20_261_130,
        labs: "p",
        span: Duration::from_millis(20_000),
        gap: STILL,
        sample: 1,
    }
    .series(context, tls_killed_after)
}

fn tls_killed_after(context: &Context, name: &str, after: Duration) -> Result<Round, String> {
    let lab = context.named(name, 3)?;
    lab.topology(&context.version, PLAIN, 3)?;
    lab.apply()?;
    let writer = Writer::plain(&lab, 3)?;
    let both = "[security]\nclient = \"mutual\"\nclient-also = \"plain\"\npeer = \"mutual\"\nallow-plain = true\n";
    lab.edit(PLAIN, both)?;
    finishes_when_killed(&lab, writer, after, &[1, 2, 3])
}

/// The same while TLS is turned off again.
fn tls_back_killed(context: &Context) -> Outcome {
    Killed {
        seed: 20_261_206,
        labs: "y",
        span: Duration::from_millis(14_000),
        gap: STILL,
        sample: 1,
    }
    .series(context, |context, name, after| {
        let lab = context.named(name, 3)?;
        let mutual = "[security]\nclient = \"mutual\"\npeer = \"mutual\"\n";
        lab.topology(&context.version, mutual, 3)?;
        lab.apply()?;
        let writer = Writer::start(&lab, 3)?;
        lab.edit(mutual, &format!("{PLAIN}client-also = \"mutual\"\n"))?;
        finishes_when_killed(&lab, writer, after, &[1, 2, 3])
    })
}

/// From plain HTTP to mutual TLS and back, for clients and peers at once, under a writer of either
/// kind: the port serves both in between.
fn plain_to_mutual(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    let (plain, mutual) = (
        PLAIN,
        "[security]\nclient = \"mutual\"\npeer = \"mutual\"\n",
    );
    let also = |kind: &str| format!("client-also = \"{kind}\"\n");
    lab.topology(&context.version, plain, 3)?;
    lab.apply()?;
    let (https, http) = (
        Lab::endpoints(3),
        Lab::endpoints(3).replace("https:", "http:"),
    );
    lab.etcdctl_agrees(&http, 3)?;
    // One edit would lock all clients out.
    lab.edit(plain, mutual)?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("security-change")?
        .says("client-also")?;
    let both = format!("{mutual}{}allow-plain = true\n", also("plain"));
    lab.edit(mutual, &both)?;
    lab.etcdup(&["plan"])?
        .exits(0)?
        .says("Leg 1 of 2: peers can speak TLS, and use plain HTTP")?
        .says("list m1 at https://")?
        .says("no outage")?;
    let writer = Writer::plain(&lab, 3)?;
    lab.apply()?;
    lab.etcdctl_agrees(&http, 3)?;
    lab.etcdctl_agrees(&https, 3)?;
    never_still(&writer.stop()?)?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()?;
    let writer = Writer::start(&lab, 3)?;
    lab.edit(&both, mutual)?;
    lab.apply()?;
    never_still(&writer.stop()?)?;
    lab.etcdctl_agrees(&https, 3)?;
    lab.etcdctl(&http, &["endpoint", "health"])?.exits(1)?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()?;
    let writer = Writer::start(&lab, 3)?;
    let both = format!("{plain}{}", also("mutual"));
    lab.edit(mutual, &both)?;
    lab.apply()?.says("list m1 at http://")?;
    never_still(&writer.stop()?)?;
    lab.etcdctl_agrees(&http, 3)?;
    lab.nothing_to_do()?;
    let writer = Writer::plain(&lab, 3)?;
    lab.edit(&both, plain)?;
    lab.apply()?;
    never_still(&writer.stop()?)?;
    lab.etcdctl_agrees(&http, 3)?;
    lab.etcdctl(&https, &["endpoint", "health"])?.exits(1)?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()
}

/// All certificates have ended, and every member was restarted since: none accepts another. First
/// the CA is there; then its key is lost, and another CA takes its place.
fn expired_certificates(context: &Context) -> Outcome {
    let lab = context.three("[certificates]\n")?;
    lab.etcdctl(&Lab::endpoints(3), &["put", "kept", "yes"])?
        .exits(0)?;
    let kept = |lab: &Lab| -> Outcome {
        let got = lab.etcdctl(&Lab::endpoints(3), &["get", "kept", "--print-value-only"])?;
        got.exits(0)?.says("yes")?;
        lab.etcdctl_agrees(&Lab::endpoints(3), 3)
    };
    expire(&lab)?;
    lab.etcdup(&["plan"])?.exits(0)?.says("ended at")?;
    lab.apply()?;
    kept(&lab)?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()?;
    expire(&lab)?;
    lab.inside("cd pki/prod && mv ca.crt old-ca.crt && rm ca.key")?
        .exits(0)?;
    lab.etcdup(&["plan"])?.exits(4)?.says("ca-missing")?;
    lab.edit("[certificates]\n", &format!("[certificates]\n{TRUST}"))?;
    // Connections that stand from before may still serve clients.
    lab.etcdup(&["plan"])?
        .exits(4)?
        .says("outage-not-approved")?;
    lab.etcdup(&["plan", "--allow-outage"])?
        .exits(0)?
        .says("create the certificate authority")?
        .says("restart all members with certificates of the new CA")?;
    let allowed = ["apply", "--yes", "--allow-outage"];
    lab.etcdup(&allowed)?.exits(0)?;
    lab.inside("rm tester.crt tester.key")?.exits(0)?;
    kept(&lab)?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()?;
    lab.edit(TRUST, "")?;
    lab.apply()?;
    kept(&lab)?;
    lab.nothing_to_do()
}

/// Puts certificates that ended yesterday in the place of all, with their keys, and restarts every
/// member: connections that stand know nothing of it.
pub(crate) fn expire(lab: &Lab) -> Outcome {
    lab.write(
        "expire.sh",
        "set -e\nrm -rf ca; mkdir -p ca/new; : > ca/index.txt; echo 77 > ca/serial\n\
         cat > ca/cnf <<C\n[ca]\ndefault_ca=c\n[c]\ndir=ca\ndatabase=ca/index.txt\nnew_certs_dir=ca/new\n\
         serial=ca/serial\npolicy=p\ndefault_md=sha256\nunique_subject=no\n[p]\ncommonName=supplied\n[e]\n\
         subjectAltName=IP:$2,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1,DNS:localhost\n\
         extendedKeyUsage=serverAuth,clientAuth\nkeyUsage=critical,digitalSignature\n\
         authorityKeyIdentifier=keyid\nC\n\
         openssl req -new -key old.key -subj /CN=$1 -out old.csr\n\
         openssl ca -batch -notext -config ca/cnf -extensions e -cert pki/prod/ca.crt \
         -keyfile pki/prod/ca.key -in old.csr -out old.crt \
         -startdate $(date -u -d '70 days ago' +%Y%m%d%H%M%SZ) \
         -enddate $(date -u -d 'yesterday' +%Y%m%d%H%M%SZ) 2>/dev/null\n",
    )?;
    for host in 1..=3 {
        for role in ["server", "peer"] {
            let key = lab
                .on(host, &format!("cat /etc/etcd/{role}.key"))?
                .exits(0)?;
            lab.write("old.key", &key.out)?;
            let address = Lab::address(host);
            lab.inside(&format!("sh expire.sh m{host} {address}"))?
                .exits(0)?;
            let old = lab.read("old.crt")?;
            let put = format!("cat > /etc/etcd/{role}.crt <<'E'\n{old}E\n");
            lab.on(host, &put)?.exits(0)?;
        }
    }
    for host in 1..=3 {
        lab.on(host, "systemctl restart --no-block etcd")?
            .exits(0)?;
    }
    Ok(())
}
