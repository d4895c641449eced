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
use tokio::time::Instant;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().unwrap_or_default();
    let (at, token, operation) = (argument(), argument(), argument());
    let streams: usize = argument().parse().unwrap();
    // A list alone, where no operation is followed.
    let lists = tokio::spawn(ask_for_lists(at.clone(), token.clone(), streams == 0));
    let url: Arc<str> = format!("{at}/v1/operations/{operation}/stream").into();
    let token: Arc<str> = token.into();
    // One for all: each stream has a connection of its own, and what a client costs to make is not
    // the server's.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let followers: Vec<_> = (0..streams)
        .map(|_| tokio::spawn(follow(client.clone(), Arc::clone(&url), Arc::clone(&token))))
        .collect();
    let (mut late, mut events, mut wrong) = (Vec::new(), 0, 0);
    for follower in followers {
        let (ids, delays) = follower.await.unwrap();
        let whole = ids.iter().enumerate().all(|(at, id)| at as u64 == *id);
        wrong += usize::from(!whole || ids.is_empty());
        events = events.max(ids.len());
        late.extend(delays);
    }
    // Those ask until they have asked so often: a few seconds.
    let lists = lists.await.unwrap_or_default();
    println!(
        "{}",
        json!({
            "streams": streams,
            "events": events,
            "wrong": wrong,
            "event-p50-ms": percentile(&mut late, 50),
            "event-p99-ms": percentile(&mut late, 99),
            "lists": lists.0.len(),
            "list-p99-ms": percentile(&mut lists.0.clone(), 99),
            "clusters": lists.1,
        })
    );
}

/// The numbers of the events, and how long after they happened those came that happened meanwhile.
async fn follow(client: reqwest::Client, url: Arc<str>, token: Arc<str>) -> (Vec<u64>, Vec<f64>) {
    let begun = Timestamp::now();
    let sent = client.get(&*url).bearer_auth(&token).send().await;
    let mut response = sent.unwrap();
    assert_eq!(response.status(), 200);
    let (mut ids, mut delays, mut read) = (Vec::new(), Vec::new(), String::new());
    while let Some(chunk) = response.chunk().await.unwrap() {
        let now = Timestamp::now();
        read.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some((event, rest)) = read.split_once("\n\n") {
            let lines = event.lines();
            let data = lines.filter_map(|line| line.strip_prefix("data: ")).next();
            let event: Option<Value> = data.and_then(|data| serde_json::from_str(data).ok());
            if let Some((id, at)) = event.as_ref().and_then(numbered) {
                ids.push(id);
                if at > begun {
                    delays.push(now.duration_since(at).as_secs_f64() * 1000.0);
                }
            }
            read = rest.to_owned();
        }
    }
    (ids, delays)
}

fn numbered(event: &Value) -> Option<(u64, Timestamp)> {
    Some((event["seq"].as_u64()?, event["at"].as_str()?.parse().ok()?))
}

/// How long lists took, and how many clusters were in one: forty beside streams, two hundred alone.
async fn ask_for_lists(at: String, token: String, bounded: bool) -> (Vec<f64>, usize) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (mut times, mut clusters) = (Vec::new(), 0);
    let most = if bounded { 200 } else { 40 };
    for _ in 0..most {
        let start = Instant::now();
        let request = client.get(format!("{at}/v1/clusters")).bearer_auth(&token);
        let text = request.send().await.unwrap().text().await.unwrap();
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        let list: Value = serde_json::from_str(&text).unwrap();
        clusters = list["clusters"].as_array().map_or(0, Vec::len);
        tokio::time::sleep(Duration::from_millis(if bounded { 5 } else { 50 })).await;
    }
    (times, clusters)
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    let value = values.get(at).copied().unwrap_or_default();
    (value * 10.0).round() / 10.0
}
