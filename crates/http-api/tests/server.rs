//! The server as a client meets it, on a loopback port of its own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod common;

use std::path::Path;
use std::time::Duration;

use etcdup_deploy::Cancel;
use etcdup_http_api::{Options, Role, ServeError, TABLE, openapi, serve};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use common::{Server, options};

/// The paths of the table with their names filled in.
fn filled(path: &str) -> String {
    let id = "01931b2e-7c2a-7d11-8a54-3f2a9c0d1e4b";
    path.replace("{id}", id)
        .replace("{cluster}", "nope")
        .replace("{digest}", "0")
}

#[tokio::test]
async fn without_a_token_nothing_but_what_the_table_says_is_answered() {
    let server = Server::up().await;
    let viewer = server.token(Role::Viewer);
    for row in TABLE {
        for method in row.methods {
            let (verb, path) = (method.verb.as_str(), filled(row.path));
            let got = server.send(server.request(verb, &path)).await;
            let open = method.role.is_none();
            assert_eq!(got.status == 401, !open, "{verb} {path}: {}", got.status);
            if !open {
                assert_eq!(got.kind(), "urn:etcdup:unauthenticated");
                assert!(got.header("www-authenticate").starts_with("Bearer"));
            }
            // A role that is too low learns nothing, not even whether there is such a thing.
            // Its body may be a stream, which does not end.
            let got = server.request(verb, &path).bearer_auth(&viewer);
            let got = got.send().await.unwrap();
            let (low, status) = (method.role > Some(Role::Viewer), got.status());
            assert_eq!(status == 403, low, "{verb} {path}: {status}");
            let page = matches!(row.path, "/" | "/app.js" | "/app.css" | "/icon.svg");
            let kept = &got.headers()["cache-control"];
            assert!(kept == "no-store" || page && kept == "no-cache", "{path}");
            assert!(!got.headers()["x-request-id"].is_empty());
        }
    }
}

#[tokio::test]
async fn a_path_says_which_methods_it_takes_and_which_parameters() {
    let server = Server::up().await;
    let admin = server.token(Role::Admin);
    for row in TABLE {
        let takes: Vec<&str> = row
            .methods
            .iter()
            .map(|method| method.verb.as_str())
            .collect();
        let path = filled(row.path);
        let got = server
            .send(server.request("PATCH", &path).bearer_auth(&admin))
            .await;
        assert_eq!(
            (got.status, got.header("allow")),
            (405, takes.join(", ").as_str())
        );
        for method in takes {
            let request = server.request(method, &format!("{path}?no-such=1"));
            let got = server.send(request.bearer_auth(&admin)).await;
            assert_eq!(got.status, 400, "{method} {path}");
            assert_eq!(got.kind(), "urn:etcdup:bad-request");
        }
    }
    let twice = server.get("/v1/operations?limit=1&limit=2", &admin).await;
    assert_eq!(twice.status, 400);
    let far = server.get("/v1/operations?limit=201", &admin).await;
    assert_eq!(far.status, 400);
    let token = server
        .send(server.request("GET", &format!("/v1/me?token={admin}")))
        .await;
    assert_eq!(
        token.status, 401,
        "a token in an address counts for nothing"
    );
}

#[tokio::test]
async fn what_a_page_of_another_site_can_send_is_refused() {
    let server = Server::up().await;
    let admin = server.token(Role::Admin);
    let own = format!("http://{}", server.address);
    for (expected, headers) in [
        (200, &[][..]),
        (200, &[("origin", own.as_str())]),
        (200, &[("sec-fetch-site", "same-origin")]),
        (200, &[("sec-fetch-site", "none")]),
        (200, &[("host", "etcdup.example")]),
        (200, &[("host", "LOCALHOST:1")]),
        (403, &[("origin", "http://evil.example")]),
        (403, &[("origin", "null")]),
        (403, &[("sec-fetch-site", "cross-site")]),
        (403, &[("sec-fetch-site", "same-site")]),
        (403, &[("host", "evil.example")]),
        (403, &[("host", "127.0.0.1.evil.example")]),
    ] {
        let mut request = server.request("GET", "/v1/clusters").bearer_auth(&admin);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let got = server.send(request).await;
        assert_eq!(got.status, expected, "{headers:?}: {}", got.body);
    }
}

#[tokio::test]
async fn a_body_is_json_of_the_type_that_is_named_and_not_too_long() {
    let server = Server::up().await;
    let admin = server.token(Role::Admin);
    let send = |kind: &'static str, body: String| {
        let request = server.request("POST", "/v1/tokens").bearer_auth(&admin);
        server.send(request.header("content-type", kind).body(body))
    };
    let good = json!({ "name": "ann", "role": "viewer" }).to_string();
    assert_eq!(send("application/json", good.clone()).await.status, 201);
    assert_eq!(
        send("application/JSON; charset=utf-8", good.clone())
            .await
            .status,
        201
    );
    assert_eq!(send("text/plain", good.clone()).await.status, 415);
    assert_eq!(send("application/json", "{".to_owned()).await.status, 400);
    let unknown = json!({ "name": "ann", "role": "viewer", "rule": 1 });
    assert_eq!(
        send("application/json", unknown.to_string()).await.status,
        400
    );
    let god = json!({ "name": "ann", "role": "god" });
    assert_eq!(send("application/json", god.to_string()).await.status, 400);
    let long = " ".repeat((64 << 10) + 1);
    assert_eq!(send("application/json", long).await.status, 413);
    let with_body = server
        .request("GET", "/v1/me")
        .bearer_auth(&admin)
        .body("x");
    assert_eq!(server.send(with_body).await.status, 400);
}

#[tokio::test]
async fn a_code_signs_in_once_and_a_token_ends_when_it_is_revoked() {
    let server = Server::up().await;
    let code = json!({ "code": server.code });
    let got = server.post("/v1/session", "", &code).await;
    assert_eq!(got.status, 201, "{}", got.body);
    let secret = got.body["secret"].as_str().unwrap().to_owned();
    assert_eq!(server.post("/v1/session", "", &code).await.status, 401);
    let me = server.get("/v1/me", &secret).await;
    assert_eq!((me.status, me.body["role"].as_str()), (200, Some("admin")));
    let listed = server.get("/v1/tokens", &secret).await;
    assert!(!listed.body.to_string().contains(&secret));
    let id = got.body["id"].as_str().unwrap();
    let revoke = server.request("DELETE", &format!("/v1/tokens/{id}"));
    assert_eq!(server.send(revoke.bearer_auth(&secret)).await.status, 204);
    assert_eq!(server.get("/v1/me", &secret).await.status, 401);
    // Who did it is told, and no secret is.
    let admin = server.token(Role::Admin);
    let audit = server.get("/v1/audit", &admin).await.body.to_string();
    assert!(audit.contains("/v1/session") && audit.contains("\"who\":\"browser\""));
    assert!(!audit.contains(&secret) && !audit.contains(&server.code));
}

#[tokio::test]
async fn who_guesses_is_answered_once_a_second_and_keeps_nobody_else_waiting() {
    let server = Server::up().await;
    let viewer = server.token(Role::Viewer);
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(server.get("/v1/me", "etcdup_guess").await);
    }
    assert_eq!(answers[9].status, 401);
    assert_eq!(answers[11].status, 429);
    assert_eq!(answers[11].header("retry-after"), "1");
    assert_eq!(server.get("/v1/me", &viewer).await.status, 200);
}

#[tokio::test]
async fn what_is_kept_is_nobody_elses_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::up().await;
    let ready = server.send(server.request("GET", "/readyz")).await;
    assert_eq!(ready.status, 200);
    server.get("/v1/me", "etcdup_guess").await;
    let kept = server.place.path().join(".etcdup");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&kept), 0o700);
    assert_eq!(mode(&kept.join("refused.jsonl")), 0o600);
    assert!(kept.join(".gitignore").exists());
}

#[tokio::test]
async fn a_token_file_that_others_may_write_lets_nobody_in_and_names_no_path() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::up().await;
    let admin = server.token(Role::Admin);
    let file = server.place.path().join(".etcdup/tokens.json");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&file, open).unwrap();
    let got = server.get("/v1/me", &admin).await;
    assert_eq!(got.status, 500);
    assert!(
        !got.body.to_string().contains("tokens.json"),
        "{}",
        got.body
    );
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let server = Server::up().await;
    let got = server.send(server.request("HEAD", "/healthz")).await;
    assert_eq!((got.status, got.body.as_str()), (200, Some("")));
}

/// What says nothing is cut off: others have use for its place.
#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let server = Server::up().await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\nhost: local")
        .await
        .unwrap();
    for stream in [&mut silent, &mut half] {
        let mut answer = Vec::new();
        let reading =
            tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut answer));
        assert!(reading.await.is_ok(), "it is still open");
    }
}

#[tokio::test]
async fn a_name_leads_to_no_file_outside_the_directory() {
    let server = Server::up().await;
    let viewer = server.token(Role::Viewer);
    std::fs::write(server.place.path().join("bad.toml"), "format = 1\n").unwrap();
    std::fs::write(server.place.path().join("Not_A_Cluster.toml"), "").unwrap();
    for name in ["nope", "..%2fbad", "%2e%2e", "bad%00", "bad.toml", "."] {
        let got = server
            .get(&format!("/v1/clusters/{name}/members"), &viewer)
            .await;
        assert_eq!(got.status, 404, "{name}: {}", got.body);
    }
    // A file that does not parse is listed with its error, which names no path of this machine.
    let got = server.get("/v1/clusters", &viewer).await;
    assert_eq!(got.body["clusters"].as_array().unwrap().len(), 1);
    assert!(!got.body["clusters"][0]["error"].is_null());
    let shown = got.body.to_string();
    assert!(
        !shown.contains(server.place.path().to_str().unwrap()),
        "{shown}"
    );
    let got = server.get("/v1/clusters/bad", &viewer).await;
    assert_eq!((got.status, got.body["name"].as_str()), (200, Some("bad")));
}

#[tokio::test]
async fn a_plan_is_kept_under_its_digest_and_only_what_it_says_is_begun() {
    let server = Server::up().await;
    server.topology("prod", 1);
    server.topology("other", 1);
    let operator = server.token(Role::Operator);
    let ask = json!({ "verb": "apply" });
    let made = server
        .post("/v1/clusters/prod/plans", &operator, &ask)
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["ending"], "blocked", "its host does not answer");
    let digest = made.body["digest"].as_str().unwrap();
    let again = server.get(made.header("location"), &operator).await;
    assert_eq!(again.body, made.body);
    let begin = |verb: &str, plan: &str| json!({ "verb": verb, "plan": plan });
    let path = "/v1/clusters/prod/operations";
    for (expected, kind, path, body) in [
        (404, "not-found", path, begin("apply", "0000")),
        (400, "bad-request", path, begin("reset", digest)),
        (
            400,
            "bad-request",
            "/v1/clusters/other/operations",
            begin("apply", digest),
        ),
        (409, "host-unseen", path, begin("apply", digest)),
    ] {
        let got = server.post(path, &operator, &body).await;
        let found = (got.status, got.kind());
        assert_eq!(
            found,
            (expected, format!("urn:etcdup:{kind}").as_str()),
            "{body}"
        );
    }
    // A reset is an admin's, and takes the name as well.
    let ask = json!({ "verb": "reset" });
    let made = server
        .post("/v1/clusters/prod/plans", &operator, &ask)
        .await;
    let digest = made.body["digest"].as_str().unwrap();
    let got = server.post(path, &operator, &begin("reset", digest)).await;
    assert_eq!((got.status, got.kind()), (403, "urn:etcdup:forbidden"));
    let admin = server.token(Role::Admin);
    let got = server.post(path, &admin, &begin("reset", digest)).await;
    assert_eq!((got.status, got.kind()), (409, "urn:etcdup:unconfirmed"));
    assert!(server.get("/v1/operations", &operator).await.body["operations"] == json!([]));
    for wrong in [
        json!({ "verb": "apply", "wipe": true }),
        json!({ "verb": "reset", "allow-outage": true }),
        json!({ "verb": "destroy" }),
        json!({}),
    ] {
        let got = server
            .post("/v1/clusters/prod/plans", &operator, &wrong)
            .await;
        assert_eq!(got.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn operations_that_are_not_there_are_not_found() {
    let server = Server::up().await;
    let operator = server.token(Role::Operator);
    let id = "01931b2e-7c2a-7d11-8a54-3f2a9c0d1e4b";
    for path in [
        format!("/v1/operations/{id}"),
        format!("/v1/operations/{id}?wait=30"),
        format!("/v1/operations/{id}/events"),
        format!("/v1/operations/{id}/stream"),
        "/v1/operations/..".to_owned(),
    ] {
        assert_eq!(server.get(&path, &operator).await.status, 404, "{path}");
    }
    let cursor = server
        .get("/v1/operations?cursor=../../etc", &operator)
        .await;
    assert_eq!(cursor.status, 400);
}

#[tokio::test]
async fn the_api_is_told_to_programs_as_the_table_has_it() {
    let server = Server::up().await;
    let told = server
        .send(server.request("GET", "/openapi.json"))
        .await
        .body;
    assert_eq!(told, openapi(TABLE));
    for row in TABLE {
        for method in row.methods {
            let verb = method.verb.as_str().to_lowercase();
            assert!(
                told["paths"][row.path][&verb].is_object(),
                "{verb} {}",
                row.path
            );
        }
    }
    // Every schema that is referred to is there.
    let text = told.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(told["components"]["schemas"][name].is_object(), "{name}");
    }
}

/// Hosts that accept connections and never answer: no more than four clusters are asked at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_four_clusters_are_asked_at_once() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let server = std::sync::Arc::new(Server::up().await);
    for n in 0..7 {
        server.topology(&format!("c{n}"), port);
    }
    let viewer = server.token(Role::Viewer);
    let mut asked = tokio::task::JoinSet::new();
    for n in 0..7 {
        let (server, viewer) = (server.clone(), viewer.clone());
        asked.spawn(async move {
            server
                .get(&format!("/v1/clusters/c{n}/members"), &viewer)
                .await
        });
    }
    // Connections stay open until their time is up, so whoever is asked in the first second is
    // asked at once.
    let mut open = Vec::new();
    while let Ok(accepted) = tokio::time::timeout(Duration::from_secs(1), silent.accept()).await {
        open.push(accepted.unwrap());
    }
    assert_eq!(open.len(), 4);
    drop((open, silent));
    while let Some(answered) = asked.join_next().await {
        assert_eq!(answered.unwrap().status, 200);
    }
}

/// What is no HTTP, or never ends, costs a connection and nothing else.
#[tokio::test]
async fn hostile_bytes_leave_it_serving() {
    let server = Server::up().await;
    let long = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "x".repeat(20 << 10)
    );
    let smuggled = "POST /v1/session HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\
                    transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/me HTTP/1.1\r\n\r\n";
    let two_hosts = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n";
    for (sent, may) in [
        (long.as_str(), &["HTTP/1.1 431"][..]),
        ("\0\0\0\0\r\n\r\n", &["HTTP/1.1 400", ""]),
        ("GET / HTTP/9.9\r\n\r\n", &["HTTP/1.1 400", ""]),
        (smuggled, &["HTTP/1.1 400", "HTTP/1.1 415", ""]),
        (two_hosts, &["HTTP/1.1 400"]),
        (
            "GET /healthz HTTP/1.1\r\n\r\n",
            &["HTTP/1.1 400", "HTTP/1.1 403"],
        ),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let reading = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut answer));
        let read = reading.await.unwrap().unwrap_or(0);
        let text = String::from_utf8_lossy(&answer[..read]).into_owned();
        let head = text.lines().next().unwrap_or_default();
        let known = may
            .iter()
            .any(|may| head.starts_with(may) && may.is_empty() == head.is_empty());
        assert!(known, "{head:?} to {:?}", &sent[..sent.len().min(60)]);
        let health = server.send(server.request("GET", "/healthz")).await;
        assert_eq!(health.status, 200);
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_before_anything_listens() {
    let place = tempfile::tempdir().unwrap();
    let missing = options(&place.path().join("nope"));
    let error = serve(missing, Cancel::new(), |_| panic!("it listens")).await;
    assert!(matches!(error, Err(ServeError::Directory(_))));
    let open = Options {
        listen: "0.0.0.0:0".parse().unwrap(),
        ..options(place.path())
    };
    let error = serve(open, Cancel::new(), |_| panic!("it listens")).await;
    assert!(matches!(error, Err(ServeError::Plain(_))));
}
