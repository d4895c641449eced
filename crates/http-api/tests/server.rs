//! The server as a client meets it, on a loopback port of its own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use etcdup_deploy::{Cancel, Settings};
use etcdup_http_api::{Options, ServeError, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

fn options(directory: &Path) -> Options {
    Options {
        directory: directory.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        settings: Settings {
            connect_timeout: Duration::from_secs(2),
            ..Settings::default()
        },
    }
}

/// A server over this directory. It ends when the guard is dropped.
async fn server(directory: &Path) -> (SocketAddr, tokio_util::sync::DropGuard) {
    let cancel = Cancel::new();
    let (bound, address) = oneshot::channel();
    let options = options(directory);
    let stop = cancel.clone();
    tokio::spawn(async move {
        serve(options, stop, |address| bound.send(address).unwrap())
            .await
            .unwrap();
    });
    (address.await.unwrap(), cancel.drop_guard())
}

async fn status(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.get(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn what_a_page_of_another_site_can_send_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let (address, _stop) = server(place.path()).await;
    let own = format!("http://{address}");
    for (expected, headers) in [
        (200, &[][..]),
        (200, &[("origin", own.as_str())]),
        (200, &[("sec-fetch-site", "same-origin")]),
        (200, &[("sec-fetch-site", "none")]),
        (403, &[("origin", "http://evil.example")]),
        (403, &[("origin", "null")]),
        (403, &[("sec-fetch-site", "cross-site")]),
        (403, &[("sec-fetch-site", "same-site")]),
        (403, &[("host", "evil.example")]),
        (403, &[("host", "127.0.0.1.evil.example")]),
    ] {
        let (code, text) = status(address, "/v1/clusters", headers).await;
        assert_eq!(code, expected, "{headers:?}: {text}");
    }
}

#[tokio::test]
async fn a_name_leads_to_no_file_outside_the_directory() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("bad.toml"), "format = 1\n").unwrap();
    let (address, _stop) = server(place.path()).await;
    for path in ["/v1/clusters/nope/plan", "/v1/clusters/..%2fbad/plan"] {
        let (code, text) = status(address, path, &[]).await;
        assert_eq!(code, 404, "{path}: {text}");
    }
    // A file that does not parse is listed with its error, beside those that do.
    let (code, text) = status(address, "/v1/clusters", &[]).await;
    assert_eq!(code, 200);
    assert!(text.contains("\"error\""), "{text}");
}

/// Hosts that accept connections and never answer: no more than four clusters are asked at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_four_clusters_are_asked_at_once() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let place = tempfile::tempdir().unwrap();
    for n in 0..7 {
        let text = format!(
            "format = 1\ncluster = \"c{n}\"\netcd = \"3.5.33\"\nssh = {{ host-key = \"accept-new\", known-hosts = \"{}\" }}\n\
             [[member]]\nname = \"m1\"\nhost = \"u{n}@127.0.0.1:{port}\"\n",
            place.path().join("known").display(),
        );
        std::fs::write(place.path().join(format!("c{n}.toml")), text).unwrap();
    }
    let (address, _stop) = server(place.path()).await;
    let mut asked = tokio::task::JoinSet::new();
    for n in 0..7 {
        asked
            .spawn(async move { status(address, &format!("/v1/clusters/c{n}/status"), &[]).await });
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
        assert_eq!(answered.unwrap().0, 200);
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
    assert!(matches!(error, Err(ServeError::NotLoopback(_))));
}
