//! Figures for Prometheus, as OpenMetrics: this server's, and each cluster's as it was last seen.

use std::fmt::Error;
use std::sync::atomic::AtomicU64;

use http::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::watch::ClusterEntry;
use crate::watch::summary::ClusterHealth;

/// The media type of what is answered.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is counted as it happens; all else is read where it stands.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Family<Answered, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCluster {
    cluster: String,
}

type Whole = Family<OfCluster, Gauge>;
type Fraction = Family<OfCluster, Gauge<f64, AtomicU64>>;

impl Metrics {
    /// Counts an answer.
    pub(crate) fn answered(&self, status: StatusCode) {
        let status = status.as_u16();
        self.requests.get_or_create(&Answered { status }).inc();
    }

    pub(crate) fn text(&self, open: usize, entries: &[ClusterEntry]) -> Result<String, Error> {
        let mut registry = Registry::with_prefix("etcdup");
        registry.register(
            "requests",
            "Requests by the status of their answers",
            self.requests.clone(),
        );
        let streams = Gauge::<i64>::default();
        streams.set(whole(open));
        registry.register("streams", "Streams that are open", streams);
        let clusters = Clusters::default();
        clusters.register(&mut registry);
        for entry in entries {
            clusters.set(entry);
        }
        let mut shown = String::new();
        text::encode(&mut shown, &registry)?;
        Ok(shown)
    }
}

/// The figures of each cluster.
#[derive(Default)]
struct Clusters {
    known: Whole,
    broken: Whole,
    attention: Whole,
    voters: Whole,
    healthy: Whole,
    unseen: Whole,
    drift: Whole,
    underway: Whole,
    database: Whole,
    quota: Whole,
    certificate: Fraction,
    snapshot: Fraction,
    seen: Fraction,
}

impl Clusters {
    fn register(&self, registry: &mut Registry) {
        let wholes = [
            (
                &self.known,
                "cluster_known",
                "Whether anything of the cluster was seen",
            ),
            (
                &self.broken,
                "cluster_broken",
                "Whether the cluster has no quorum, or its file cannot be used",
            ),
            (
                &self.attention,
                "cluster_attention",
                "Whether a person should look at the cluster",
            ),
            (&self.voters, "cluster_voters", "Members that vote"),
            (
                &self.healthy,
                "cluster_healthy_voters",
                "Members that vote and are healthy",
            ),
            (
                &self.unseen,
                "cluster_unseen_hosts",
                "Hosts that could not be looked at",
            ),
            (
                &self.drift,
                "cluster_drift_stages",
                "Stages that an apply would carry out",
            ),
            (
                &self.underway,
                "cluster_operations",
                "Operations that are carried out",
            ),
        ];
        for (family, name, help) in wholes {
            registry.register(name, help, family.clone());
        }
        let bytes = [
            (
                &self.database,
                "cluster_database",
                "The size of the largest database",
            ),
            (&self.quota, "cluster_quota", "How large that may become"),
        ];
        for (family, name, help) in bytes {
            registry.register_with_unit(name, help, Unit::Bytes, family.clone());
        }
        let times = [
            (
                &self.snapshot,
                "cluster_snapshot_taken_timestamp",
                "When the newest snapshot was taken that is kept here",
            ),
            (
                &self.certificate,
                "cluster_certificate_ends_timestamp",
                "When the first certificate ends",
            ),
            (
                &self.seen,
                "cluster_seen_timestamp",
                "When the members were last asked",
            ),
        ];
        for (family, name, help) in times {
            registry.register_with_unit(name, help, Unit::Seconds, family.clone());
        }
    }

    fn set(&self, entry: &ClusterEntry) {
        let of = OfCluster {
            cluster: entry.name.clone(),
        };
        let put = |family: &Whole, value: i64| {
            family.get_or_create(&of).set(value);
        };
        let health = entry.health();
        put(&self.known, i64::from(health != ClusterHealth::Unknown));
        put(&self.broken, i64::from(health == ClusterHealth::Broken));
        put(
            &self.attention,
            i64::from(health <= ClusterHealth::Attention),
        );
        put(&self.underway, i64::from(entry.operation.is_some()));
        let Some(summary) = &entry.summary else {
            return;
        };
        put(&self.voters, whole(summary.voters));
        put(&self.healthy, whole(summary.healthy));
        put(&self.unseen, whole(summary.unseen));
        if let Some(stages) = summary.drift {
            put(&self.drift, whole(stages));
        }
        if let Some(bytes) = summary.db_bytes {
            put(&self.database, bytes);
        }
        if let Some(bytes) = summary.quota_bytes {
            put(&self.quota, i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        let times = [
            (&self.certificate, summary.certificate_ends),
            (&self.snapshot, summary.snapshot_taken),
            (&self.seen, entry.members_seen),
        ];
        for (family, at) in times {
            if let Some(at) = at {
                family
                    .get_or_create(&of)
                    .set(at.as_duration().as_secs_f64());
            }
        }
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
