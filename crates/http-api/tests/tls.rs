//! TLS: with it any address is served, clients may have to show a certificate, and a renewed one
//! is used without a restart.
#![allow(clippy::unwrap_used, reason = "tests say what they expect")]

use std::path::Path;
use std::time::Duration;

use etcdup_deploy::Cancel;
use etcdup_http_api::{Bound, Options, ServeError, TlsFiles, serve};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::sync::oneshot;

use crate::common::options;

mod common;

struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate and its key.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

fn write(directory: &Path, (cert, key): (String, String)) {
    std::fs::write(directory.join("tls.key"), key).unwrap();
    std::fs::write(directory.join("tls.crt"), cert).unwrap();
}

fn files(directory: &Path, client_ca: Option<&str>) -> TlsFiles {
    TlsFiles {
        cert: directory.join("tls.crt"),
        key: directory.join("tls.key"),
        client_ca: client_ca.map(|name| directory.join(name)),
    }
}

fn client(ca: &Ca, identity: Option<(String, String)>) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(ca.pem.as_bytes()).unwrap();
    let mut builder = reqwest::Client::builder().no_proxy();
    builder = builder.tls_certs_only([root]).pool_max_idle_per_host(0);
    if let Some((cert, key)) = identity {
        let pem = format!("{cert}{key}");
        builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
    }
    builder.build().unwrap()
}

async fn up(options: Options) -> (String, tokio_util::sync::DropGuard) {
    let (cancel, (bound, told)) = (Cancel::new(), oneshot::channel());
    let stop = cancel.clone();
    tokio::spawn(async move {
        let bound = |told: Bound| bound.send(told).unwrap();
        serve(options, stop, bound).await.unwrap();
    });
    let Bound { address, .. } = told.await.unwrap();
    (format!("localhost:{}", address.port()), cancel.drop_guard())
}

#[tokio::test]
async fn a_certificate_is_served_and_a_renewed_one_without_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let (ca, next) = (Ca::new(), Ca::new());
    write(place.path(), ca.issue("localhost"));
    let options = Options {
        tls: Some(files(place.path(), None)),
        ..options(place.path())
    };
    let (at, _stop) = up(options).await;
    let url = format!("https://{at}/healthz");
    let health = client(&ca, None).get(&url).send().await.unwrap();
    assert_eq!(health.status(), 200);
    assert!(client(&next, None).get(&url).send().await.is_err());
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(
        plain
            .get(format!("http://{at}/healthz"))
            .send()
            .await
            .is_err()
    );
    // Half of what is being replaced changes nothing.
    std::fs::write(place.path().join("tls.crt"), "-----BEGIN CERT").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(client(&ca, None).get(&url).send().await.is_ok());
    write(place.path(), next.issue("localhost"));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(client(&next, None).get(&url).send().await.is_ok());
}

#[tokio::test]
async fn clients_show_a_certificate_where_that_is_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let (ca, other) = (Ca::new(), Ca::new());
    write(place.path(), ca.issue("localhost"));
    std::fs::write(place.path().join("clients.crt"), &ca.pem).unwrap();
    let options = Options {
        tls: Some(files(place.path(), Some("clients.crt"))),
        ..options(place.path())
    };
    let (at, _stop) = up(options).await;
    let url = format!("https://{at}/v1/me");
    assert!(client(&ca, None).get(&url).send().await.is_err());
    let foreign = client(&ca, Some(other.issue("ann")));
    assert!(foreign.get(&url).send().await.is_err());
    // It comes on top of a token, not in its place.
    let own = client(&ca, Some(ca.issue("ann")));
    assert_eq!(own.get(&url).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn what_tls_cannot_be_served_with_is_told_before_anything_listens() {
    let place = tempfile::tempdir().unwrap();
    let refused = async |tls: TlsFiles| {
        let options = Options {
            tls: Some(tls),
            ..options(place.path())
        };
        let error = serve(options, Cancel::new(), |_| panic!("it listens")).await;
        assert!(matches!(error, Err(ServeError::Tls(_))), "{error:?}");
    };
    refused(files(place.path(), None)).await;
    let (cert, key) = Ca::new().issue("localhost");
    write(place.path(), (cert.clone(), Ca::new().issue("localhost").1));
    refused(files(place.path(), None)).await;
    write(place.path(), (cert, key));
    std::fs::write(place.path().join("empty.crt"), "").unwrap();
    refused(files(place.path(), Some("empty.crt"))).await;
    let open = Options {
        listen: "0.0.0.0:0".parse().unwrap(),
        host_names: Vec::new(),
        tls: Some(files(place.path(), None)),
        ..options(place.path())
    };
    let error = serve(open, Cancel::new(), |_| panic!("it listens")).await;
    assert!(matches!(error, Err(ServeError::Nameless(_))));
}
