//! Which row of the table a request is for.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::StatusCode;

use crate::problem::{METHOD, Problem};
use crate::row::{Method, Row};
use crate::table::TABLE;

/// The row of a path, and the parts of the path that have a name.
pub(crate) fn find(
    verb: &str,
    path: &str,
) -> Result<(&'static Method, BTreeMap<String, String>), Problem> {
    static ROUTER: LazyLock<matchit::Router<&'static Row>> = LazyLock::new(|| {
        let mut router = matchit::Router::new();
        for row in TABLE {
            // A path that cannot be inserted is found by the test that asks for each.
            let _ = router.insert(row.path, row);
        }
        router
    });
    let found = ROUTER
        .at(path)
        .map_err(|_| Problem::not_found(format!("there is no {path}")))?;
    let row = *found.value;
    // What GET answers, without its body, which is left out where it is sent.
    let verb = if verb == "HEAD" { "GET" } else { verb };
    let Some(method) = row
        .methods
        .iter()
        .find(|method| method.verb.as_str() == verb)
    else {
        let takes: Vec<&str> = row
            .methods
            .iter()
            .map(|method| method.verb.as_str())
            .collect();
        let takes = takes.join(", ");
        let why = format!("{} takes {takes}", row.path);
        let mut problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, &METHOD, why);
        problem.allow = Some(takes);
        return Err(problem);
    };
    let parts = found.params.iter();
    let parts = parts.map(|(name, part)| (name.to_owned(), part.to_owned()));
    Ok((method, parts.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Verb;
    use crate::token::Role;

    #[test]
    fn every_method_is_found_by_its_own_path() {
        for row in TABLE {
            for method in row.methods {
                let path = row.path.replace(['{', '}'], "");
                let found = find(method.verb.as_str(), &path).map(|(found, _)| found.about);
                assert_eq!(found.ok(), Some(method.about), "{}", row.path);
            }
        }
    }

    #[test]
    fn unknown_paths_and_methods_say_so() {
        let status = |verb: &str, path: &str| {
            let problem = find(verb, path).err();
            problem.map(|problem| (problem.status.as_u16(), problem.allow))
        };
        assert_eq!(status("GET", "/v2"), Some((404, None)));
        let allow = Some("GET, POST".to_owned());
        assert_eq!(status("PUT", "/v1/tokens"), Some((405, allow)));
    }

    #[test]
    fn only_what_must_be_is_open_to_all() {
        let open = TABLE.iter().filter(|row| {
            let mut methods = row.methods.iter();
            methods.any(|method| method.role.is_none())
        });
        let open: Vec<&str> = open.map(|row| row.path).collect();
        assert_eq!(
            open,
            [
                "/",
                "/app.js",
                "/app.css",
                "/icon.svg",
                "/healthz",
                "/readyz",
                "/openapi.json",
                "/v1/session"
            ]
        );
    }

    #[test]
    fn whatever_changes_something_takes_more_than_a_viewer() {
        for row in TABLE.iter().filter(|row| row.path != "/v1/session") {
            for method in row.methods {
                let enough = method.verb == Verb::Get || method.role >= Some(Role::Operator);
                assert!(enough, "{} {}", method.verb.as_str(), row.path);
            }
        }
    }
}
