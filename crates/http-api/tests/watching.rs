//! Clusters kept in view: the list, the stream of changes, the figures for Prometheus.
#![allow(clippy::unwrap_used, reason = "tests say what they expect")]

use std::time::Duration;

use etcdup_http_api::Role;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::Server;

mod common;

/// A stream of server-sent events, read one by one.
struct Stream {
    response: reqwest::Response,
    read: String,
}

impl Stream {
    async fn of(server: &Server, token: &str, last: Option<&str>) -> Self {
        let mut request = server.request("GET", "/v1/stream").bearer_auth(token);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self {
            response,
            read: String::new(),
        }
    }

    /// The next event, with its ID.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.read = rest;
                let field = |name: &str| {
                    let lines = event.lines();
                    lines.filter_map(|line| line.strip_prefix(name)).next()
                };
                if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                    return (id.to_owned(), serde_json::from_str(data).unwrap());
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(10), self.response.chunk());
            let chunk = chunk.await.unwrap().unwrap().unwrap();
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn a_stream_tells_all_clusters_and_then_what_changes() {
    let server = Server::up().await;
    let token = server.token(Role::Viewer);
    server.topology("prod", 1);
    server.get("/v1/clusters", &token).await;
    let mut stream = Stream::of(&server, &token, None).await;
    let (_, first) = stream.next().await;
    assert_eq!(first["name"], "prod");
    assert_eq!(first["cluster"]["etcd"], "3.5.33");
    server.topology("staging", 1);
    let (id, second) = stream.next().await;
    assert_eq!(second["name"], "staging");
    std::fs::remove_file(server.place.path().join("prod.toml")).unwrap();
    let (_, gone) = stream.next().await;
    assert_eq!(gone, serde_json::json!({ "name": "prod" }));
    // Who comes again is told only what came since; another server's numbers mean nothing here.
    let mut again = Stream::of(&server, &token, Some(&id)).await;
    assert_eq!(again.next().await.1, gone);
    let mut foreign = Stream::of(&server, &token, Some("other-99")).await;
    assert_eq!(foreign.next().await.1["name"], "staging");
}

#[tokio::test]
async fn what_cannot_be_seen_is_unknown_with_its_reason_and_never_well() {
    let server = Server::watching(Duration::from_millis(200)).await;
    let token = server.token(Role::Viewer);
    // Nothing listens there.
    server.topology("prod", 1);
    let mut stream = Stream::of(&server, &token, None).await;
    let cluster = loop {
        let (_, change) = stream.next().await;
        if change["cluster"]["summary"].is_object() {
            break change["cluster"].clone();
        }
    };
    assert_eq!(cluster["summary"]["health"], "unknown", "{cluster}");
    let reasons = cluster["summary"]["reasons"].to_string();
    assert!(reasons.contains("onnection refused"), "{reasons}");
    let members = server.get("/v1/clusters/prod/members", &token).await;
    assert_eq!(members.body["members"][0]["health"], "unknown");
    assert!(!members.header("age").is_empty());
    let series = server.get("/v1/clusters/prod/series", &token).await;
    assert_eq!(series.body["points"][0]["healthy"], 0);
    let ends = server.get("/v1/clusters/prod/certificates", &token).await;
    assert_eq!(ends.body["certificates"], serde_json::json!([]));
}

#[tokio::test]
async fn the_worst_comes_first_and_prometheus_is_told_the_same() {
    let server = Server::up().await;
    let token = server.token(Role::Viewer);
    server.topology("a-fine-one", 1);
    std::fs::write(server.place.path().join("broken.toml"), "cluster = 5").unwrap();
    let list = server.get("/v1/clusters", &token).await;
    assert_eq!(list.body["clusters"][0]["name"], "broken");
    let metrics = server.get("/metrics", &token).await;
    let text = metrics.body.as_str().unwrap();
    for line in [
        "etcdup_cluster_broken{cluster=\"broken\"} 1",
        "etcdup_cluster_broken{cluster=\"a-fine-one\"} 0",
        "etcdup_cluster_known{cluster=\"a-fine-one\"} 0",
        "etcdup_requests_total{status=\"200\"} 1",
        "etcdup_streams 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(text.ends_with("# EOF\n"));
    assert_eq!(
        server.send(server.request("GET", "/metrics")).await.status,
        401
    );
}

/// What a stream is answered with, over a connection of its own.
async fn open_stream(server: &Server, token: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    (String::from_utf8_lossy(&start[9..]).into_owned(), stream)
}

#[tokio::test]
async fn one_stream_more_than_the_server_holds_is_told_so() {
    let server = Server::up().await;
    let token = server.token(Role::Viewer);
    let mut open = Vec::new();
    for number in 0..2000 {
        let (status, stream) = open_stream(&server, &token).await;
        assert_eq!(status, "200", "stream {number}");
        open.push(stream);
    }
    let (status, _) = open_stream(&server, &token).await;
    assert_eq!(status, "503");
    // Whoever does not stream is answered all the same.
    assert_eq!(server.get("/v1/me", &token).await.status, 200);
    open.pop();
    let start = std::time::Instant::now();
    while open_stream(&server, &token).await.0 != "200" {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "no place is free again"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
