//! What the program says to a tired operator, without a host: every wrong thing has words of its
//! own and an exit status.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests say what they expect, and run the program itself"
)]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

const TOPOLOGY: &str = "\
# A comment, as `etcdup init` writes them.
format = 1
cluster = \"prod\"
etcd = \"3.5.33\"

[[member]]
name = \"m1\"
host = \"10.0.0.1\"
";

/// A directory with these files, and the program in it.
struct Place(TempDir);

#[must_use = "look at the exit status or at what was said"]
struct Said {
    code: i32,
    all: String,
}

impl Place {
    fn with(files: &[(&str, &str)]) -> Self {
        let place = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(place.path().join(name), text).unwrap();
        }
        Self(place)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_etcdup"));
        command
            .current_dir(self.path())
            // The caller's own settings must not be part of what is compared.
            .env("XDG_CONFIG_HOME", self.path())
            .env_remove("COLUMNS")
            .args(line.split_whitespace());
        command
    }

    fn says(&self, line: &str) -> Said {
        said(&mut self.command(line))
    }
}

fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let all = format!("{out}{}", String::from_utf8(output.stderr).unwrap());
    Said {
        code: output.status.code().unwrap(),
        all,
    }
}

impl Said {
    /// It ends with this status and has all of these words, however its lines are folded.
    #[track_caller]
    fn is(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{}", self.all);
        let plain: String = self.all.replace("\n  \u{2502}", " ");
        let plain: Vec<&str> = plain.split_whitespace().collect();
        let plain = plain.join(" ");
        for word in words {
            assert!(plain.contains(word), "no `{word}` in:\n{}", self.all);
        }
    }

    #[track_caller]
    fn never(&self, words: &[&str]) {
        for word in words {
            assert!(!self.all.contains(word), "`{word}` in:\n{}", self.all);
        }
    }
}

/// U23, U24, and the inputs marked bad.
#[test]
fn a_file_of_the_wrong_shape_is_told_in_words_of_its_own() {
    let yaml = "format: 1\nformat: 1\ncluster: prod\n";
    let port = "format: 1\ncluster: prod\netcd: \"3.5.33\"\nmember:\n  - name: m1\n    host: 10.0.0.1\n    client-port: 70000\n";
    let near = port.replace("client-port: 70000", "hots: x");
    let place = Place::with(&[
        ("ok.toml", TOPOLOGY),
        ("empty.toml", ""),
        ("toml.yaml", TOPOLOGY),
        ("toml.json", TOPOLOGY),
        ("twice.yaml", yaml),
        ("port.yaml", port),
        ("near.yaml", &near),
        ("none.toml", &TOPOLOGY.replace("format = 1", "")),
        (
            "members.toml",
            &TOPOLOGY.replace("[[member]]", "[[members]]"),
        ),
        ("name.toml", &TOPOLOGY.replace("\"m1\"", "\"m 1\"")),
    ]);
    place
        .says("check -f ok.toml")
        .is(0, &["is valid: 1 member"]);
    place
        .says("check -f empty.toml")
        .is(64, &["is empty", "etcdup init --force"]);
    place.says("check -f /dev/null").is(64, &["is empty"]);
    place
        .says("check -f toml.yaml")
        .is(64, &["looks like TOML", "read as YAML", "ends in .toml"]);
    place
        .says("check -f toml.json")
        .is(64, &["looks like TOML", "read as JSON"]);
    let twice = place.says("check -f twice.yaml");
    twice.is(
        64,
        &["duplicate mapping key: format", "remove one of the two"],
    );
    twice.never(&["DuplicateKeyPolicy", "Options"]);
    let port = place.says("check -f port.yaml");
    port.is(64, &["a number from 0 to 65535"]);
    port.never(&["u16"]);
    place
        .says("check -f near.yaml")
        .is(64, &["did you mean `host`?"]);
    place
        .says("check -f none.toml")
        .is(64, &["lacks the key `format`", "add the line `format = 1`"]);
    place
        .says("check -f members.toml")
        .is(64, &["write [[member]]"]);
    place.says("check -f name.toml").is(64, &["may hold only"]);
}

/// U6, U7, U27 and two inputs marked bad.
#[test]
fn what_is_wrong_on_the_command_line_is_told_before_any_host_is_asked() {
    let place = Place::with(&[("ok.toml", TOPOLOGY)]);
    for verb in ["check", "status", "apply", "plan"] {
        let both = place.says(&format!("{verb} -f ok.toml --target local"));
        both.is(64, &["--file and --target exclude each other"]);
    }
    let adopt = "adopt --target local --ca nope.ca --cert nope.crt --key nope.key";
    place.says(adopt).is(64, &["cannot read nope.ca"]);
    place
        .says("init --etcd 9.9.9 -f new.toml")
        .is(64, &["version-unknown", "9.9.9"]);
    assert!(!place.path().join("new.toml").exists(), "it was written");
    place
        .says("init -f deep/er/new.toml --target 10.0.0.1")
        .is(0, &["wrote deep/er/new.toml"]);
    place.says("check -f deep/er/new.toml").is(0, &["is valid"]);
    place
        .says("flags --etcd 3.9.9")
        .is(64, &["3.9.9 is not known", "3.4, 3.5, 3.6, 3.7"]);
    place
        .says("serve --directory /nope")
        .is(1, &["/nope is not a directory"]);
}

/// U11: all that a release is known for in one box, with the patch that has none of it.
#[test]
fn known_issues_of_a_release_are_one_warning() {
    let place = Place::with(&[("etcdup.toml", TOPOLOGY)]);
    let said = place.says("check --set etcd=3.5.16");
    said.is(0, &["3.5.16 has known issues", "use 3.5.33 or later"]);
    assert_eq!(said.all.matches("known-issue").count(), 1, "{}", said.all);
}

/// U15: what was asked for and did not arrive is a failure; a reader that has enough is none.
#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let place = Place::with(&[("etcdup.toml", TOPOLOGY)]);
    for line in ["schema", "flags", "show", "explain", "man", "check"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = place.command(line);
        let output = command
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}: {error}");
        assert!(
            error.contains("cannot write to standard output"),
            "{line}: {error}"
        );
    }
    let mut reader = place
        .command("schema")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(reader.stdout.take());
    assert!(
        reader.wait().unwrap().success(),
        "a reader that has gone is no failure"
    );
}

/// U25: a number and its noun.
#[test]
fn one_is_not_many() {
    let place = Place::with(&[("etcdup.toml", TOPOLOGY)]);
    let said = place.says("check");
    said.is(0, &["1 member,"]);
    said.never(&["1 members"]);
}

/// U26: diagnostics are as wide as the terminal is.
#[test]
fn findings_are_folded_at_the_width_of_the_terminal() {
    let place = Place::with(&[("etcdup.toml", TOPOLOGY)]);
    for width in ["60", "80", "100"] {
        let said = said(
            place
                .command("check --set etcd=3.5.16")
                .env("COLUMNS", width),
        );
        let widest = said
            .all
            .lines()
            .map(|line| line.chars().count())
            .max()
            .unwrap();
        assert!(widest <= width.parse().unwrap(), "{width}: {}", said.all);
    }
}

/// U31: a command that reads no topology does not offer to name one, and manual pages have headings
/// that say something.
#[test]
fn help_and_manual_hold_what_the_command_has() {
    let place = Place::with(&[]);
    for verb in ["explain", "schema", "flags", "completions", "man"] {
        let said = place.says(&format!("{verb} -h"));
        said.never(&["--target", "--set", "--file"]);
    }
    let page = place.says("man");
    page.is(
        0,
        &[
            ".SH EXAMPLES",
            ".SH \"EXIT STATUS\"",
            "locked by another operator",
        ],
    );
    page.never(&["EXTRA"]);
    place.says("man --out pages").is(0, &[]);
    let page = std::fs::read_to_string(place.path().join("pages/etcdup-pki-issue.1")).unwrap();
    assert!(page.contains(".SH EXAMPLES"), "{page}");
}

/// U23: settings are named as the file names them.
#[test]
fn a_wrong_setting_is_named_as_it_is_written() {
    let place = Place::with(&[("etcdup.toml", TOPOLOGY)]);
    let with = |name: &str, value: &str| said(place.command("show").env(name, value));
    with("ETCDUP_OUTPUT", "nope").is(
        64,
        &["ETCDUP_OUTPUT: output is `nope`, and may be text, json"],
    );
    with("ETCDUP_CONNECT_TIMEOUT", "soon").is(64, &["ETCDUP_CONNECT_TIMEOUT: connect-timeout"]);
    with("ETCDUP_CONNECT_TIMEOUT", "7").is(0, &["connect-timeout", "7"]);
    std::fs::create_dir(place.path().join("etcdup")).unwrap();
    let settings = place.path().join("etcdup/config.toml");
    std::fs::write(&settings, "connect_timeout = 5\n").unwrap();
    place
        .says("show")
        .is(64, &["no setting `connect_timeout`", "connect-timeout"]);
    std::fs::write(&settings, "connect-timeout = 5\n").unwrap();
    place.says("show").is(0, &["connect-timeout", "5"]);
}
