//! Data for programs. The first field names the format.

use std::io::Write;

use serde_json::Value;

/// Prints one document of this kind.
pub(crate) fn print(kind: &str, value: &Value) {
    let mut document = serde_json::Map::new();
    // A library document brings its own.
    document.insert("format".to_owned(), format!("etcdup/{kind}/1").into());
    if let Value::Object(fields) = value {
        document.extend(fields.clone());
    }
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    // A reader that has gone (`| head`) is no failure.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints one line.
pub(crate) fn line(value: &impl serde::Serialize) {
    let text = serde_json::to_string(value).unwrap_or_default();
    let _ = writeln!(std::io::stdout(), "{text}");
}
