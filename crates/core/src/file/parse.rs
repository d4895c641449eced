//! Reading TOML and YAML, with errors that name their place and the way out.

use serde_json::Value;

use super::places::{Node, Span, place_of};
use super::spec::Spec;

/// A file that is not a topology.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// What is wrong, without the place.
    pub message: String,
    /// Where it is wrong.
    pub span: Option<Span>,
    /// What to do next.
    pub help: Option<String>,
}

/// Line and column of a place in a text, both from 1.
#[must_use]
pub fn line_column(text: &str, span: &Span) -> (usize, usize) {
    let before = &text[..span.start.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |tail| tail.chars().count())
        + 1;
    (line, column)
}

/// `format` is looked at before the rest, so that a file of a later format says so and nothing
/// else.
pub(super) fn check_format(name: &str, text: &str, yaml: bool) -> Result<(), ParseError> {
    let value: Option<Value> = if yaml {
        serde_saphyr::from_str(text).ok()
    } else {
        toml::from_str(text).ok()
    };
    // TOML is one long text to a YAML reader, or no YAML at all once it has comments and tables.
    let is_toml = || toml::from_str::<Value>(text).is_ok_and(|value| value.get("format").is_some());
    if yaml && !value.as_ref().is_some_and(Value::is_object) && is_toml() {
        return Err(ParseError {
            message: format!(
                "{name} looks like TOML, and is read as {} because of its extension",
                if name.ends_with(".json") {
                    "JSON"
                } else {
                    "YAML"
                }
            ),
            span: None,
            help: Some("rename the file so that it ends in .toml".to_owned()),
        });
    }
    let Some(value) = value else { return Ok(()) };
    let line = if yaml { "format: 1" } else { "format = 1" };
    let (message, help) = match value.get("format") {
        Some(format) if format == 1 => return Ok(()),
        Some(format) => (
            format!("{name} has format {format}; this etcdup reads format 1"),
            "use the etcdup release that wrote the file".to_owned(),
        ),
        None if text.trim().is_empty() => (
            format!("{name} is empty"),
            "`etcdup init --force` writes a commented topology to start from".to_owned(),
        ),
        None => (
            format!("{name} lacks the key `format`"),
            format!("add the line `{line}` at the top of the file"),
        ),
    };
    // A key, not the first place where the word happens to be.
    let span = text
        .lines()
        .scan(0, |offset, line| {
            let start = *offset;
            *offset += line.len() + 1;
            Some((start, line))
        })
        .find(|(_, line)| {
            line.trim_start_matches(['"', '{', ' '])
                .starts_with("format")
        })
        .filter(|_| value.get("format").is_some())
        .map(|(start, line)| start..start + line.len());
    Err(ParseError {
        message,
        span,
        help: Some(help),
    })
}

pub(super) fn parse_toml(text: &str) -> Result<(Spec, Node), ParseError> {
    let error = |error: toml::de::Error| ParseError {
        message: plain_words(&error.message().trim().replace('\n', "; ")),
        span: error.span(),
        help: help_for(error.message()),
    };
    let spec = toml::from_str(text).map_err(error)?;
    let tree = toml::de::DeTable::parse(text).map_err(error)?;
    Ok((
        spec,
        Node::from_toml(&toml::de::DeValue::Table(tree.into_inner())),
    ))
}

pub(super) fn parse_yaml(text: &str) -> Result<(Spec, Node), ParseError> {
    let error = |error: serde_saphyr::Error| ParseError {
        message: plain_words(without_place(&first_line(
            &error.without_snippet().to_string(),
        ))),
        span: error.location().map(|at| place_of(text, &at)),
        help: help_for(&error.without_snippet().to_string()),
    };
    let options = || serde_saphyr::options! { strict_booleans: true };
    let spec = serde_saphyr::from_str_with_options(text, options()).map_err(error)?;
    let mut places: Node = serde_saphyr::from_str_with_options(text, options()).map_err(error)?;
    places.locate(text);
    Ok((spec, places))
}

/// A message without its `at line 7, column 5`, which is shown as a place of its own.
fn without_place(message: &str) -> &str {
    message.split(" at line ").next().unwrap_or_default()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

pub(super) fn help_for(message: &str) -> Option<String> {
    if message.contains("duplicate entry") || message.contains("duplicate mapping key") {
        return Some("remove one of the two; only one value can be meant".to_owned());
    }
    let rest = message.split_once("unknown field `")?.1;
    let (found, expected) = rest.split_once('`')?;
    // serde lists the keys that there are: for TOML each in backquotes, for YAML without.
    let near = without_place(expected)
        .split([',', '`', ' '])
        .filter(|key| !key.is_empty())
        .map(|key| (strsim::jaro_winkler(key, found), key))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    Some(match (found, near) {
        ("members", _) => "write [[member]], once for each member".to_owned(),
        (_, Some((_, key))) => format!("did you mean `{key}`?"),
        (_, None) => {
            "`etcdup schema` prints all keys; `etcdup init` writes a commented topology".to_owned()
        }
    })
}

/// A library's message without its advice to programmers, and with ranges that a reader knows.
fn plain_words(message: &str) -> String {
    let message = message
        .split(", set DuplicateKeyPolicy")
        .next()
        .unwrap_or_default();
    let message = message
        .split("; set DuplicateKeyPolicy")
        .next()
        .unwrap_or_default();
    message
        .replace("invalid u16", "expected a number from 0 to 65535")
        .replace("invalid u32", "expected a number from 0 to 4294967295")
        .replace("expected u16", "expected a number from 0 to 65535")
        .replace("expected u32", "expected a number from 0 to 4294967295")
        .replace("expected i64", "expected a whole number")
}
