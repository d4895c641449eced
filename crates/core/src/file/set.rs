//! `--set path=value`: changing one value of a topology for a run.

use serde::Deserialize;
use serde_json::Value;

use super::key_path::{KeyPath, Part, SetError};
use super::parse::{ParseError, help_for};
use super::spec::Spec;

pub(super) fn with_sets(spec: &Spec, sets: &[String]) -> Result<Spec, ParseError> {
    let plain = |message: String| ParseError {
        message,
        span: None,
        help: None,
    };
    let mut value = serde_json::to_value(spec).map_err(|error| plain(error.to_string()))?;
    for set in sets {
        let mut read = value.clone();
        apply_set(&mut read, set, set_value).map_err(|error| plain(error.to_string()))?;
        if Spec::deserialize(read.clone()).is_err() {
            // A text that looks like a number, such as a token of digits.
            let mut text = value.clone();
            let as_text = |text: &str| Value::String(text.to_owned());
            apply_set(&mut text, set, as_text).map_err(|error| plain(error.to_string()))?;
            if Spec::deserialize(text.clone()).is_ok() {
                read = text;
            }
        }
        value = read;
    }
    Spec::deserialize(value).map_err(|error| ParseError {
        message: format!("after --set {}: {error}", sets.join(" --set ")),
        span: None,
        help: help_for(&error.to_string()),
    })
}

fn apply_set(root: &mut Value, set: &str, read: impl Fn(&str) -> Value) -> Result<(), SetError> {
    let (path, text) = set
        .split_once('=')
        .ok_or_else(|| SetError::Malformed(set.to_owned()))?;
    let parts = path.parse::<KeyPath>()?.0;
    let nowhere = |part: &Part| SetError::Nowhere {
        path: path.to_owned(),
        part: KeyPath(vec![part.clone()]).to_string(),
    };
    let mut place = root;
    for part in &parts {
        place = match part {
            Part::Key(key) => {
                if place.is_null() {
                    *place = Value::Object(serde_json::Map::new());
                }
                let table = place.as_object_mut().ok_or_else(|| nowhere(part))?;
                table.entry(key.clone()).or_insert(Value::Null)
            }
            Part::Index(index) => place.get_mut(*index).ok_or_else(|| nowhere(part))?,
        };
    }
    *place = read(text);
    Ok(())
}

/// A TOML value where the text is one, text otherwise: `5`, `true`, `["a"]`, `10.0.0.5`.
fn set_value(text: &str) -> Value {
    toml::from_str::<Value>(&format!("v = {text}"))
        .ok()
        .and_then(|table| table.get("v").cloned())
        .unwrap_or_else(|| Value::String(text.to_owned()))
}
