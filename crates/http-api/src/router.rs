//! Routes: method, path, what it is, handler. One table feeds the router, the list at `/v1`, and
//! the tests.

use http::Method;
use serde_json::Value;

use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::routes;

/// One route.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: &'static str,
    /// What it answers.
    pub about: &'static str,
    pub(crate) handler: fn(Call) -> Answer,
    /// Whether hosts are asked for the answer.
    pub(crate) asks_hosts: bool,
}

/// Every route there is.
pub const ROUTES: [Route; 6] = [
    Route {
        method: Method::GET,
        path: "/v1/health",
        about: "whether this server works",
        handler: |call| Box::pin(routes::health(call)),
        asks_hosts: false,
    },
    Route {
        method: Method::GET,
        path: "/v1",
        about: "these routes",
        handler: |_| Box::pin(std::future::ready(Ok(list()))),
        asks_hosts: false,
    },
    Route {
        method: Method::GET,
        path: "/v1/clusters",
        about: "the clusters, a topology file each",
        handler: |call| Box::pin(routes::clusters(call)),
        asks_hosts: false,
    },
    Route {
        method: Method::GET,
        path: "/v1/clusters/{cluster}/plan",
        about: "what apply would do",
        handler: |call| Box::pin(routes::plan(call)),
        asks_hosts: true,
    },
    Route {
        method: Method::GET,
        path: "/v1/clusters/{cluster}/status",
        about: "members, briefly",
        handler: |call| Box::pin(routes::status(call)),
        asks_hosts: true,
    },
    Route {
        method: Method::GET,
        path: "/v1/clusters/{cluster}/verify",
        about: "every check and its verdict",
        handler: |call| Box::pin(routes::verify(call)),
        asks_hosts: true,
    },
];

fn list() -> Value {
    let routes: Vec<_> = ROUTES
        .iter()
        .map(|route| serde_json::json!({ "method": route.method.as_str(), "path": route.path, "about": route.about }))
        .collect();
    serde_json::json!({ "format": "etcdup/routes/1", "routes": routes })
}

/// Finds the route of a path, or what is wrong.
pub(crate) fn find(method: &Method, path: &str) -> Result<(&'static Route, String), Problem> {
    static TABLE: [Route; 6] = ROUTES;
    let mut router = matchit::Router::new();
    for route in &TABLE {
        // The table's paths are constants that the tests insert too.
        let _ = router.insert(route.path, route);
    }
    let found = router.at(path).map_err(|_| {
        Problem::new(
            http::StatusCode::NOT_FOUND,
            "no-such-path",
            format!("there is no {path}; GET /v1 lists what there is"),
        )
    })?;
    if found.value.method != *method {
        return Err(Problem::new(
            http::StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            format!("{path} takes {}", found.value.method),
        ));
    }
    Ok((
        found.value,
        found.params.get("cluster").unwrap_or_default().to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found_by_its_own_path() {
        for route in &ROUTES {
            let path = route.path.replace("{cluster}", "prod");
            assert_eq!(
                find(&route.method, &path).map(|(found, _)| found.path).ok(),
                Some(route.path)
            );
        }
    }

    #[test]
    fn unknown_paths_and_methods_say_so() {
        assert_eq!(
            find(&Method::GET, "/v2").err().map(|problem| problem.kind),
            Some("no-such-path")
        );
        assert_eq!(
            find(&Method::POST, "/v1/health")
                .err()
                .map(|problem| problem.kind),
            Some("method-not-allowed")
        );
    }
}
