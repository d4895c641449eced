//! The topology file as text: what it says, and the place of each key in it.

use super::key_path::KeyPath;
use super::parse::{ParseError, check_format, line_column, parse_toml, parse_yaml};
use super::places::{Entry, Node, Span};
use super::set::with_sets;
use super::spec::Spec;

/// A topology file's text and what it says.
///
/// ```
/// let text = "format = 1\ncluster = \"prod\"\netcd = \"3.5.30\"\n[[member]]\nname = \"m1\"\nhost = \"10.0.1.10\"\n";
/// let document = etcdup_core::file::Document::parse("etcdup.toml", text, &[])?;
/// assert_eq!(document.spec.member.len(), 1);
/// # Ok::<(), etcdup_core::file::ParseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Document {
    /// The file's name, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
    /// What it says.
    pub spec: Spec,
    /// What `--set` changed, as given.
    pub sets: Vec<String>,
    places: Node,
}

impl Document {
    /// Parses TOML, or YAML (so JSON too) where the name ends in `.yaml`, `.yml` or `.json`; then
    /// applies `sets`, each `path=value`.
    ///
    /// # Errors
    /// At the first fault of syntax or shape, with its place.
    pub fn parse(name: &str, text: &str, sets: &[String]) -> Result<Self, ParseError> {
        let yaml = [".yaml", ".yml", ".json"]
            .iter()
            .any(|ending| name.ends_with(ending));
        check_format(name, text, yaml)?;
        let (mut spec, places) = if yaml {
            parse_yaml(text)?
        } else {
            parse_toml(text)?
        };
        if !sets.is_empty() {
            spec = with_sets(&spec, sets)?;
        }
        Ok(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            spec,
            sets: sets.to_vec(),
            places,
        })
    }

    /// The place of a key: its own, or that of the nearest table around it.
    #[must_use]
    pub fn find(&self, path: &KeyPath) -> Option<Span> {
        self.along(path).last().map(|entry| entry.span.clone())
    }

    /// The `--set` that gave this key its value, as it was given.
    #[must_use]
    pub fn override_for(&self, path: &KeyPath) -> Option<&str> {
        self.sets
            .iter()
            .rev()
            .find(|set| {
                let given = set.split_once('=').and_then(|(set, _)| set.parse().ok());
                given.is_some_and(|given: KeyPath| path.0.starts_with(&given.0))
            })
            .map(String::as_str)
    }

    /// Whether the file itself holds this key, and `--set` has not overruled it.
    #[must_use]
    pub fn defines(&self, path: &KeyPath) -> bool {
        if self.override_for(path).is_some() {
            return false;
        }
        self.along(path).count() == path.0.len()
    }

    /// The entries that lead to a key, as far as the file has them.
    fn along<'a>(&'a self, path: &'a KeyPath) -> impl Iterator<Item = &'a Entry> {
        path.0.iter().scan(&self.places, |node, part| {
            let entry = node.entry(part)?;
            *node = &entry.node;
            Some(entry)
        })
    }

    /// Line and column of a place, both from 1.
    #[must_use]
    pub fn line_column(&self, span: &Span) -> (usize, usize) {
        line_column(&self.text, span)
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
