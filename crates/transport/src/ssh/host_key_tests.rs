use super::*;

fn key(seed: u8) -> PublicKey {
    let data = russh::keys::ssh_key::public::Ed25519PublicKey([seed; 32]);
    PublicKey::from(data)
}

fn line(pattern: &str, key: &PublicKey) -> String {
    format!("{pattern} {}\n", key.to_openssh().unwrap())
}

fn known(text: &str, policy: UnknownHosts) -> (tempfile::TempDir, KnownHosts) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    std::fs::write(&path, text).unwrap();
    let known = KnownHosts {
        files: vec![(path, text.to_owned())],
        policy,
        learning: Mutex::new(()),
    };
    (directory, known)
}

#[test]
fn a_known_key_passes_and_a_changed_one_names_both_fingerprints() {
    let (_directory, known) = known(&line("10.0.0.1", &key(1)), UnknownHosts::AcceptNew);
    assert_eq!(known.check("10.0.0.1", &key(1)), Ok(()));
    let error = known.check("10.0.0.1", &key(2)).unwrap_err().to_string();
    let fingerprints = error.matches("SHA256:").count();
    assert!(
        error.contains("HAS CHANGED") && fingerprints == 2,
        "{error}"
    );
}

#[test]
fn a_revoked_key_is_refused_even_when_it_is_known_too() {
    let text = line("h", &key(1)) + &line("@revoked *", &key(1));
    let (_directory, known) = known(&text, UnknownHosts::AcceptNew);
    assert!(matches!(
        known.check("h", &key(1)),
        Err(HostKeyError::Revoked { line: 2, .. })
    ));
}

#[test]
fn hashed_and_wildcard_and_negated_names_are_understood() {
    let mac = Hmac::<Sha1>::new_from_slice(b"saltsaltsaltsaltsalt")
        .unwrap()
        .chain_update("[h]:2222")
        .finalize();
    let hashed = HostPatterns::HashedName {
        salt: b"saltsaltsaltsaltsalt".to_vec(),
        hash: mac.into_bytes().into(),
    }
    .to_string();
    let text = line(&hashed, &key(1)) + &line("*.lab,!bad.lab", &key(2));
    let (_directory, known) = known(&text, UnknownHosts::Refuse);
    assert_eq!(known.check("[h]:2222", &key(1)), Ok(()));
    assert_eq!(known.check("good.lab", &key(2)), Ok(()));
    assert!(matches!(
        known.check("bad.lab", &key(2)),
        Err(HostKeyError::Unknown { .. })
    ));
}

#[test]
fn an_unknown_host_is_refused_or_written_down_as_asked() {
    let (_directory, strict) = known("", UnknownHosts::Refuse);
    assert!(matches!(
        strict.check("h", &key(1)),
        Err(HostKeyError::Unknown { .. })
    ));
    let (directory, open) = known("# no newline at the end", UnknownHosts::AcceptNew);
    assert_eq!(open.check("h", &key(1)), Ok(()));
    let text = std::fs::read_to_string(directory.path().join("known_hosts")).unwrap();
    assert_eq!(
        text,
        format!("# no newline at the end\n{}", line("h", &key(1)))
    );
}
