//! The start file of a member that runs as a detached process.

use etcdup_core::flag::FlagSet;
use etcdup_core::topology::{Member, Topology};
use serde::Serialize;

use crate::template::{RenderError, Renderer, START};

#[derive(Serialize)]
struct StartView<'a> {
    name: &'a str,
    cluster: &'a str,
    command: Vec<String>,
}

pub(crate) fn start_file(
    renderer: &Renderer,
    topology: &Topology,
    member: &Member,
    flags: &FlagSet,
) -> Result<String, RenderError> {
    let mut command = vec![quote(member.layout.etcd()?.as_str())];
    command.extend(flags.arguments().iter().map(|argument| quote(argument)));
    let view = StartView {
        name: member.name.as_str(),
        cluster: topology.cluster.as_str(),
        command,
    };
    renderer.fill(START, &view)
}

/// A word that a POSIX shell takes as it is.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@+".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
