//! The table of paths and methods: it feeds the router, `Allow`, `/openapi.json` and the tests, and
//! no handler is reached but through it.

use etcdup_core::operation::{self, OperationId};
use etcdup_deploy::snapshots::SnapshotDocument;

use crate::audit::AuditEntry;
use crate::metrics::OPEN_METRICS;
use crate::page;
use crate::routes::{about, adopt, clusters, operations, people, plans, snapshots};
use crate::row::{Gives, Method, Parameter, ParameterPlace, ParameterValue, Row, Takes, Verb};
use crate::watch::{ClusterChange, ClusterEntry};

mod parts;

use parts::{
    ADMIN, ANYONE, IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, LAST_EVENT, LAST_EVENT_ID, LIMIT, ON,
    OPERATOR, SINCE, VIEWER, get, of,
};

/// Every path there is.
pub const TABLE: &[Row] = &[
    Row {
        path: "/",
        methods: &[Method {
            problems: &[404],
            ..get(
                ANYONE,
                "the page",
                &[
                    (200, Gives::Text("text/html; charset=utf-8")),
                    (304, Gives::Nothing),
                ],
                |call| Box::pin(page::index(call)),
            )
        }],
    },
    Row {
        path: "/app.js",
        methods: &[Method {
            problems: &[404],
            ..get(
                ANYONE,
                "its script",
                &[(200, Gives::Text("text/javascript")), (304, Gives::Nothing)],
                |call| Box::pin(page::script(call)),
            )
        }],
    },
    Row {
        path: "/app.css",
        methods: &[Method {
            problems: &[404],
            ..get(
                ANYONE,
                "its styles",
                &[(200, Gives::Text("text/css")), (304, Gives::Nothing)],
                |call| Box::pin(page::style(call)),
            )
        }],
    },
    Row {
        path: "/icon.svg",
        methods: &[Method {
            problems: &[404],
            ..get(
                ANYONE,
                "its icon",
                &[(200, Gives::Text("image/svg+xml")), (304, Gives::Nothing)],
                |call| Box::pin(page::icon(call)),
            )
        }],
    },
    Row {
        path: "/healthz",
        methods: &[get(
            ANYONE,
            "whether this server runs",
            &[(200, Gives::Json(of::<about::Health>))],
            |call| Box::pin(about::health(call)),
        )],
    },
    Row {
        path: "/readyz",
        methods: &[Method {
            problems: &[503],
            ..get(
                ANYONE,
                "whether this server takes work",
                &[(200, Gives::Json(of::<about::Health>))],
                |call| Box::pin(about::ready(call)),
            )
        }],
    },
    Row {
        path: "/openapi.json",
        methods: &[get(
            ANYONE,
            "this API, as OpenAPI 3.1",
            &[(200, Gives::Json(of::<serde_json::Value>))],
            |call| Box::pin(about::openapi(call)),
        )],
    },
    Row {
        path: "/v1/session",
        methods: &[Method {
            verb: Verb::Post,
            takes: Some(Takes::Json(of::<people::SignIn>)),
            problems: &[401],
            ..get(
                ANYONE,
                "a token of 12 hours for the code that `etcdup serve` printed",
                &[(201, Gives::Json(of::<people::NewToken>))],
                |call| Box::pin(people::sign_in(call)),
            )
        }],
    },
    Row {
        path: "/v1/me",
        methods: &[get(
            VIEWER,
            "whose token this is, and what it allows",
            &[(200, Gives::Json(of::<people::Me>))],
            |call| Box::pin(people::me(call)),
        )],
    },
    Row {
        path: "/v1/explain/{id}",
        methods: &[Method {
            problems: &[404],
            ..get(
                VIEWER,
                "what a check, an error or a rule means",
                &[(200, Gives::Json(of::<about::Explained>))],
                |call| Box::pin(about::explain(call)),
            )
        }],
    },
    Row {
        path: "/v1/tokens",
        methods: &[
            get(
                ADMIN,
                "the valid tokens",
                &[(200, Gives::Json(of::<people::TokenList>))],
                |call| Box::pin(people::tokens(call)),
            ),
            Method {
                verb: Verb::Post,
                takes: Some(Takes::Json(of::<people::TokenRequest>)),
                ..get(
                    ADMIN,
                    "makes a token; its secret is shown once",
                    &[(201, Gives::Json(of::<people::NewToken>))],
                    |call| Box::pin(people::create_token(call)),
                )
            },
        ],
    },
    Row {
        path: "/v1/tokens/{id}",
        methods: &[Method {
            verb: Verb::Delete,
            problems: &[404],
            ..get(ADMIN, "revokes a token", &[(204, Gives::Nothing)], |call| {
                Box::pin(people::revoke_token(call))
            })
        }],
    },
    Row {
        path: "/v1/audit",
        methods: &[Method {
            parameters: &[
                LIMIT,
                Parameter {
                    name: "cursor",
                    about: "the `request` of a line: those before it",
                    value: ParameterValue::Pattern(OperationId::PATTERN),
                    place: ParameterPlace::Query,
                },
            ],
            ..get(
                ADMIN,
                "who changed what, and what was refused, the newest first",
                &[(200, Gives::Json(of::<Vec<AuditEntry>>))],
                |call| Box::pin(people::audit(call)),
            )
        }],
    },
    Row {
        path: "/v1/adopt",
        methods: &[Method {
            verb: Verb::Post,
            takes: Some(Takes::Json(of::<adopt::AdoptRequest>)),
            problems: &[404, 409, 422, 502, 503],
            ..get(
                OPERATOR,
                "a topology for a cluster that runs on these hosts; a `PUT` writes it",
                &[(200, Gives::Json(of::<adopt::Adopted>))],
                |call| Box::pin(adopt::adopt(call)),
            )
        }],
    },
    Row {
        path: "/v1/stream",
        methods: &[Method {
            parameters: &[LAST_EVENT_ID],
            problems: &[503],
            ..get(
                VIEWER,
                "how clusters stand, as server-sent events: all of them, then each that changes",
                &[(200, Gives::Events(of::<ClusterChange>))],
                |call| Box::pin(clusters::stream(call)),
            )
        }],
    },
    Row {
        path: "/metrics",
        methods: &[get(
            VIEWER,
            "figures for Prometheus: this server's, and each cluster's",
            &[(200, Gives::Text(OPEN_METRICS))],
            |call| Box::pin(about::metrics(call)),
        )],
    },
    Row {
        path: "/v1/clusters",
        methods: &[get(
            VIEWER,
            "the clusters, a topology file each, the worst first",
            &[(200, Gives::Json(of::<clusters::ClusterList>))],
            |call| Box::pin(clusters::list(call)),
        )],
    },
    Row {
        path: "/v1/clusters/{cluster}",
        methods: &[Method {
            problems: &[404, 409, 422],
            ..get(
                VIEWER,
                "a cluster, and how it stands",
                &[(200, Gives::Json(of::<ClusterEntry>))],
                |call| Box::pin(clusters::one(call)),
            )
        }],
    },
    Row {
        path: "/v1/clusters/{cluster}/topology",
        methods: &[
            Method {
                problems: &[404, 409],
                // It names keys and other files of this machine.
                ..get(
                    OPERATOR,
                    "the topology file as it is written; `ETag` is over its content",
                    &[(200, Gives::Text("text/plain; charset=utf-8"))],
                    |call| Box::pin(clusters::topology(call)),
                )
            },
            Method {
                verb: Verb::Put,
                parameters: &[IF_MATCH, IF_NONE_MATCH],
                takes: Some(Takes::Topology),
                problems: &[404, 409, 412, 422, 428],
                ..get(
                    OPERATOR,
                    "writes the topology, on the condition of `If-Match` or `If-None-Match: *`",
                    &[(200, Gives::Nothing), (201, Gives::Nothing)],
                    |call| Box::pin(clusters::put_topology(call)),
                )
            },
            Method {
                verb: Verb::Delete,
                parameters: &[IF_MATCH],
                problems: &[404, 409, 412, 428],
                ..get(
                    ADMIN,
                    "deletes the topology file, on the condition of `If-Match`; the cluster stays",
                    &[(204, Gives::Nothing)],
                    |call| Box::pin(clusters::delete_topology(call)),
                )
            },
        ],
    },
    Row {
        path: "/v1/clusters/{cluster}/check",
        methods: &[Method {
            verb: Verb::Post,
            takes: Some(Takes::Topology),
            problems: &[404, 409, 422],
            ..get(
                OPERATOR,
                "what would be found about a topology, without any host",
                &[(200, Gives::Json(of::<clusters::CheckAnswer>))],
                |call| Box::pin(clusters::check(call)),
            )
        }],
    },
    Row {
        path: "/v1/clusters/{cluster}/members",
        methods: &[Method {
            problems: &[404, 409, 422, 502, 503],
            ..get(
                VIEWER,
                "how the members stand; `Age` says how old that is, `Cache-Control: no-cache` asks them now",
                &[(200, Gives::Json(of::<etcdup_deploy::StatusDocument>))],
                |call| Box::pin(clusters::members(call)),
            )
        }],
    },
    Row {
        path: "/v1/clusters/{cluster}/certificates",
        methods: &[Method {
            problems: &[404, 409, 422, 502, 503],
            ..get(
                VIEWER,
                "certificates and when they end; `Age` says how old that is",
                &[(200, Gives::Json(of::<etcdup_deploy::CertificatesDocument>))],
                |call| Box::pin(clusters::certificates(call)),
            )
        }],
    },
    Row {
        path: "/v1/clusters/{cluster}/hosts",
        methods: &[Method {
            problems: &[404, 409, 422, 502, 503],
            ..get(
                VIEWER,
                "the hosts; `Age` says how old that is",
                &[(200, Gives::Json(of::<etcdup_deploy::HostsDocument>))],
                |call| Box::pin(clusters::hosts(call)),
            )
        }],
    },
    Row {
        path: "/v1/clusters/{cluster}/drift",
        methods: &[Method {
            problems: &[404, 409, 422, 502, 503],
            ..get(
                VIEWER,
                "what an apply would do; `Age` says how old that is",
                &[(200, Gives::Json(of::<etcdup_deploy::PlanDocument>))],
                |call| Box::pin(clusters::drift(call)),
            )
        }],
    },
    Row {
        path: "/v1/clusters/{cluster}/history",
        methods: &[Method {
            problems: &[404, 409, 422, 502, 503],
            ..get(
                VIEWER,
                "what was done to the cluster, by everyone: from the logs on its hosts and the records here",
                &[(200, Gives::Json(of::<etcdup_deploy::HistoryDocument>))],
                |call| Box::pin(clusters::history(call)),
            )
        }],
    },
    Row {
        path: "/v1/clusters/{cluster}/snapshots",
        methods: &[
            Method {
                problems: &[404, 409, 422, 502, 503],
                ..get(
                    VIEWER,
                    "the snapshots that are kept, the newest first",
                    &[(200, Gives::Json(of::<snapshots::SnapshotList>))],
                    |call| Box::pin(snapshots::list(call)),
                )
            },
            Method {
                verb: Verb::Post,
                problems: &[404, 409, 422, 502, 503],
                ..get(
                    OPERATOR,
                    "takes a snapshot and keeps it; the answer comes when it is verified",
                    &[(201, Gives::Json(of::<SnapshotDocument>))],
                    |call| Box::pin(snapshots::take(call)),
                )
            },
        ],
    },
    Row {
        path: "/v1/clusters/{cluster}/snapshots/{snapshot}/verify",
        methods: &[Method {
            verb: Verb::Post,
            problems: &[404, 409, 422, 502, 503],
            ..get(
                OPERATOR,
                "reads a snapshot to its end where it is kept",
                &[(200, Gives::Json(of::<snapshots::SnapshotChecked>))],
                |call| Box::pin(snapshots::verify(call)),
            )
        }],
    },
    Row {
        path: "/v1/clusters/{cluster}/snapshots/{snapshot}/drill",
        methods: &[Method {
            verb: Verb::Post,
            parameters: &[ON],
            problems: &[404, 409, 422, 502, 503],
            ..get(
                OPERATOR,
                "restores a snapshot into a member that is thrown away, and reads it back",
                &[(200, Gives::Json(of::<snapshots::SnapshotDrilled>))],
                |call| Box::pin(snapshots::drill(call)),
            )
        }],
    },
    Row {
        path: "/v1/clusters/{cluster}/series",
        methods: &[Method {
            problems: &[404, 409],
            ..get(
                VIEWER,
                "what members answered in the last hour",
                &[(200, Gives::Json(of::<clusters::SeriesDocument>))],
                |call| Box::pin(clusters::series(call)),
            )
        }],
    },
    Row {
        path: "/v1/clusters/{cluster}/checks",
        methods: &[Method {
            problems: &[404, 409, 422, 502, 503],
            ..get(
                VIEWER,
                "every check of verification with its evidence; `Age` says how old that is",
                &[(200, Gives::Json(of::<etcdup_deploy::VerifyDocument>))],
                |call| Box::pin(clusters::checks(call)),
            )
        }],
    },
    Row {
        path: "/v1/clusters/{cluster}/plans",
        methods: &[Method {
            verb: Verb::Post,
            takes: Some(Takes::Json(of::<plans::PlanRequest>)),
            problems: &[404, 409, 422, 502, 503],
            ..get(
                OPERATOR,
                "plans; the plan is kept for an hour under its digest",
                &[(201, Gives::Json(of::<etcdup_deploy::PlanDocument>))],
                |call| Box::pin(plans::make(call)),
            )
        }],
    },
    Row {
        path: "/v1/plans/{digest}",
        methods: &[Method {
            problems: &[404],
            ..get(
                VIEWER,
                "a plan that was made in the last hour",
                &[(200, Gives::Json(of::<etcdup_deploy::PlanDocument>))],
                |call| Box::pin(plans::one(call)),
            )
        }],
    },
    Row {
        path: "/v1/clusters/{cluster}/operations",
        methods: &[Method {
            verb: Verb::Post,
            parameters: &[IDEMPOTENCY_KEY],
            takes: Some(Takes::Json(of::<operations::OperationRequest>)),
            problems: &[404, 409, 422, 502, 503],
            ..get(
                OPERATOR,
                "begins the operation of a plan, which is carried out no further than it reaches",
                &[(202, Gives::Json(of::<operations::OperationDocument>))],
                |call| Box::pin(operations::begin(call)),
            )
        }],
    },
    Row {
        path: "/v1/operations",
        methods: &[Method {
            parameters: &[
                LIMIT,
                Parameter {
                    name: "cluster",
                    about: "only those of this cluster",
                    value: ParameterValue::Text,
                    place: ParameterPlace::Query,
                },
                Parameter {
                    name: "who",
                    about: "only those that were begun by this name",
                    value: ParameterValue::Text,
                    place: ParameterPlace::Query,
                },
                Parameter {
                    name: "verb",
                    about: "only those for this",
                    value: ParameterValue::OneOf(operation::Verb::NAMES),
                    place: ParameterPlace::Query,
                },
                Parameter {
                    name: "state",
                    about: "only those that stand so",
                    value: ParameterValue::OneOf(&[
                        "running",
                        "interrupted",
                        "done",
                        "failed",
                        "stopped",
                    ]),
                    place: ParameterPlace::Query,
                },
                Parameter {
                    name: "cursor",
                    about: "where the page before ended: its `next`",
                    value: ParameterValue::Pattern(OperationId::PATTERN),
                    place: ParameterPlace::Query,
                },
            ],
            ..get(
                VIEWER,
                "operations, the newest first, whoever carried them out",
                &[(200, Gives::Json(of::<operations::OperationList>))],
                |call| Box::pin(operations::list(call)),
            )
        }],
    },
    Row {
        path: "/v1/operations/{id}",
        methods: &[Method {
            parameters: &[Parameter {
                name: "wait",
                about: "seconds to wait for its end",
                value: ParameterValue::Number(60),
                place: ParameterPlace::Query,
            }],
            problems: &[404],
            ..get(
                VIEWER,
                "an operation",
                &[(200, Gives::Json(of::<operations::OperationDocument>))],
                |call| Box::pin(operations::one(call)),
            )
        }],
    },
    Row {
        path: "/v1/operations/{id}/cancel",
        methods: &[Method {
            verb: Verb::Post,
            problems: &[404, 409],
            ..get(
                OPERATOR,
                "stops an operation between two of its stages",
                &[(202, Gives::Json(of::<operations::OperationDocument>))],
                |call| Box::pin(operations::cancel(call)),
            )
        }],
    },
    Row {
        path: "/v1/operations/{id}/events",
        methods: &[Method {
            parameters: &[SINCE, LIMIT],
            problems: &[404],
            ..get(
                VIEWER,
                "what happened, from any event on",
                &[(200, Gives::JsonOrLines(of::<operations::EventList>))],
                |call| Box::pin(operations::events(call)),
            )
        }],
    },
    Row {
        path: "/v1/operations/{id}/stream",
        methods: &[Method {
            parameters: &[SINCE, LAST_EVENT],
            problems: &[404, 503],
            ..get(
                VIEWER,
                "what happens, as server-sent events; `Last-Event-ID` goes on behind an event",
                &[
                    (200, Gives::Events(of::<etcdup_core::event::Event>)),
                    (204, Gives::Nothing),
                ],
                |call| Box::pin(operations::stream(call)),
            )
        }],
    },
];
