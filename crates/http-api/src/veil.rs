//! What viewers are not shown: where this machine keeps its files.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// The shortest path that is hidden: `/` and its like are in every text.
const SHORTEST: usize = 4;

/// Hides paths of this machine in what viewers get. It works on whole answers, so that a document
/// that learns to name a path hides it too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Veil(Arc<Vec<(String, String)>>);

impl Veil {
    /// Hides these directories, and these names where they are paths.
    pub(crate) fn of(directories: &[PathBuf], names: impl Iterator<Item = String>) -> Self {
        let mut hidden = BTreeSet::new();
        for own in directories {
            hidden.insert((format!("{}/", own.display()), String::new()));
        }
        for name in names.filter(|name| name.contains('/')) {
            let last = name.rsplit('/').find(|part| !part.is_empty());
            let shown = format!("\u{2026}/{}", last.unwrap_or_default());
            hidden.insert((name, shown));
        }
        let as_json = |text: &str| {
            // What is searched is JSON, which has its own way to write some characters.
            let text = serde_json::Value::from(text).to_string();
            text[1..text.len() - 1].to_owned()
        };
        let hidden = hidden.iter().filter(|(name, _)| name.len() >= SHORTEST);
        let mut hidden: Vec<_> = hidden
            .map(|(name, shown)| (as_json(name), as_json(shown)))
            .collect();
        // The longest first: a directory's name is the beginning of its files' names.
        hidden.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Self(Arc::new(hidden))
    }

    /// A JSON text without what is hidden.
    pub(crate) fn over(&self, json: String) -> String {
        if self.0.is_empty() {
            return json;
        }
        let mut json = without_words_of_commands(json);
        for (name, shown) in self.0.iter() {
            if json.contains(name.as_str()) {
                json = json.replace(name.as_str(), shown);
            }
        }
        json
    }
}

/// What this machine's commands say of themselves may be anything: it is cut off with them, to the
/// end of the text that it stands in.
fn without_words_of_commands(mut json: String) -> String {
    for (from, shown) in COMMANDS {
        let mut at = 0;
        while let Some(found) = json.get(at..).and_then(|rest| rest.find(from)) {
            let start = at + found;
            let end = end_of_text(&json, start);
            json.replace_range(start..end, shown);
            at = start + shown.len();
        }
    }
    json
}

/// What begins the words of a command, and what is shown in their place.
const COMMANDS: [(&str, &str); 2] = [
    ("key-command `", "a key-command failed"),
    (
        "through a ProxyCommand in the SSH configuration (`",
        "through a ProxyCommand",
    ),
];

/// Where the JSON text ends that this place is in.
fn end_of_text(json: &str, from: usize) -> usize {
    let mut escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(from) {
        match byte {
            b'"' if !escaped => return at,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use etcdup_transport::SshError;

    use super::*;

    #[test]
    fn paths_of_this_machine_are_hidden_and_nothing_else() {
        let names = [
            "/root/etcd.tar.gz",
            "/srv/clusters/pki/ca.key",
            "vault",
            "/",
        ];
        let names = names.into_iter().map(str::to_owned);
        let veil = Veil::of(&[PathBuf::from("/srv/clusters")], names);
        let text =
            r#"{"a":"copy /root/etcd.tar.gz to /opt","b":"/srv/clusters/prod.toml: vault /"}"#;
        let shown = r#"{"a":"copy …/etcd.tar.gz to /opt","b":"prod.toml: vault /"}"#;
        assert_eq!(veil.over(text.to_owned()), shown);
        assert_eq!(veil.over("/srv/clusters/pki/ca.key".to_owned()), "…/ca.key");
        let said = r#"{"a":"ca: key-command `vault` failed: role \"x\" of y","b":1}"#;
        let shown = r#"{"a":"ca: a key-command failed","b":1}"#;
        assert_eq!(veil.over(said.to_owned()), shown);
        let said = SshError::ProxyCommand {
            host: "10.0.0.1".to_owned(),
            command: "nc --secret".to_owned(),
        };
        let json = format!("{{\"a\":\"{said}\"}}");
        let shown = r#"{"a":"10.0.0.1 is reached through a ProxyCommand"}"#;
        assert_eq!(veil.over(json), shown);
    }
}
