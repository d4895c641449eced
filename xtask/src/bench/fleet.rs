//! Twenty hosts looked at by one process: five clusters of three, and one of five.

use std::collections::BTreeMap;
use std::path::Path;

use super::figures::middle;
use crate::lab::Lab;
use crate::outcome::Outcome;
use crate::setup::{measured_example, newest_of};

/// Each cluster's name, and its hosts.
const CLUSTERS: [(&str, std::ops::RangeInclusive<u32>); 6] = [
    ("a", 1..=3),
    ("b", 4..=6),
    ("c", 7..=9),
    ("d", 10..=12),
    ("e", 13..=15),
    ("f", 16..=20),
];
const RUNS: usize = 7;
/// So slowly is sent to one host.
const SLOW: &str = "200kbit";

/// Rows of the table: what was looked at, and the milliseconds that connecting and looking again
/// took.
pub(super) fn measure(etcdup: &Path) -> Result<Vec<(String, String)>, String> {
    let program = measured_example("etcdup-deploy", "fleet")?;
    let version = newest_of("3.5")?;
    let lab = Lab::up("bench20", 20, etcdup)?;
    let head = lab.head(&version);
    for (name, hosts) in CLUSTERS {
        let members: String = hosts
            .map(|n| {
                format!(
                    "[[member]]\nname = \"m{n}\"\nhost = \"{}\"\n",
                    Lab::address(n)
                )
            })
            .collect();
        let head = head.replace("\"prod\"", &format!("\"{name}\""));
        lab.write(&format!("{name}.toml"), &format!("{head}\n{members}"))?;
        lab.etcdup(&["apply", "--yes", "--file", &format!("{name}.toml")])?
            .exits(0)?;
    }
    let mut rows = Vec::new();
    let look = |names: &[&str]| looked(&lab, &program, names);
    for (what, names) in [
        ("one cluster of three", &["a"][..]),
        ("three clusters of three", &["a", "b", "c"]),
        ("twenty hosts", &["a", "b", "c", "d", "e", "f"]),
    ] {
        let times = look(names)?;
        rows.push((
            format!("looking at {what}, connecting"),
            ms(&times, (1, "all")),
        ));
        rows.push((format!("looking at {what} again"), ms(&times, (2, "all"))));
    }
    slow_down(&lab)?;
    let times = look(&["a", "b", "c", "d", "e", "f"])?;
    rows.push((
        format!("again, one host at {SLOW}/s: its cluster"),
        ms(&times, (2, "f")),
    ));
    let others = ["a", "b", "c", "d", "e"].map(|name| middle(times[&(2, name.to_owned())].clone()));
    let slowest = others.into_iter().fold(0.0, f64::max);
    rows.push((
        "the slowest of the others".to_owned(),
        format!("{slowest:.0} ms"),
    ));
    Ok(rows)
}

type Times = BTreeMap<(u32, String), Vec<f64>>;

fn looked(lab: &Lab, program: &Path, names: &[&str]) -> Result<Times, String> {
    let files: Vec<String> = names.iter().map(|name| format!("{name}.toml")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let mut times = Times::new();
    for _ in 0..RUNS {
        let said = Lab::run(lab.command(&program.to_string_lossy(), &files))?.exits(0)?;
        for line in said.out.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [round, name, took, stages] = words.as_slice() else {
                return Err(format!("fleet says `{line}`"));
            };
            if *stages != "0" {
                return Err(format!("something to do in a cluster that is done: {line}"));
            }
            let round = round.parse().map_err(|_| line.to_owned())?;
            let took = took.parse().map_err(|_| line.to_owned())?;
            times
                .entry((round, (*name).to_owned()))
                .or_default()
                .push(took);
        }
    }
    Ok(times)
}

fn ms(times: &Times, of: (u32, &str)) -> String {
    let figures = times.get(&(of.0, of.1.to_owned())).cloned();
    format!("{:.0} ms", middle(figures.unwrap_or_default()))
}

fn slow_down(lab: &Lab) -> Outcome {
    let command = format!(
        "tc qdisc add dev vb-{}-20 root tbf rate {SLOW} burst 4kb latency 10s",
        lab.name()
    );
    lab.inside(&command)?.exits(0).map(|_| ())
}
