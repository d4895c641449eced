//! Many clients of one server: each follows the same operation to its end, while one more asks for
//! the list of clusters all the time. Says, as JSON, how many events came, whether any was missing
//! or came twice, and how long events and lists took.
//!
//! ```console
//! $ etcdup-load http://127.0.0.1:8379 etcdup_TOKEN OPERATION 1000
//! ```
#![allow(clippy::unwrap_used, reason = "a measurement that goes wrong is none")]

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::time::Instant;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().unwrap_or_default();
    let (at, token, operation) = (argument(), argument(), argument());
    let streams: usize = argument().parse().unwrap();
    let url: Arc<str> = format!("{at}/v1/operations/{operation}/stream").into();
    let token: Arc<str> = token.into();
    // Lists are asked for once every stream stands: what is measured is a server that carries
    // them, not a thousand clients that connect in one moment.
    let standing = Arc::new(Barrier::new(streams + 1));
    // One for all: each stream has a connection of its own, and what a client costs to make is not
    // the server's.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let followers: Vec<_> = (0..streams)
        .map(|_| {
            let (url, token) = (Arc::clone(&url), Arc::clone(&token));
            tokio::spawn(follow(client.clone(), url, token, Arc::clone(&standing)))
        })
        .collect();
    standing.wait().await;
    // On a thread of its own: a list that waited for a thousand followers to read their events
    // would say how slow those are.
    let lists = std::thread::spawn(|| alone(ask_for_lists(at, token)));
    let (mut late, mut events, mut wrong) = (Vec::new(), 0, 0);
    for follower in followers {
        let (ids, delays) = follower.await.unwrap();
        let whole = ids.iter().enumerate().all(|(at, id)| at as u64 == *id);
        wrong += usize::from(!whole || ids.is_empty());
        events = events.max(ids.len());
        late.extend(delays);
    }
    let (mut lists, clusters) = lists.join().unwrap();
    println!(
        "{}",
        json!({
            "streams": streams,
            "events": events,
            "wrong": wrong,
            "event-p50-ms": percentile(&mut late, 50),
            "event-p99-ms": percentile(&mut late, 99),
            "lists": lists.len(),
            "list-p99-ms": percentile(&mut lists, 99),
            "clusters": clusters,
        })
    );
}

/// The numbers of the events, and how long after they happened those came that happened while the
/// stream stood: what was there before comes at once, and says nothing about the way.
async fn follow(
    client: reqwest::Client,
    url: Arc<str>,
    token: Arc<str>,
    standing: Arc<Barrier>,
) -> (Vec<u64>, Vec<f64>) {
    let sent = client.get(&*url).bearer_auth(&token).send().await;
    let mut response = sent.unwrap();
    assert_eq!(response.status(), 200);
    standing.wait().await;
    let begun = Timestamp::now();
    let (mut ids, mut delays, mut read) = (Vec::new(), Vec::new(), String::new());
    while let Some(chunk) = response.chunk().await.unwrap() {
        let now = Timestamp::now();
        read.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some(end) = read.find("\n\n") {
            let event: String = read.drain(..end + 2).collect();
            let lines = event.lines();
            let data = lines.filter_map(|line| line.strip_prefix("data: ")).next();
            let event: Option<Numbered> = data.and_then(|data| serde_json::from_str(data).ok());
            if let Some(event) = event {
                ids.push(event.seq);
                if event.at > begun {
                    delays.push(now.duration_since(event.at).as_secs_f64() * 1000.0);
                }
            }
        }
    }
    (ids, delays)
}

/// What is read of an event.
#[derive(serde::Deserialize)]
struct Numbered {
    seq: u64,
    at: Timestamp,
}

/// Runs it on this thread.
fn alone<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(work)
}

/// How long two hundred lists took, and how many clusters were in one.
async fn ask_for_lists(at: String, token: Arc<str>) -> (Vec<f64>, usize) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (mut times, mut clusters) = (Vec::new(), 0);
    for _ in 0..200 {
        let start = Instant::now();
        let request = client.get(format!("{at}/v1/clusters")).bearer_auth(&token);
        let text = request.send().await.unwrap().text().await.unwrap();
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        let list: Value = serde_json::from_str(&text).unwrap();
        clusters = list["clusters"].as_array().map_or(0, Vec::len);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (times, clusters)
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    let value = values.get(at).copied().unwrap_or_default();
    (value * 10.0).round() / 10.0
}
