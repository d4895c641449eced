//! Certificates and keys as openssl and cfssl write them, and ours as openssl judges them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

use std::path::Path;
use std::process::Command;

use etcdup_core::certificate::Algorithm;
use etcdup_core::certificate::{CertRequest, Issuer, Subject, Usage};
use etcdup_core::secret::Secret;
use etcdup_pki::{Ca, PkiError, damage, inspect};
use jiff::Timestamp;

fn openssl(directory: &Path, arguments: &str) {
    said(directory, arguments);
}

fn said(directory: &Path, arguments: &str) -> Vec<u8> {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "openssl {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn request(algorithm: Algorithm) -> CertRequest {
    CertRequest {
        name: "m1".into(),
        subject: Subject::organization(Some("etcd".into())),
        usage: Usage::Peer,
        sans: [
            "10.0.1.10".parse().unwrap(),
            "m1.example.com".parse().unwrap(),
            "fd00::1".parse().unwrap(),
        ]
        .into(),
        algorithm,
        hours: 24 * 365,
        issuer: Issuer::Own,
    }
}

fn now() -> Timestamp {
    Timestamp::now()
}

/// Issues from a CA in these files and lets openssl verify the outcome.
fn issue_and_verify(directory: &Path, key_file: &str, algorithm: Algorithm) {
    let read = |file: &str| std::fs::read_to_string(directory.join(file)).unwrap();
    let ca = Ca::load(&read("ca.crt"), Some(&Secret::new(read(key_file)))).unwrap();
    let issued = ca.issue(&request(algorithm), now()).unwrap();
    std::fs::write(directory.join("leaf.key"), issued.key.reveal()).unwrap();
    is_verified(directory, &issued.certificate, algorithm);
    // The next one for the same key goes with the key that is there.
    let before = inspect(&issued.certificate).unwrap();
    let der = before.der.unwrap();
    assert!(ca.has_signed(&der));
    let renewed = ca.renew(&request(algorithm), &der, now()).unwrap();
    is_verified(directory, &renewed, algorithm);
    let after = inspect(&renewed).unwrap();
    assert_eq!(after.public_key, before.public_key);
    assert_ne!(after.fingerprint, before.fingerprint);
}

fn is_verified(directory: &Path, certificate: &str, algorithm: Algorithm) {
    std::fs::write(directory.join("leaf.crt"), certificate).unwrap();
    for purpose in ["sslserver", "sslclient"] {
        openssl(
            directory,
            &format!("verify -CAfile ca.crt -purpose {purpose} -verify_ip 10.0.1.10 leaf.crt"),
        );
    }
    openssl(
        directory,
        "verify -CAfile ca.crt -verify_hostname m1.example.com leaf.crt",
    );
    openssl(directory, "pkey -in leaf.key -check -noout");
    let of = |arguments: &str| said(directory, arguments);
    assert_eq!(
        of("x509 -in leaf.crt -noout -pubkey"),
        of("pkey -in leaf.key -pubout")
    );
    assert!(
        inspect(certificate)
            .unwrap()
            .satisfies(&request(algorithm), &[], now())
            .is_ok()
    );
}

#[test]
fn a_ca_of_our_own_passes_openssl() {
    let directory = tempfile::tempdir().unwrap();
    let ca = Ca::make("prod etcd CA", 3650, now(), None).unwrap();
    std::fs::write(directory.path().join("ca.crt"), ca.certificate()).unwrap();
    std::fs::write(directory.path().join("ca.key"), ca.key().unwrap().reveal()).unwrap();
    issue_and_verify(directory.path(), "ca.key", Algorithm::EcdsaP256);
    issue_and_verify(directory.path(), "ca.key", Algorithm::Rsa2048);
}

#[test]
fn keys_are_read_in_every_form_openssl_writes() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for (kind, make) in [
        (
            "rsa",
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out pkcs8.key",
        ),
        (
            "ec",
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out pkcs8.key",
        ),
    ] {
        openssl(at, make);
        openssl(
            at,
            "req -x509 -new -key pkcs8.key -days 30 -subj /CN=other-ca -out ca.crt",
        );
        issue_and_verify(at, "pkcs8.key", Algorithm::EcdsaP256);
        openssl(
            at,
            &format!(
                "{kind} -in pkcs8.key {}-out old.key",
                if kind == "rsa" { "-traditional " } else { "" }
            ),
        );
        let label = if kind == "rsa" {
            "RSA PRIVATE KEY"
        } else {
            "EC PRIVATE KEY"
        };
        assert!(
            std::fs::read_to_string(at.join("old.key"))
                .unwrap()
                .contains(label)
        );
        issue_and_verify(at, "old.key", Algorithm::EcdsaP256);
    }
}

#[test]
fn a_key_that_is_not_the_cas_is_refused() {
    let one = Ca::make("one", 10, now(), None).unwrap();
    let two = Ca::make("two", 10, now(), None).unwrap();
    let error = Ca::load(one.certificate(), two.key()).err().unwrap();
    assert_eq!(error, PkiError::KeyMismatch("one".into()));
}

#[test]
fn a_leaf_is_no_ca() {
    let ca = Ca::make("one", 10, now(), None).unwrap();
    let leaf = ca.issue(&request(Algorithm::EcdsaP256), now()).unwrap();
    let error = Ca::load(&leaf.certificate, Some(&leaf.key)).err().unwrap();
    assert_eq!(error, PkiError::NotACa("m1".into()));
}

#[test]
fn an_encrypted_key_says_so() {
    let directory = tempfile::tempdir().unwrap();
    openssl(
        directory.path(),
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -pass pass:x -out e.key",
    );
    let key = Secret::new(std::fs::read_to_string(directory.path().join("e.key")).unwrap());
    let ca = Ca::make("one", 10, now(), None).unwrap();
    assert_eq!(
        Ca::load(ca.certificate(), Some(&key)).err().unwrap(),
        PkiError::EncryptedKey
    );
}

#[test]
fn a_leaf_ends_no_later_than_its_ca() {
    let ca = Ca::make("one", 1, now(), None).unwrap();
    let leaf = inspect(
        &ca.issue(&request(Algorithm::EcdsaP256), now())
            .unwrap()
            .certificate,
    )
    .unwrap();
    assert!(leaf.not_after <= ca.facts().not_after);
}

#[test]
fn a_client_is_no_server() {
    let ca = Ca::make("one", 10, now(), None).unwrap();
    let wanted = CertRequest {
        usage: Usage::Client,
        ..request(Algorithm::EcdsaP256)
    };
    let facts = inspect(&ca.issue(&wanted, now()).unwrap().certificate).unwrap();
    assert!(facts.client_auth && !facts.server_auth);
}

/// cfssl writes PKCS#1 and SEC1 keys. `cargo xtask test` installs it.
#[test]
fn a_ca_made_by_cfssl_is_loaded() {
    if Command::new("cfssl").arg("version").output().is_err() {
        assert!(
            std::env::var("ETCDUP_FIXTURES").is_err(),
            "cfssl is not installed"
        );
        eprintln!("cfssl is not here: run by `cargo xtask test`, this loads a CA of its making");
        return;
    }
    for key in [
        r#"{"algo":"rsa","size":2048}"#,
        r#"{"algo":"ecdsa","size":256}"#,
    ] {
        let directory = tempfile::tempdir().unwrap();
        let request =
            format!(r#"{{"CN":"cfssl CA","key":{key},"names":[{{"O":"Kubernetes","OU":"CA"}}]}}"#);
        std::fs::write(directory.path().join("ca-csr.json"), request).unwrap();
        let made = Command::new("sh")
            .args(["-c", "cfssl gencert -loglevel 5 -initca ca-csr.json | cfssljson -bare ca && mv ca.pem ca.crt"])
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        issue_and_verify(directory.path(), "ca-key.pem", Algorithm::EcdsaP256);
    }
}

#[test]
fn a_bundle_names_all_its_certificates_and_passes_over_what_is_none() {
    let old = Ca::make("old", 10, now(), None).unwrap();
    let new = Ca::make("new", 10, now(), None).unwrap();
    let unreadable = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bundle = format!("{}{unreadable}{}", old.certificate(), new.certificate());
    let facts = inspect(&bundle).unwrap();
    let names: Vec<_> = facts.file().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["old", "new"]);
    for ca in [&old, &new] {
        let issued = ca.issue(&request(Algorithm::EcdsaP256), now()).unwrap();
        assert!(inspect(&issued.certificate).unwrap().is_trusted_by(&facts));
    }
    assert!(inspect(unreadable).is_err());
}

/// etcd reads every block of its CA file as a certificate, and does not start when one is none.
#[test]
fn a_ca_file_that_etcd_would_not_start_with_is_damaged() {
    let one = Ca::make("one", 10, now(), None).unwrap();
    let good = one.certificate();
    assert_eq!(damage(good), None);
    assert_eq!(damage(&format!("a comment\n{good}{good}")), None);
    let key = one.key().unwrap().reveal();
    for (text, word) in [
        (format!("{good}{key}"), "block 2"),
        (format!("{key}{good}"), "PRIVATE KEY"),
        (String::new(), "no PEM block"),
    ] {
        let why = damage(&text);
        assert!(
            why.as_ref().is_some_and(|why| why.contains(word)),
            "{why:?}"
        );
    }
}

/// What lies on a host may be anyone's: a CA certifies the key of no other's certificate again, and
/// none of another name or algorithm.
#[test]
fn only_the_own_pair_is_renewed() {
    let ca = Ca::make("prod etcd CA", 3650, now(), None).unwrap();
    // Of the very name that the other has.
    let other = Ca::make("prod etcd CA", 3650, now(), None).unwrap();
    let der = |ca: &Ca, algorithm| {
        let issued = ca.issue(&request(algorithm), now()).unwrap();
        inspect(&issued.certificate).unwrap().der.unwrap()
    };
    let (own, foreign) = (
        der(&ca, Algorithm::EcdsaP256),
        der(&other, Algorithm::EcdsaP256),
    );
    assert!(ca.has_signed(&own) && !ca.has_signed(&foreign) && !ca.has_signed(b"nothing"));
    let wanted = request(Algorithm::EcdsaP256);
    assert!(ca.renew(&wanted, &own, now()).is_ok());
    let of_another = CertRequest {
        name: "m2".into(),
        ..wanted.clone()
    };
    assert!(ca.renew(&of_another, &own, now()).is_err());
    assert!(ca.renew(&request(Algorithm::Rsa4096), &own, now()).is_err());
    let rsa = der(&ca, Algorithm::Rsa2048);
    assert!(ca.renew(&wanted, &rsa, now()).is_err());
}
