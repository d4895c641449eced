//! Snapshots of a real member: saved whole, readable by nobody else, and not there otherwise.
#![allow(clippy::unwrap_used, reason = "tests say what they expect")]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcdup_client::{Access, Endpoint, MemberClient, Plain, TcpDial};
use etcdup_deploy::snapshots::{SaveError, save, verify};

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
    let kept = place.path().join("prod.snapshot");
    let mut reported = (0, 0);
    let saved = save(&member.client(), &kept, |came, of| reported = (came, of)).await;
    let saved = saved.unwrap();
    assert_eq!(
        reported,
        (saved.size, saved.size),
        "it says how many follow"
    );
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
    let nowhere = place.path().join("missing/prod.snapshot");
    let refused = save(&member.client(), &nowhere, |_, _| {}).await;
    assert!(
        matches!(refused, Err(SaveError::File { .. })),
        "{refused:?}"
    );
    let client = member.client();
    drop(member);
    let other = place.path().join("other.snapshot");
    let refused = save(&client, &other, |_, _| {}).await;
    assert!(matches!(refused, Err(SaveError::Member(_))), "{refused:?}");
    assert!(!other.exists());
    let left = std::fs::read_dir(place.path()).unwrap();
    assert_eq!(left.count(), 2, "the data directory and the one snapshot");
}
