use super::*;

const TOML: &str = r#"format = 1
cluster = "prod"
etcd = "3.5.30"

[flags]
snapshot-count = 5000

[[member]]
name = "m1"
host = "10.0.1.10"

[[member]]
name = "m2"
host = { ssh = "10.0.1.11", user = "ops" }
flags = { quota-backend-bytes = 8589934592 }
"#;

const YAML: &str = r"format: 1
cluster: prod
etcd: 3.5.30
flags:
  snapshot-count: 5000
member:
  - name: m1
    host: 10.0.1.10
  - name: m2
    host: { ssh: 10.0.1.11, user: ops }
    flags: { quota-backend-bytes: 8589934592 }
";

fn found(document: &Document, path: &str) -> String {
    let span = document.find(&path.parse().unwrap()).unwrap();
    document.text[span].to_owned()
}

#[test]
fn toml_and_yaml_say_the_same() {
    let toml = Document::parse("etcdup.toml", TOML, &[]).unwrap();
    let yaml = Document::parse("etcdup.yaml", YAML, &[]).unwrap();
    assert_eq!(toml.spec, yaml.spec);
}

#[test]
fn json_is_yaml() {
    let spec = Document::parse("etcdup.toml", TOML, &[]).unwrap().spec;
    let json = serde_json::to_string_pretty(&spec).unwrap();
    assert_eq!(
        Document::parse("etcdup.json", &json, &[]).unwrap().spec,
        spec
    );
}

#[test]
fn every_key_has_a_place() {
    for (name, text) in [("etcdup.toml", TOML), ("etcdup.yaml", YAML)] {
        let document = Document::parse(name, text, &[]).unwrap();
        assert_eq!(
            found(&document, "member[1].flags.quota-backend-bytes"),
            "8589934592",
            "{name}"
        );
        assert_eq!(
            found(&document, "member[0].host").trim_matches('"'),
            "10.0.1.10",
            "{name}"
        );
        let line = document
            .line_column(&document.find(&KeyPath::member(1).key("name")).unwrap())
            .0;
        assert!(text.lines().nth(line - 1).unwrap().contains("m2"), "{name}");
    }
}

#[test]
fn set_changes_the_topology_and_nothing_else() {
    let sets = [
        "member[0].address=10.9.9.9".to_owned(),
        "flags.snapshot-count=7".to_owned(),
    ];
    let document = Document::parse("etcdup.toml", TOML, &sets).unwrap();
    assert_eq!(document.spec.flags["snapshot-count"].to_string(), "7");
    assert_eq!(
        document.spec.member[1],
        Document::parse("etcdup.toml", TOML, &[])
            .unwrap()
            .spec
            .member[1]
    );
}

#[test]
fn a_set_that_leads_nowhere_says_so() {
    let error = |set: &str| {
        Document::parse("etcdup.toml", TOML, &[set.to_owned()])
            .unwrap_err()
            .message
    };
    assert!(
        error("member[9].name=x").contains("no such key: `[9]`"),
        "{}",
        error("member[9].name=x")
    );
    assert!(error("nonsense").contains("path=value"));
    assert!(error("clutser=x").contains("unknown field"));
}

#[test]
fn a_fault_of_shape_has_a_place_and_a_help() {
    let text = TOML.replace("name = \"m1\"", "nmae = \"m1\"");
    let error = Document::parse("etcdup.toml", &text, &[]).unwrap_err();
    assert_eq!(&text[error.span.unwrap()], "nmae");
    assert!(error.help.unwrap().contains("`name`"));
    let text = TOML.replace("name = \"m1\"", "colour = \"m1\"");
    let error = Document::parse("etcdup.toml", &text, &[]).unwrap_err();
    assert!(error.help.unwrap().contains("etcdup schema"));
}

#[test]
fn another_format_is_refused_before_anything_else() {
    let error = Document::parse("etcdup.toml", "format = 2\nnew-key = 1\n", &[]).unwrap_err();
    assert_eq!(
        error.message,
        "etcdup.toml has format 2; this etcdup reads format 1"
    );
}

#[test]
fn toml_named_as_yaml_says_so_with_comments_too() {
    for text in [
        TOML.to_owned(),
        format!("# A cluster.\n{TOML}\n# [flags]\n"),
    ] {
        for name in ["etcdup.yaml", "etcdup.json"] {
            let error = Document::parse(name, &text, &[]).unwrap_err();
            assert!(
                error.message.contains("looks like TOML"),
                "{}",
                error.message
            );
        }
    }
}

#[test]
fn what_a_library_advises_its_programmers_is_not_passed_on() {
    let yaml = "format: 1\ncluster: a\ncluster: b\netcd: 3.5.33\nmember: []\n";
    let error = Document::parse("etcdup.yaml", yaml, &[]).unwrap_err();
    assert!(!error.message.contains("Policy"), "{}", error.message);
    assert!(error.help.unwrap().contains("remove one"));
    let port = "format: 1\ncluster: a\netcd: 3.5.33\nmember: [{ host: h, client-port: 70000 }]\n";
    let error = Document::parse("etcdup.yaml", port, &[]).unwrap_err();
    assert!(!error.message.contains("u16"), "{}", error.message);
}
