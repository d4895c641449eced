//! Snapshots of a real member: saved whole, readable by nobody else, and not there otherwise.
#![allow(clippy::unwrap_used, reason = "tests say what they expect")]

mod s3;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcdup_client::{Access, Endpoint, MemberClient, Plain, TcpDial};
use etcdup_core::file::Snapshots;
use etcdup_deploy::snapshots::{FlowError, SnapshotStore, verify};

/// The newest etcd that `cargo xtask fixtures` got, with its etcdctl beside it.
fn binaries() -> Option<PathBuf> {
    let Ok(fixtures) = std::env::var("ETCDUP_FIXTURES") else {
        eprintln!("ETCDUP_FIXTURES is not set: run by `cargo xtask test`, this asks a real member");
        return None;
    };
    let found = PathBuf::from(fixtures).join("bin/3.5.30");
    assert!(found.join("etcd").exists(), "{}", found.display());
    Some(found)
}

/// A member on loopback, killed when dropped.
struct Running(Child, u16);

impl Running {
    async fn start(etcd: &Path, data: &Path) -> Self {
        let port = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let (client, peer) = (port(), port());
        let (client_url, peer_url) = (
            format!("http://127.0.0.1:{client}"),
            format!("http://127.0.0.1:{peer}"),
        );
        let child = Command::new(etcd)
            .args([
                "--name",
                "m1",
                "--initial-cluster",
                &format!("m1={peer_url}"),
            ])
            .args(["--listen-client-urls", &client_url])
            .args(["--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url])
            .args(["--initial-advertise-peer-urls", &peer_url])
            .arg("--data-dir")
            .arg(data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self(child, client);
        let start = Instant::now();
        while running.client().serve().await.is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "it does not serve"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        running
    }

    fn client(&self) -> MemberClient {
        let endpoint = Endpoint {
            authority: format!("127.0.0.1:{}", self.1),
            server_name: "127.0.0.1".to_owned(),
            also: Vec::new(),
            plain: Plain::Only,
        };
        let dial = Arc::new(TcpDial::new("127.0.0.1", self.1));
        MemberClient::new(&endpoint, &Access::Plain, dial).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_snapshot_is_whole_for_etcds_own_tool_or_is_not_there() {
    let Some(binaries) = binaries() else { return };
    let place = tempfile::tempdir().unwrap();
    let member = Running::start(&binaries.join("etcd"), &place.path().join("data")).await;
    let base = place.path().join("base");
    std::fs::create_dir(&base).unwrap();
    let store = |settings: &Snapshots| {
        SnapshotStore::of(&base, settings, &"prod".parse().unwrap()).unwrap()
    };
    let own = store(&Snapshots::default());
    let mut reported = (0, 0);
    let saved = own
        .save(&member.client(), "first", |came, of| reported = (came, of))
        .await;
    let saved = saved.unwrap();
    assert_eq!(
        reported,
        (saved.size, saved.size),
        "it says how many follow"
    );
    let kept = base.join("snapshots/prod/first.db");
    let data = std::fs::metadata(&kept).unwrap();
    assert_eq!(
        (data.len(), data.permissions().mode() & 0o777),
        (saved.size, 0o600)
    );
    assert_eq!(verify(&kept).unwrap(), saved.sha256);
    let status = Command::new(binaries.join("etcdctl"))
        .env("ETCDCTL_API", "3")
        .args(["snapshot", "status"])
        .arg(&kept)
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
    // Where it cannot be written nothing is left, and a member that is gone leaves nothing either.
    let nowhere = store(&Snapshots {
        to: Some("missing".into()),
        ..Snapshots::default()
    });
    let refused = nowhere.save(&member.client(), "other", |_, _| {}).await;
    assert!(matches!(refused, Err(FlowError::Place(_))), "{refused:?}");
    let client = member.client();
    drop(member);
    let refused = own.save(&client, "other", |_, _| {}).await;
    assert!(matches!(refused, Err(FlowError::Member(_))), "{refused:?}");
    let left = std::fs::read_dir(base.join("snapshots/prod")).unwrap();
    assert_eq!(left.count(), 2, "the one snapshot and .gitignore");
}

/// A directory for a topology file, one for buckets, and a server of those.
async fn with_buckets(place: &Path) -> (PathBuf, PathBuf, s3::Server) {
    let (base, buckets) = (place.join("base"), place.join("buckets"));
    std::fs::create_dir_all(&base).unwrap();
    std::fs::create_dir_all(buckets.join("backups")).unwrap();
    let server = s3::serve(&buckets, "127.0.0.1:0").await.unwrap();
    (base, buckets, server)
}

/// Settings for an object store, with the secret in a file beside the topology.
fn objects(base: &Path, server: &s3::Server, secret: &str) -> Snapshots {
    let credentials = base.join("s3.env");
    std::fs::write(
        &credentials,
        format!(
            "AWS_ACCESS_KEY_ID={}\nAWS_SECRET_ACCESS_KEY={secret}\n",
            s3::KEY
        ),
    )
    .unwrap();
    let own = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&credentials, own).unwrap();
    let options = [
        ("endpoint", format!("http://{}", server.address)),
        ("region", "eu-1".to_owned()),
        ("allow_http", "true".to_owned()),
    ];
    Snapshots {
        to: Some("s3://backups/etcd".into()),
        options: options.map(|(name, value)| (name.to_owned(), value)).into(),
        credentials: Some("s3.env".into()),
        ..Snapshots::default()
    }
}

fn store(base: &Path, settings: &Snapshots) -> SnapshotStore {
    SnapshotStore::of(base, settings, &"prod".parse().unwrap()).unwrap()
}

/// Every file below a directory that holds this name.
fn files_of(place: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![place.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.to_string_lossy().contains(name) {
                found.push(path);
            }
        }
    }
    found
}

#[tokio::test]
async fn an_object_store_keeps_what_was_sent_or_nothing() {
    let Some(binaries) = binaries() else { return };
    let place = tempfile::tempdir().unwrap();
    let (base, buckets, server) = with_buckets(place.path()).await;
    let member = Running::start(&binaries.join("etcd"), &place.path().join("data")).await;
    // More than one part.
    for number in 0..12 {
        let value = "x".repeat(1_000_000);
        put(&binaries, member.1, &format!("key{number}"), &value);
    }
    let own = store(&base, &objects(&base, &server, s3::SECRET));
    assert!(own.list().await.unwrap().is_empty());
    let name = "prod-20261126T221503.123Z-r8";
    let saved = own.save(&member.client(), name, |_, _| {}).await.unwrap();
    assert!(saved.size > 12_000_000, "{}", saved.size);
    let listed = own.list().await.unwrap();
    assert_eq!((listed.len(), listed[0].size), (1, saved.size));
    assert_eq!(listed[0].taken.to_string(), "2026-11-26T22:15:03.123Z");
    assert_eq!(listed[0].verify().await.unwrap(), saved.sha256);
    // Its document would be written last of all: without one it counts as none.
    assert!(own.newest().await.unwrap().is_none());
    let here = own.here(listed[0].clone()).await.unwrap();
    let file = here.file().unwrap();
    assert_eq!(verify(&file).unwrap(), saved.sha256);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A secret that is wrong, and a bucket that is not there, are named and nothing is kept.
    let wrong = store(&base, &objects(&base, &server, "wrong-secret"));
    let refused = wrong.save(&member.client(), "other", |_, _| {}).await;
    let refused = etcdup_core::plain::chain(&refused.unwrap_err());
    assert!(refused.contains("s3://backups/etcd/prod"), "{refused}");
    assert!(!refused.contains("wrong-secret"), "{refused}");
    assert!(wrong.list().await.is_err());
    // The member dies while it sends: nothing of that name is there.
    let own = store(&base, &objects(&base, &server, s3::SECRET));
    let (client, mut member) = (member.client(), Some(member));
    let cut = own.save(&client, "cut", |came, _| {
        if came > 9_000_000 {
            drop(member.take());
        }
    });
    assert!(cut.await.is_err());
    assert_eq!(own.list().await.unwrap().len(), 1);
    // One byte of what lies there.
    let object = files_of(&buckets, &format!("{name}.db"));
    let object = object.first().unwrap();
    let mut bytes = std::fs::read(object).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(object, bytes).unwrap();
    let damaged = own.list().await.unwrap().remove(0);
    let damaged = damaged.verify().await.unwrap_err().to_string();
    assert!(damaged.contains("is damaged"), "{damaged}");
    own.list().await.unwrap()[0].delete().await.unwrap();
    assert!(own.list().await.unwrap().is_empty());
}

/// The server is gone while parts are on their way.
#[tokio::test]
async fn an_object_store_that_goes_away_is_an_error_and_keeps_nothing() {
    let Some(binaries) = binaries() else { return };
    let place = tempfile::tempdir().unwrap();
    let (base, buckets, server) = with_buckets(place.path()).await;
    let member = Running::start(&binaries.join("etcd"), &place.path().join("data")).await;
    for number in 0..24 {
        put(
            &binaries,
            member.1,
            &format!("key{number}"),
            &"x".repeat(1_000_000),
        );
    }
    let mut settings = objects(&base, &server, s3::SECRET);
    settings.options.insert("timeout".into(), "3s".into());
    let own = store(&base, &settings);
    let mut server = Some(server);
    let client = member.client();
    let cut = own.save(&client, "cut", |came, _| {
        if came > 9_000_000 {
            drop(server.take());
        }
    });
    let cut = tokio::time::timeout(Duration::from_secs(240), cut).await;
    assert!(cut.expect("it ends").is_err());
    assert!(files_of(&buckets, "cut.db").is_empty());
}

#[tokio::test]
async fn what_a_command_encrypts_lies_there_encrypted_and_comes_back() {
    let Some(binaries) = binaries() else { return };
    let place = tempfile::tempdir().unwrap();
    let base = place.path().join("base");
    std::fs::create_dir(&base).unwrap();
    let member = Running::start(&binaries.join("etcd"), &place.path().join("data")).await;
    let command = |script: &str| vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()];
    let settings = Snapshots {
        encrypt: command("gzip -1"),
        decrypt: command("gzip -dc"),
        ..Snapshots::default()
    };
    let own = store(&base, &settings);
    let saved = own.save(&member.client(), "a", |_, _| {}).await.unwrap();
    let stored = saved.encrypted.clone().unwrap();
    let file = base.join("snapshots/prod/a.db.enc");
    let bytes = std::fs::read(&file).unwrap();
    assert!(bytes.starts_with(&[0x1f, 0x8b]) && bytes.len() as u64 == stored.size);
    let kept = own.list().await.unwrap().remove(0);
    assert!(kept.is_encrypted() && kept.file().is_none());
    assert_eq!(kept.verify().await.unwrap(), saved.sha256);
    // Its file is one as well, as `save` prints it.
    let by_path = own.at(&file).unwrap();
    assert_eq!(by_path.verify().await.unwrap(), saved.sha256);
    // It comes back as it was sent, and stays beside what is encrypted.
    let here = own.here(kept).await.unwrap();
    assert_eq!(verify(&here.file().unwrap()).unwrap(), saved.sha256);
    std::fs::remove_file(here.file().unwrap()).unwrap();
    // Without the way back it is compared with its document, and cannot be copied.
    let blind = Snapshots {
        decrypt: Vec::new(),
        ..settings.clone()
    };
    let kept = store(&base, &blind).list().await.unwrap().remove(0);
    let why = kept.verify().await.unwrap_err();
    let why = etcdup_core::plain::chain(&why);
    assert!(why.contains("its document is missing"), "{why}");
    assert!(kept.copy_to(&base.join("copy.db")).await.is_err());
    // A command that fails keeps nothing, one that cannot be found neither, nor one whose work
    // cannot be undone.
    for script in ["cat >/dev/null; exit 1", "head -c 1000", "no-such-program"] {
        let failing = Snapshots {
            encrypt: command(script),
            ..settings.clone()
        };
        let own = store(&base, &failing);
        let failed = own.save(&member.client(), "b", |_, _| {}).await;
        assert!(failed.is_err(), "{script}");
        let list = own.list().await.unwrap();
        let names: Vec<&str> = list.iter().map(|kept| kept.name.as_str()).collect();
        assert_eq!(names, ["a"], "{script}");
    }
    // One that writes nothing and ends well, where nobody can look at what it made.
    let swallowing = Snapshots {
        encrypt: command("cat >/dev/null"),
        ..blind
    };
    let own = store(&base, &swallowing);
    let failed = own.save(&member.client(), "b", |_, _| {}).await;
    let why = etcdup_core::plain::chain(&failed.unwrap_err());
    assert!(why.contains("wrote nothing"), "{why}");
    assert_eq!(own.list().await.unwrap().len(), 1);
}

fn put(binaries: &Path, port: u16, key: &str, value: &str) {
    let output = Command::new(binaries.join("etcdctl"))
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &format!("127.0.0.1:{port}"), "put", key])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .and_then(|mut child| {
            use std::io::Write;
            child.stdin.take().unwrap().write_all(value.as_bytes())?;
            child.wait()
        });
    assert!(output.unwrap().success(), "put {key}");
}
