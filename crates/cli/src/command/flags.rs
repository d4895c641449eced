//! `etcdup flags`.

use etcdup_core::flag::{AppliesAt, FLAGS, FlagSpec, SetBy, Successor, Support};
use etcdup_core::version::{EtcdVersion, KNOWN_MINORS};

use crate::arguments::Flags;
use crate::command::context::Context;
use crate::exit;
use crate::view;

pub(crate) fn run(context: &Context, arguments: &Flags) -> u8 {
    let version = match arguments.etcd.as_deref().map(str::parse::<EtcdVersion>) {
        Some(Err(error)) => {
            view::error::plain(&error.to_string());
            return exit::USAGE;
        }
        Some(Ok(version)) if version.column().is_none() => {
            let known = KNOWN_MINORS.map(|minor| format!("3.{minor}")).join(", ");
            view::error::plain(&format!(
                "etcd {version} is not known; flags are known of {known}"
            ));
            return exit::USAGE;
        }
        Some(Ok(version)) => Some(version),
        None => None,
    };
    let rows: Vec<&FlagSpec> = FLAGS
        .iter()
        .filter(|row| {
            version
                .as_ref()
                .is_none_or(|version| row.presence(version) != Support::Absent)
        })
        .filter(|row| {
            arguments
                .part
                .as_deref()
                .is_none_or(|part| row.name.contains(part))
        })
        .collect();
    if rows.is_empty() {
        view::error::plain("no flag matches; `etcdup flags` lists all");
        return exit::USAGE;
    }
    if context.json() {
        let flags: Vec<_> = rows.iter().map(|row| json(row)).collect();
        view::json::print("flags", &serde_json::json!({ "flags": flags }));
    } else {
        let minors = KNOWN_MINORS.map(|minor| format!("3.{minor}"));
        let head = [
            "flag", "takes", &minors[0], &minors[1], &minors[2], &minors[3], "set by", "counts",
            "became",
        ];
        view::table::print(&head, rows.into_iter().map(cells));
    }
    exit::DONE
}

fn cells(row: &FlagSpec) -> Vec<String> {
    let mut cells = vec![
        row.name.to_owned(),
        format!("{:?}", row.kind).to_lowercase(),
    ];
    cells.extend((0..KNOWN_MINORS.len()).map(|column| row.cell(column).to_owned()));
    cells.extend([owner(row).to_owned(), when(row).to_owned(), became(row)]);
    cells
}

fn owner(row: &FlagSpec) -> &'static str {
    match row.owned {
        SetBy::User => "you",
        SetBy::Append => "etcdup, you add",
        SetBy::Etcdup => "etcdup",
        SetBy::Security => "[security]",
    }
}

fn when(row: &FlagSpec) -> &'static str {
    match row.when {
        AppliesAt::Bootstrap => "first start",
        AppliesAt::Start => "each start",
    }
}

fn became(row: &FlagSpec) -> String {
    match row.successor() {
        Some(Successor::Flag(name)) => name.to_owned(),
        Some(Successor::Gate(gate)) => format!("feature gate {gate}"),
        Some(Successor::Nothing) | None => String::new(),
    }
}

fn json(row: &FlagSpec) -> serde_json::Value {
    let releases: serde_json::Map<String, serde_json::Value> = KNOWN_MINORS
        .iter()
        .enumerate()
        .map(|(column, minor)| (format!("3.{minor}"), row.cell(column).into()))
        .collect();
    serde_json::json!({
        "name": row.name, "type": format!("{:?}", row.kind).to_lowercase(), "releases": releases,
        "owner": owner(row), "counts": when(row), "became": became(row),
    })
}
