//! The engine's promises to a server: everything can be moved between threads, handles cost
//! nothing, and what cannot be done is told before anything is recorded.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

use std::path::Path;
use std::time::Duration;

use etcdup_core::file::Document;
use etcdup_core::observed::Observed;
use etcdup_core::operation::{Verb, Who};
use etcdup_core::stage::Goal;
use etcdup_deploy::{
    Begin, Cluster, DeployError, Engine, EventStream, Limits, Operation, Session, Settings, Store,
};

fn assert_send<T: Send>(_: T) {}

fn assert_shared<T: Clone + Send + Sync + 'static>() {}

fn goal() -> Goal {
    Goal::CONVERGE
}

fn engine(place: &Path, limits: Limits) -> Engine {
    let settings = Settings {
        cache: place.join("cache"),
        connect_timeout: Duration::from_secs(1),
        limits,
        ..Settings::default()
    };
    Engine::new(settings.unattended(), Store::beside(place))
}

/// A cluster on a host where nothing answers.
fn cluster(engine: &Engine, place: &Path, name: &str) -> Cluster {
    let text = format!(
        "format = 1\ncluster = \"{name}\"\netcd = \"3.5.33\"\n\
         [[member]]\nname = \"m1\"\nhost = \"127.0.0.1:1\"\n"
    );
    let document = Document::parse("etcdup.toml", &text, &[]).unwrap();
    engine
        .cluster(document, &place.join("etcdup.toml"))
        .unwrap()
}

/// A server spawns these on any of its threads: a future that is not `Send` does not compile here.
#[test]
fn every_future_can_be_moved_between_threads() {
    assert_shared::<Engine>();
    assert_shared::<Cluster>();
    assert_shared::<Operation>();
    let place = tempfile::tempdir().unwrap();
    let engine = engine(place.path(), Limits::default());
    let cluster = cluster(&engine, place.path(), "prod");
    let id = "01931b2e-7c2a-7d11-8a54-3f2a9c0d1e4b".parse().unwrap();
    assert_send(cluster.plan(goal()));
    assert_send(cluster.verify());
    assert_send(cluster.observe());
    assert_send(cluster.session());
    assert_send(cluster.resume(&id));
    assert_send(engine.unfinished());
    assert_send(engine.close(Duration::ZERO));
    let begun = |begin: Begin| assert_send(cluster.begin(begin));
    let _ = begun;
    let watched = |operation: Operation| {
        assert_send(operation.ended());
        assert_send(operation.events(0));
    };
    let _ = watched;
    let next = |mut events: EventStream| assert_send(async move { events.next().await });
    let _ = next;
    let asked = |session: Session| assert_send(async move { session.verify().await });
    let _ = asked;
}

/// Making a cluster does no I/O, so a file with mistakes is refused at once, with all of them.
#[test]
fn a_topology_with_mistakes_makes_no_cluster() {
    let place = tempfile::tempdir().unwrap();
    let engine = engine(place.path(), Limits::default());
    let text = "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\nmember = []\n";
    let document = Document::parse("etcdup.toml", text, &[]).unwrap();
    let made = engine.cluster(document, &place.path().join("etcdup.toml"));
    assert!(matches!(made.err(), Some(DeployError::Blocked(_))));
}

#[tokio::test]
async fn what_is_blocked_is_not_begun_and_leaves_no_record() {
    let place = tempfile::tempdir().unwrap();
    let engine = engine(place.path(), Limits::default());
    let cluster = cluster(&engine, place.path(), "prod");
    let plan = cluster.plan(goal()).await.unwrap();
    assert!(matches!(
        plan.seen.hosts.values().next(),
        Some(Observed::Unknown(_))
    ));
    let begin = Begin {
        plan,
        approved: None,
        verb: Verb::Apply,
        who: Who::new("ann"),
        token: None,
        request: None,
    };
    assert!(matches!(
        cluster.begin(begin).await.err(),
        Some(DeployError::Blocked(_))
    ));
    assert!(engine.operations().await.unwrap().is_empty());
    assert!(!place.path().join(".etcdup").exists());
    engine.close(Duration::from_secs(1)).await;
}

/// Two looks at once do not wait for each other, and an operation that nobody has is told as such.
#[tokio::test]
async fn clusters_are_planned_side_by_side() {
    let place = tempfile::tempdir().unwrap();
    let engine = engine(place.path(), Limits::default());
    let (a, b) = (
        cluster(&engine, place.path(), "a"),
        cluster(&engine, place.path(), "b"),
    );
    let (one, other) = tokio::join!(a.plan(goal()), b.plan(goal()));
    assert!(one.is_ok() && other.is_ok());
    let id = "01931b2e-7c2a-7d11-8a54-3f2a9c0d1e4b".parse().unwrap();
    assert!(engine.operation(&id).is_none());
    assert!(matches!(
        a.resume(&id).await.err(),
        Some(DeployError::Store(_))
    ));
    assert!(engine.events(&id, 0).next().await.is_none());
}

#[tokio::test]
async fn no_more_operations_run_than_the_limits_allow() {
    let place = tempfile::tempdir().unwrap();
    let limits = Limits {
        operations: 0,
        queued: 0,
        ..Limits::default()
    };
    let engine = engine(place.path(), limits);
    let cluster = cluster(&engine, place.path(), "prod");
    let id = "01931b2e-7c2a-7d11-8a54-3f2a9c0d1e4b".parse().unwrap();
    assert!(matches!(
        cluster.resume(&id).await.err(),
        Some(DeployError::Busy)
    ));
}
