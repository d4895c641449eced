//! Data for programs. The first field names the format.

use crate::view::print::outln;
use etcdup_core::file::Document;
use etcdup_core::finding::Finding;
use serde_json::{Value, json};

/// Prints one document of this kind.
pub(crate) fn print(kind: &str, value: &Value) {
    let mut document = serde_json::Map::new();
    document.insert("format".to_owned(), format!("etcdup/{kind}/1").into());
    if let Value::Object(fields) = value {
        document.extend(fields.clone());
    }
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    outln!("{text}");
}

/// Prints a document of the library's, which names its format itself.
pub(crate) fn document(document: &impl serde::Serialize) {
    let text = serde_json::to_string_pretty(document).unwrap_or_default();
    outln!("{text}");
}

/// Prints one line.
pub(crate) fn line(value: &impl serde::Serialize) {
    let text = serde_json::to_string(value).unwrap_or_default();
    outln!("{text}");
}

/// Findings, each with its place in the file where it has one.
pub(crate) fn findings(findings: &[Finding], document: Option<&Document>) -> Value {
    let one = |finding: &Finding| {
        let mut value = serde_json::to_value(finding).unwrap_or_default();
        let place = finding
            .at
            .as_ref()
            .and_then(|at| Some((document?, document?.find(at)?, document?.override_for(at))));
        if let Some((document, span, set)) = place {
            let (line, column) = document.line_column(&span);
            value["place"] = match set {
                Some(set) => json!({ "set": set }),
                None => json!({ "file": document.name, "line": line, "column": column }),
            };
        }
        value
    };
    findings.iter().map(one).collect()
}
