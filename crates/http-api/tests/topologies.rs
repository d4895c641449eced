//! Topologies as a client meets them: read, checked, written and deleted.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod common;

use etcdup_http_api::Role;
use serde_json::json;

use common::Server;

#[tokio::test]
async fn a_topology_is_shown_to_operators_with_a_tag_over_what_is_in_it() {
    let server = Server::up().await;
    server.topology("prod", 1);
    let operator = server.token(Role::Operator);
    let got = server.get("/v1/clusters/prod/topology", &operator).await;
    let text = std::fs::read_to_string(server.place.path().join("prod.toml")).unwrap();
    assert_eq!(got.body.as_str(), Some(text.as_str()));
    let before = got.header("etag").to_owned();
    assert_eq!(before.len(), 66);
    std::fs::write(server.place.path().join("prod.toml"), format!("{text}\n")).unwrap();
    let after = server.get("/v1/clusters/prod/topology", &operator).await;
    assert_ne!(after.header("etag"), before);
}

/// A topology as a client sends it: one member on a host of the list.
fn sent(cluster: &str, more: &str) -> String {
    format!(
        "format = 1\ncluster = \"{cluster}\"\netcd = \"3.5.33\"\n{more}\n[[member]]\nname = \"m1\"\nhost = \"10.0.0.1\"\n"
    )
}

#[tokio::test]
async fn a_topology_is_written_by_who_has_seen_what_is_there() {
    let server = Server::up().await;
    let sources =
        "hosts = [\"10.0.0.0/24\"]\n[source.key]\nkind = \"ssh-key\"\npath = \"/root/key\"\n";
    std::fs::write(server.place.path().join("sources.toml"), sources).unwrap();
    let operator = server.token(Role::Operator);
    let admin = server.token(Role::Admin);
    let path = "/v1/clusters/prod/topology";
    let put = |headers: Vec<(&'static str, String)>, text: String| {
        let mut request = server.request("PUT", path).bearer_auth(&operator);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        server.send(
            request
                .header("content-type", "application/toml")
                .body(text),
        )
    };
    let new = || vec![("if-none-match", "*".to_owned())];
    let text = sent("prod", "ssh = { key = \"source:key\" }");
    assert_eq!(put(Vec::new(), text.clone()).await.status, 428);
    let made = put(new(), text.clone()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(put(new(), text.clone()).await.status, 412);
    let read = server.get(path, &operator).await;
    assert_eq!(
        (read.body.as_str(), read.header("etag")),
        (Some(text.as_str()), made.header("etag"))
    );
    let tag = made.header("etag").to_owned();
    let changed = sent("prod", "flags = { snapshot-count = 5000 }");
    let put_changed = put(vec![("if-match", tag.clone())], changed.clone()).await;
    assert_eq!(put_changed.status, 200, "{}", put_changed.body);
    assert_eq!(put(vec![("if-match", tag)], text).await.status, 412);
    let both = vec![
        ("if-match", "x".to_owned()),
        ("if-none-match", "*".to_owned()),
    ];
    assert_eq!(put(both, changed.clone()).await.status, 412);
    let tag = put_changed.header("etag").to_owned();
    let delete = |token: &str, tag: &str| {
        let request = server.request("DELETE", path).bearer_auth(token);
        server.send(request.header("if-match", tag.to_owned()))
    };
    assert_eq!(delete(&operator, &tag).await.status, 403);
    assert_eq!(delete(&admin, "\"x\"").await.status, 412);
    assert_eq!(delete(&admin, &tag).await.status, 204);
    assert_eq!(server.get(path, &operator).await.status, 404);
    assert_eq!(put(vec![("if-match", tag)], changed).await.status, 412);
}

#[tokio::test]
async fn a_topology_from_the_network_names_nothing_of_this_machine() {
    let server = Server::up().await;
    let operator = server.token(Role::Operator);
    let send = |verb: &'static str, path: &'static str, text: String| {
        let request = server.request(verb, path).bearer_auth(&operator);
        let request = request.header("if-none-match", "*");
        server.send(request.header("content-type", "text/plain").body(text))
    };
    for (more, ids) in [
        (
            "ssh = { key = \"/root/.ssh/id_ed25519\" }",
            &["reference-forbidden", "host-forbidden"][..],
        ),
        (
            "layout = { unit-template = \"/etc/shadow\" }",
            &["reference-forbidden", "host-forbidden"],
        ),
        (
            "certificates = { ca = { key-command = [\"id\"] } }",
            &["reference-forbidden", "host-forbidden"],
        ),
        (
            "ssh = { key = \"source:nope\" }",
            &["host-forbidden", "source-unknown"],
        ),
        ("", &["host-forbidden"]),
    ] {
        let got = send("PUT", "/v1/clusters/prod/topology", sent("prod", more)).await;
        assert_eq!(
            (got.status, got.kind()),
            (422, "urn:etcdup:topology-refused"),
            "{more}"
        );
        let found = got.body["findings"].as_array().unwrap();
        let found: Vec<&str> = found
            .iter()
            .map(|finding| finding["id"].as_str().unwrap())
            .collect();
        assert_eq!(found, ids, "{more}");
        assert!(
            got.body["findings"][0]["line"].as_u64() >= Some(4),
            "{}",
            got.body
        );
        let checked = send("POST", "/v1/clusters/prod/check", sent("prod", more)).await;
        assert!(checked.body["findings"].as_array().unwrap().len() >= ids.len());
    }
    for (kind, text) in [
        ("topology-malformed", "cluster =".to_owned()),
        ("topology-malformed", sent("prod", "no-such-key = 1")),
        ("name-differs", sent("other", "")),
    ] {
        let got = send("PUT", "/v1/clusters/prod/topology", text).await;
        assert_eq!(
            (got.status, got.kind()),
            (422, format!("urn:etcdup:{kind}").as_str())
        );
    }
    for path in [
        "/v1/clusters/sources/topology",
        "/v1/clusters/..%2fx/topology",
    ] {
        let got = send("PUT", path, sent("sources", "")).await;
        assert!([404, 422].contains(&got.status), "{path}: {}", got.body);
    }
    assert!(server.get("/v1/clusters", &operator).await.body["clusters"] == json!([]));
    assert!(!server.place.path().join("sources.toml").exists());
}

/// Two files of one cluster would share its CA: who may write one of them would have it.
#[tokio::test]
async fn a_cluster_that_a_file_describes_gets_no_second_one() {
    let server = Server::up().await;
    std::fs::write(
        server.place.path().join("sources.toml"),
        "hosts = [\"10.0.0.1\"]\n",
    )
    .unwrap();
    server.topology("prod", 1);
    let file = server.place.path().join("prod.toml");
    std::fs::rename(&file, server.place.path().join("etcdup.toml")).unwrap();
    let operator = server.token(Role::Operator);
    let request = server
        .request("PUT", "/v1/clusters/prod/topology")
        .bearer_auth(&operator);
    let request = request
        .header("if-none-match", "*")
        .header("content-type", "text/plain");
    let got = server.send(request.body(sent("prod", ""))).await;
    assert_eq!((got.status, got.kind()), (409, "urn:etcdup:ambiguous-name"));
    assert!(!file.exists());
}

/// Who may no longer be named is not named by what was written earlier either; what a person wrote
/// is that person's.
#[tokio::test]
async fn what_came_from_the_network_is_checked_again_before_it_is_used() {
    let server = Server::up().await;
    let sources = server.place.path().join("sources.toml");
    std::fs::write(&sources, "hosts = [\"10.0.0.1\"]\n").unwrap();
    let operator = server.token(Role::Operator);
    let request = server
        .request("PUT", "/v1/clusters/prod/topology")
        .bearer_auth(&operator);
    let request = request
        .header("if-none-match", "*")
        .header("content-type", "text/plain");
    let made = server.send(request.body(sent("prod", ""))).await;
    assert_eq!(made.status, 201, "{}", made.body);
    std::fs::write(&sources, "hosts = []\n").unwrap();
    let ask = json!({ "verb": "apply" });
    let got = server
        .post("/v1/clusters/prod/plans", &operator, &ask)
        .await;
    assert_eq!(
        (got.status, got.kind()),
        (422, "urn:etcdup:topology-refused")
    );
    // Under another name it is what came over the network all the same.
    let moved = server.place.path().join("moved.toml");
    std::fs::copy(server.place.path().join("prod.toml"), &moved).unwrap();
    let got = server
        .post("/v1/clusters/moved/plans", &operator, &ask)
        .await;
    assert_eq!(got.status, 422, "{}", got.body);
    std::fs::remove_file(moved).unwrap();
    std::fs::write(&sources, "hosts = [").unwrap();
    let got = server
        .post("/v1/clusters/prod/plans", &operator, &ask)
        .await;
    assert_eq!(got.kind(), "urn:etcdup:sources-malformed");
    std::fs::remove_file(&sources).unwrap();
    // Port 1 refuses: nothing waits for it.
    server.topology("prod", 1);
    let got = server
        .post("/v1/clusters/prod/plans", &operator, &ask)
        .await;
    assert_eq!(got.status, 201, "a person wrote it: {}", got.body);
}

#[tokio::test]
async fn viewers_are_not_shown_where_this_machine_keeps_its_files() {
    let server = Server::up().await;
    let text = "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n\
                binaries = { archive = \"/srv/secret-place/etcd.tar.gz\" }\nnonsense = 5\n\
                [[member]]\nhost = \"10.0.0.1\"\n";
    let place = server.place.path();
    std::fs::write(place.join("prod.toml"), text.replace("nonsense = 5\n", "")).unwrap();
    std::fs::write(place.join("broken.toml"), text).unwrap();
    let (viewer, operator) = (server.token(Role::Viewer), server.token(Role::Operator));
    for path in [
        "/v1/clusters",
        "/v1/clusters/broken",
        "/v1/clusters/broken/members",
    ] {
        let shown = server.get(path, &viewer).await.body.to_string();
        assert!(
            !shown.contains(&place.display().to_string()),
            "{path}: {shown}"
        );
        assert!(!shown.contains("secret-place"), "{path}: {shown}");
    }
    let shown = server
        .get("/v1/clusters/broken/members", &operator)
        .await
        .body;
    assert!(shown.to_string().contains("/srv/secret-place"), "{shown}");
}

#[tokio::test]
async fn only_listed_hosts_are_adopted() {
    let server = Server::up().await;
    let token = server.token(Role::Operator);
    let body = |target: &str| json!({ "cluster": "prod", "targets": [target] });
    let got = server.post("/v1/adopt", &token, &body("10.0.0.1")).await;
    assert_eq!(
        (got.status, got.kind()),
        (422, "urn:etcdup:topology-refused")
    );
    let sources = "hosts = [\"127.0.0.1\"]\n";
    std::fs::write(server.place.path().join("sources.toml"), sources).unwrap();
    let got = server.post("/v1/adopt", &token, &body("127.0.0.1:1")).await;
    // Listed, and nothing answers there.
    assert_eq!(
        (got.status, got.kind()),
        (409, "urn:etcdup:host-unseen"),
        "{}",
        got.body
    );
    let got = server
        .post(
            "/v1/adopt",
            &token,
            &json!({ "cluster": "../x", "targets": [] }),
        )
        .await;
    assert_eq!(got.status, 400);
    let none = json!({ "cluster": "prod", "targets": [] });
    assert_eq!(server.post("/v1/adopt", &token, &none).await.status, 409);
}
