//! The API as an OpenAPI 3.1 document, made from the table.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::call::JSON_LINES;
use crate::problem::ProblemDocument;
use crate::row::{Gives, Method, Parameter, ParameterPlace, ParameterValue, Row, SchemaOf, Takes};

/// The document of these paths.
#[must_use]
pub fn openapi(table: &[Row]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    // What is left out of an answer need not be in it, and what has a default need not be in a
    // request: the two are not the same.
    let mut schemas = Schemas {
        answers: settings.clone().for_serialize().into_generator(),
        requests: settings.for_deserialize().into_generator(),
    };
    let problem = schemas.answers.subschema_for::<ProblemDocument>();
    let paths: Map<String, Value> = table
        .iter()
        .map(|row| {
            let methods = row.methods.iter();
            let methods: Map<String, Value> = methods
                .map(|method| {
                    let verb = method.verb.as_str().to_lowercase();
                    (verb, operation(row, method, &mut schemas))
                })
                .collect();
            (row.path.to_owned(), Value::Object(methods))
        })
        .collect();
    let mut definitions = schemas.answers.take_definitions(true);
    // A type that stands in both has one schema: a test compares them.
    definitions.extend(schemas.requests.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "etcdup",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What `etcdup` does, for programs. Errors are RFC 9457 problems; their `type` is \
                            `urn:etcdup:` and an ID that `etcdup explain` knows.",
            "license": { "name": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": {
                "Problem": {
                    "description": "what is wrong",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
        },
    })
}

/// What collects schemas, by what they are for.
struct Schemas {
    answers: SchemaGenerator,
    requests: SchemaGenerator,
}

fn operation(row: &Row, method: &Method, schemas: &mut Schemas) -> Value {
    let parts = row.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }),
        )
    });
    let parameters: Vec<Value> = parts
        .chain(method.parameters.iter().map(parameter))
        .collect();
    let mut answers = Map::new();
    for (status, gives) in method.answers {
        answers.insert(status.to_string(), answer(*gives, &mut schemas.answers));
    }
    for status in problems(method) {
        let problem = json!({ "$ref": "#/components/responses/Problem" });
        answers.entry(status.to_string()).or_insert(problem);
    }
    let mut operation = json!({
        "summary": method.about,
        "operationId": operation_id(row, method),
        "parameters": parameters,
        "responses": answers,
    });
    match method.role {
        Some(role) => {
            operation["security"] = json!([{ "token": [] }]);
            operation["x-role"] = json!(role);
        }
        None => operation["security"] = json!([]),
    }
    if let Some(takes) = method.takes {
        let content = match takes {
            Takes::Json(schema) => json_of(schema, &mut schemas.requests),
            Takes::Topology => json!({ "text/plain": { "schema": { "type": "string" } } }),
        };
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

/// The statuses of every problem that a method may answer with.
pub(crate) fn problems(method: &Method) -> Vec<u16> {
    let mut statuses = vec![400, 403, 429, 503];
    if method.role.is_some() {
        statuses.push(401);
    }
    if method.takes.is_some() {
        statuses.extend([408, 413, 415]);
    }
    statuses.extend(method.problems);
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

fn parameter(parameter: &Parameter) -> Value {
    let schema = match parameter.value {
        ParameterValue::Number(most) => json!({ "type": "integer", "minimum": 0, "maximum": most }),
        ParameterValue::Text => json!({ "type": "string" }),
        ParameterValue::OneOf(values) => json!({ "type": "string", "enum": values }),
        ParameterValue::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
    };
    let place = match parameter.place {
        ParameterPlace::Query => "query",
        ParameterPlace::Header => "header",
    };
    json!({ "name": parameter.name, "in": place, "description": parameter.about, "schema": schema })
}

fn answer(gives: Gives, generator: &mut SchemaGenerator) -> Value {
    match gives {
        Gives::Json(schema) => {
            json!({ "description": "done", "content": json_of(schema, generator) })
        }
        Gives::JsonOrLines(schema) => {
            let mut content = json_of(schema, generator);
            content[JSON_LINES] = json!({ "schema": { "type": "string" } });
            json!({ "description": "done", "content": content })
        }
        Gives::Text(media) => {
            let media = media.split(';').next().unwrap_or(media);
            json!({ "description": "done", "content": { media: { "schema": { "type": "string" } } } })
        }
        // OpenAPI 3.1 has no word for the events of a stream.
        Gives::Events(schema) => json!({
            "description": "events as they happen",
            "content": { "text/event-stream": { "schema": { "type": "string" } } },
            "x-event-schema": schema(generator),
        }),
        Gives::Nothing => json!({ "description": "nothing more to say" }),
    }
}

fn json_of(schema: SchemaOf, generator: &mut SchemaGenerator) -> Value {
    json!({ "application/json": { "schema": schema(generator) } })
}

/// `GET /v1/operations/{id}/events` is `get-operations-id-events`.
fn operation_id(row: &Row, method: &Method) -> String {
    let parts = row
        .path
        .split(['/', '.'])
        .filter(|part| !part.is_empty() && *part != "v1");
    let parts = parts.map(|part| part.trim_matches(['{', '}']).to_owned());
    let verb = std::iter::once(method.verb.as_str().to_lowercase());
    verb.chain(parts).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::TABLE;

    #[test]
    fn a_type_of_requests_and_answers_has_one_schema() {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        let mut schemas = Schemas {
            answers: settings().for_serialize().into_generator(),
            requests: settings().for_deserialize().into_generator(),
        };
        for row in TABLE {
            for method in row.methods {
                operation(row, method, &mut schemas);
            }
        }
        let answers = schemas.answers.take_definitions(true);
        for (name, schema) in schemas.requests.take_definitions(true) {
            let other = answers.get(&name);
            assert!(other.is_none_or(|other| *other == schema), "{name}");
        }
    }
}
