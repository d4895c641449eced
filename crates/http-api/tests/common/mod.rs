//! A server on a loopback port of its own, and a client of it.
#![allow(dead_code, reason = "each test file uses a part")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use etcdup_deploy::{Cancel, Settings};
use etcdup_http_api::{Bound, Options, Role, Tokens, serve};
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::Value;
use tokio::sync::oneshot;

pub(crate) fn options(directory: &Path) -> Options {
    Options {
        directory: directory.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        host_names: vec!["etcdup.example".to_owned()],
        origins: vec!["https://dashboard.example".to_owned()],
        watch_every: Duration::ZERO,
        settings: Settings {
            connect_timeout: Duration::from_secs(2),
            ..Settings::default()
        },
    }
}

pub(crate) struct Server {
    pub(crate) place: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) code: String,
    pub(crate) client: reqwest::Client,
    _stop: tokio_util::sync::DropGuard,
}

pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }
}

impl Server {
    pub(crate) async fn up() -> Self {
        Self::watching(Duration::ZERO).await
    }

    /// One that asks members every so often.
    pub(crate) async fn watching(every: Duration) -> Self {
        let place = tempfile::tempdir().unwrap();
        let cancel = Cancel::new();
        let (bound, told) = oneshot::channel();
        let (mut options, stop) = (options(place.path()), cancel.clone());
        options.watch_every = every;
        tokio::spawn(async move {
            let bound = |told: Bound| bound.send(told).unwrap();
            serve(options, stop, bound).await.unwrap();
        });
        let Bound { address, code } = told.await.unwrap();
        Self {
            place,
            address,
            code,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            _stop: cancel.drop_guard(),
        }
    }

    pub(crate) fn token(&self, role: Role) -> String {
        let tokens = Tokens::beside(self.place.path());
        let hour = SignedDuration::from_hours(1);
        tokens.create(&role.to_string(), role, hour).unwrap().1
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method: Method = method.parse().unwrap();
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Got {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Got {
            status,
            headers,
            body,
        }
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Got {
        self.send(self.request("GET", path).bearer_auth(token))
            .await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> Got {
        let request = self.request("POST", path).bearer_auth(token);
        let request = request.header("content-type", "application/json");
        self.send(request.body(body.to_string())).await
    }

    /// A topology of one member on this machine whose host never answers.
    pub(crate) fn topology(&self, name: &str, port: u16) {
        let text = format!(
            "format = 1\ncluster = \"{name}\"\netcd = \"3.5.33\"\nssh = {{ host-key = \"accept-new\", known-hosts = \"{}\" }}\n\
             [[member]]\nname = \"m1\"\nhost = \"{name}@127.0.0.1:{port}\"\n",
            self.place.path().join("known").display(),
        );
        std::fs::write(self.place.path().join(format!("{name}.toml")), text).unwrap();
    }
}
