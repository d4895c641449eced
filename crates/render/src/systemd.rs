//! The systemd unit of a member.

use std::sync::LazyLock;

use etcdup_core::flag::{FLAGS, FlagSet, env_name, flag_of_env};
use etcdup_core::path::HostPath;
use etcdup_core::topology::{Member, Topology};
use serde::Serialize;

use crate::template::{RenderError, Renderer};

#[derive(Serialize)]
struct UnitView<'a> {
    name: &'a str,
    cluster: &'a str,
    user: &'a str,
    data: &'a str,
    wal: Option<&'a str>,
    exec: String,
    flags: Vec<String>,
    unset: &'static [String],
    protect_home: bool,
}

const PROXIES: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];

pub(crate) fn unit(
    renderer: &Renderer,
    topology: &Topology,
    member: &Member,
    flags: &FlagSet,
) -> Result<String, RenderError> {
    let arguments: Vec<String> = flags
        .arguments()
        .iter()
        .map(|argument| quote(argument))
        .collect();
    let etcd = member.layout.etcd()?;
    let data = member.layout.data.as_str();
    let wal = member.layout.wal.as_ref().map(HostPath::as_str);
    let own = [Some(data), wal];
    let view = UnitView {
        name: member.name.as_str(),
        cluster: topology.cluster.as_str(),
        user: member.layout.user.as_str(),
        data,
        wal,
        exec: format!("{etcd} \\\n    {}", arguments.join(" \\\n    ")),
        flags: arguments,
        unset: unset(),
        protect_home: !["/home/", "/root/"]
            .iter()
            .any(|home| own.into_iter().flatten().any(|path| path.starts_with(home))),
    };
    let variable = |name: &str| match name {
        "INTERNAL_IP" => Some(member.listen.to_string()),
        "ETCD_EXEC" => Some(view.exec.clone()),
        "ETCD_BIN" => Some(etcd.to_string()),
        "ETCD_USER" => Some(view.user.to_owned()),
        _ => flag_of_env(name)
            .and_then(|flag| flags.get(&flag))
            .map(str::to_owned),
    };
    let text = renderer.fill_unit(&view, variable)?;
    renderer.check(member.name.as_str(), &text, flags)?;
    Ok(text)
}

/// Every variable that could reach etcd from systemd's own environment: proxies, and one for each
/// flag. Every variable of every release: were it only those of one, a new version would change
/// pages of the unit.
fn unset() -> &'static [String] {
    // The same for every unit of every cluster.
    static UNSET: LazyLock<Vec<String>> = LazyLock::new(|| {
        let flags: Vec<String> = FLAGS.iter().map(|row| env_name(row.name)).collect();
        std::iter::once(PROXIES.join(" "))
            .chain(flags.chunks(6).map(|names| names.join(" ")))
            .collect()
    });
    &UNSET
}

/// A word as systemd wants it: `%` and `$` doubled, quoted where it holds more than plain
/// characters.
fn quote(word: &str) -> String {
    let escaped = word.replace('%', "%%").replace('$', "$$");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@+[]%$".contains(c);
    if escaped.chars().all(plain) {
        return escaped;
    }
    format!("\"{}\"", escaped.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etcdup_core::flag::FlagSource;

    #[test]
    fn what_is_quoted_reads_back_as_it_was() {
        let mut flags = FlagSet::default();
        flags.set(
            "log-rotation-config-json",
            r#"{"maxsize": 100, "a\b": "50%$x"}"#,
        );
        flags.set("name", "m1");
        let words: Vec<_> = flags.arguments().iter().map(|word| quote(word)).collect();
        let unit = format!(
            "[Service]\nExecStart=/x/etcd \\\n  {}\n",
            words.join(" \\\n  ")
        );
        assert_eq!(FlagSource::unit(&unit).flags, flags);
    }
}
