//! What `etcdup show` prints, through the binary itself: its headings are read by people, its keys
//! by programs.
#![allow(clippy::unwrap_used, reason = "tests say what they expect")]

use std::path::Path;
use std::process::Command;

const TOPOLOGY: &str = "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n\n[[member]]\nname = \"m1\"\nhost = \"10.0.0.1\"\n";

fn show(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_etcdup"))
        .current_dir(directory)
        // The caller's own settings must not be part of what is compared.
        .env("XDG_CONFIG_HOME", directory)
        .arg("show")
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn show_names_its_three_tables_and_keeps_its_keys() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("etcdup.toml"), TOPOLOGY).unwrap();
    let text = show(place.path(), &[]);
    let headings: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(
        headings,
        ["# the tool's settings", "# the topology", "# what follows"]
    );
    let json: serde_json::Value =
        serde_json::from_str(&show(place.path(), &["-o", "json"])).unwrap();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["format", "settings", "tool", "follows", "asks"]);
    let follows = json["follows"].as_array().unwrap();
    assert!(
        follows
            .iter()
            .any(|value| value["path"] == "member[0].peer-url"),
        "{follows:?}"
    );
}
