//! `cargo xtask docs`: pages that are made from tables in the code.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::outcome::Outcome;
use crate::setup::{built_for_tests, example, root};

pub(crate) fn run(check: bool) -> Outcome {
    let mut stale = Vec::new();
    for (path, text) in pages()? {
        let full = root().join(&path);
        if std::fs::read_to_string(&full).ok().as_deref() == Some(&text) {
            continue;
        }
        if check {
            stale.push(path.display().to_string());
        } else {
            std::fs::write(&full, text).map_err(|error| format!("{}: {error}", full.display()))?;
            println!("wrote {}", path.display());
        }
    }
    if stale.is_empty() {
        Ok(())
    } else {
        Err(format!("stale: {}; run cargo xtask docs", stale.join(", ")))
    }
}

fn pages() -> Result<Vec<(PathBuf, String)>, String> {
    let etcdup = built_for_tests()?;
    let run = |arguments: &[&str]| -> Result<String, String> {
        let output = Command::new(&etcdup)
            .args(arguments)
            .env("NO_COLOR", "1")
            .env("COLUMNS", "100")
            .output()
            .map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let mut checks = String::from(
        "# Checks\n\nMade by `cargo xtask docs` from the tables in the code. `etcdup explain ID` prints one page.\n",
    );
    let explained = run(&["explain", "--output", "json"])?;
    let explained: serde_json::Value =
        serde_json::from_str(&explained).map_err(|error| format!("etcdup explain: {error}"))?;
    let of_checks = explained["pages"]
        .as_array()
        .ok_or("explain has no pages")?;
    for page in of_checks {
        let part = |name: &str| page[name].as_str().unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = write!(
            checks,
            "\n## {}\n\n**{}**\n\n{}",
            part("id"),
            part("title"),
            part("text")
        );
    }
    let mut cli = format!(
        "# Command line\n\nMade by `cargo xtask docs`.\n\n```text\n{}```\n",
        run(&["--help"])?
    );
    // Every verb that the help has, and theirs in turn, so that none can be forgotten here.
    let mut open: Vec<Vec<String>> = verbs(&run(&["--help"])?, &[]);
    open.reverse();
    while let Some(verb) = open.pop() {
        let words: Vec<&str> = verb.iter().map(String::as_str).chain(["--help"]).collect();
        let help = run(&words)?;
        let _ = write!(
            cli,
            "\n## etcdup {}\n\n```text\n{help}```\n",
            verb.join(" ")
        );
        open.extend(verbs(&help, &verb).into_iter().rev());
    }
    let openapi = openapi()?;
    let document: serde_json::Value =
        serde_json::from_str(&openapi).map_err(|error| format!("openapi.json: {error}"))?;
    Ok(vec![
        (PathBuf::from("docs/http-paths.md"), paths_page(&document)),
        (PathBuf::from("docs/checks.md"), checks),
        (PathBuf::from("docs/command-line.md"), cli),
        (
            PathBuf::from("docs/topology.schema.json"),
            run(&["schema"])?,
        ),
        (PathBuf::from("docs/openapi.json"), openapi),
    ])
}

/// The paths of the API for readers: what each is for, who may, what it takes and answers.
fn paths_page(document: &serde_json::Value) -> String {
    let mut page = String::from(
        "# Paths of the HTTP API\n\nMade by `cargo xtask docs` from the table in the code. \
         [openapi.json](openapi.json) says the same to programs, with every field; \
         [http-api.md](http-api.md) says how to use them.\n",
    );
    let paths = document["paths"].as_object().into_iter().flatten();
    for (path, methods) in paths {
        let _ = writeln!(page, "\n## {path}");
        for (method, row) in methods.as_object().into_iter().flatten() {
            let role = row["x-role"]
                .as_str()
                .unwrap_or("nobody: it takes no token");
            let about = row["summary"].as_str().unwrap_or_default();
            let _ = writeln!(
                page,
                "
**{}** ({role}): {about}.",
                method.to_uppercase()
            );
            for parameter in row["parameters"].as_array().into_iter().flatten() {
                if parameter["in"] == "path" {
                    continue;
                }
                let part = |name: &str| parameter[name].as_str().unwrap_or_default();
                let _ = writeln!(
                    page,
                    "- {} `{}`: {}",
                    part("in"),
                    part("name"),
                    part("description")
                );
            }
            let body = row["requestBody"]["content"].as_object();
            for (media, content) in body.into_iter().flatten() {
                let named = content["schema"]["$ref"].as_str().unwrap_or_default();
                let named = named.rsplit('/').next().unwrap_or_default();
                let _ = writeln!(page, "- body, `{media}`{}", of(named));
            }
            let answers = row["responses"].as_object().into_iter().flatten();
            let (mut well, mut problems) = (Vec::new(), Vec::new());
            for (status, answer) in answers {
                match answer["$ref"].is_string() {
                    true => problems.push(status.as_str()),
                    false => well.push(status.as_str()),
                }
            }
            let _ = writeln!(
                page,
                "- answers {}; problems {}",
                well.join(", "),
                problems.join(", ")
            );
        }
    }
    page
}

/// ` of NAME`, where there is one.
fn of(name: &str) -> String {
    match name {
        "" => String::new(),
        name => format!(", {name}"),
    }
}

fn openapi() -> Result<String, String> {
    let program = example("openapi")?;
    let output = Command::new(program)
        .output()
        .map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The verbs that a help text lists below `Commands:`, each behind those that lead to it.
fn verbs(help: &str, before: &[String]) -> Vec<Vec<String>> {
    let list = help.split("Commands:\n").nth(1).unwrap_or_default();
    list.lines()
        .take_while(|line| !line.is_empty())
        // A description that goes on in the next line is further to the right, and leaves nothing
        // before the first space.
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|word| {
            !word.is_empty()
                && *word != "help"
                && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        })
        .map(|word| [before, &[word.to_owned()]].concat())
        .collect()
}
