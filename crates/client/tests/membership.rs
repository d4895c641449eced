//! Changes of membership, and their refusals, as each etcd at hand answers them.
#![allow(clippy::unwrap_used, reason = "tests say what they expect")]

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use etcdup_client::{Access, Endpoint, MemberClient, MembershipError, Plain, TcpDial};
use etcdup_core::membership::MemberId;
use etcdup_core::url::EtcdUrl;

/// The binaries that `cargo xtask fixtures` got: `bin/X.Y.Z/etcd`.
fn binaries() -> Vec<PathBuf> {
    let Ok(fixtures) = std::env::var("ETCDUP_FIXTURES") else {
        eprintln!("ETCDUP_FIXTURES is not set: run by `cargo xtask test`, this asks real members");
        return Vec::new();
    };
    let entries = std::fs::read_dir(PathBuf::from(fixtures).join("bin")).unwrap();
    let found: Vec<_> = entries
        .map(|entry| entry.unwrap().path().join("etcd"))
        .collect();
    assert!(found.len() >= 3, "fixtures hold {} binaries", found.len());
    found
}

/// A port that nothing listens on, below those that the kernel gives to connections: one of
/// these could be taken between now and the start of its member, by the first member's own
/// attempts to reach it.
fn port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(32);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(start);
        let port = 20_000 + u16::try_from(next % 12_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A member on loopback, killed when dropped.
struct Running {
    child: Child,
    client: u16,
    peer: u16,
    data: tempfile::TempDir,
}

impl Running {
    fn start(etcd: &PathBuf, name: &str, peer: u16, state: &str, list: &str) -> Self {
        let (client, data) = (port(), tempfile::tempdir().unwrap());
        let (client_url, peer_url) = (
            format!("http://127.0.0.1:{client}"),
            format!("http://127.0.0.1:{peer}"),
        );
        let child = Command::new(etcd)
            .args(["--name", name, "--initial-cluster", list])
            .args(["--initial-cluster-state", state])
            .args(["--listen-client-urls", &client_url])
            .args(["--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url])
            .args(["--initial-advertise-peer-urls", &peer_url])
            .arg("--data-dir")
            .arg(data.path().join("data"))
            .stdout(Stdio::null())
            .stderr(File::create(data.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            client,
            peer,
            data,
        }
    }

    fn client(&self) -> MemberClient {
        let endpoint = Endpoint {
            authority: format!("127.0.0.1:{}", self.client),
            server_name: "127.0.0.1".to_owned(),
            also: Vec::new(),
            plain: Plain::Only,
        };
        let dial = Arc::new(TcpDial::new("127.0.0.1", self.client));
        MemberClient::new(&endpoint, &Access::Plain, dial).unwrap()
    }

    async fn serves(&self) {
        let start = Instant::now();
        while self.client().serve().await.is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "it does not serve:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What it printed: the reason, where a test fails.
    fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("log")).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn url(port: u16) -> [EtcdUrl; 1] {
    [format!("http://127.0.0.1:{port}").parse().unwrap()]
}

#[tokio::test]
async fn members_come_and_go_as_etcd_lets_them() {
    for etcd in binaries() {
        let peer = port();
        let list = format!("m1=http://127.0.0.1:{peer}");
        let first = Running::start(&etcd, "m1", peer, "new", &list);
        first.serves().await;
        let client = first.client();
        let own = client.view().await.unwrap().id;
        let unknown = MemberId::new(7);
        assert_eq!(
            client.remove(unknown).await,
            Err(MembershipError::UnknownMember),
            "{}",
            etcd.display()
        );
        assert_eq!(client.promote(own).await, Err(MembershipError::NotALearner));
        assert_eq!(
            client.add_learner(&url(first.peer)).await.unwrap_err(),
            MembershipError::PeerUrlTaken
        );
        let next = port();
        let (id, listed) = client.add_learner(&url(next)).await.unwrap();
        let added = listed.iter().find(|member| member.id == id).unwrap();
        assert!(added.learner && added.added(), "{added:?}");
        assert_eq!(
            client.add_learner(&url(port())).await.unwrap_err(),
            MembershipError::TooManyLearners
        );
        // It never started, so it cannot have caught up.
        assert_eq!(
            client.promote(id).await,
            Err(MembershipError::LearnerBehind)
        );
        let list = format!("{list},m2=http://127.0.0.1:{next}");
        let second = Running::start(&etcd, "m2", next, "existing", &list);
        let start = Instant::now();
        let listed = loop {
            match client.promote(id).await {
                Ok(listed) => break listed,
                Err(MembershipError::LearnerBehind) => {}
                Err(other) => panic!("{other}"),
            }
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "it stays behind; its own log:\n{}\nthe first member's:\n{}",
                second.log(),
                first.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(listed.iter().all(|member| !member.learner));
        second.serves().await;
        // What it listens on is another matter: the list alone changes.
        let moved = port();
        let listed = client.move_peer_urls(id, &url(moved)).await.unwrap();
        let other = listed.iter().find(|member| member.id == id).unwrap();
        assert_eq!(other.peer_urls, [format!("http://127.0.0.1:{moved}")]);
        // Nobody may have answered there before the first of two voters has come round.
        let start = Instant::now();
        while let Err(late) = client.move_peer_urls(id, &url(next)).await {
            assert!(start.elapsed() < Duration::from_secs(45), "{late}");
        }
        // Two voters are a quorum of two: the second stops by itself when it is out.
        let start = Instant::now();
        let listed = loop {
            match client.remove(id).await {
                Ok(listed) => break listed,
                Err(MembershipError::NotConnected) => {}
                Err(other) => panic!("{other}"),
            }
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "it is not let go:\n{}",
                first.log()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        assert_eq!(listed.len(), 1);
        assert_eq!(client.remove(id).await, Err(MembershipError::UnknownMember));
        first.serves().await;
        // Its whole store, with the digest behind it.
        let mut snapshot = client.snapshot().await.unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = snapshot.next().await.unwrap() {
            bytes.extend(piece.bytes);
        }
        assert_eq!(bytes.len() % 512, 32, "{}", etcd.display());
    }
}
