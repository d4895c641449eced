//! `etcdup show`: the tool's settings, the topology's values, and what follows from them.

use crate::view::outln;
use etcdup_core::topology::{EffectiveValue, ResolveError, derived_values, resolve, show};

use crate::command::context::Context;
use crate::exit;
use crate::view;

pub(crate) fn run(context: &Context) -> u8 {
    let (document, _) = match context.document() {
        Ok(found) => found,
        Err(error) => return context.fail(&error),
    };
    let tool: Vec<EffectiveValue> = context
        .origins
        .iter()
        .map(|(path, value, origin)| EffectiveValue {
            path: path.clone(),
            value: value.clone(),
            origin: origin.clone(),
        })
        .collect();
    let topology = show(&document);
    let (derived, asks) = match resolve(&document.spec, |_| None) {
        Ok(topology) => (derived_values(&topology), None),
        Err(ResolveError::NeedsHost { host, .. }) => (Vec::new(), Some(host)),
        Err(error) => return context.fail(&error.into()),
    };
    if context.json() {
        let parts = serde_json::json!({ "settings": topology, "tool": tool, "follows": derived, "asks": asks });
        view::json::print("show", &parts);
        return exit::DONE;
    }
    table("the tool's settings", tool);
    table("the topology", topology);
    match asks {
        Some(host) => outln!(
            "what follows is known once {host} was asked: a name or an address comes from it"
        ),
        None => table("what follows", derived),
    }
    exit::DONE
}

fn table(title: &str, settings: Vec<EffectiveValue>) {
    outln!("# {title}");
    let rows = settings
        .into_iter()
        .map(|setting| vec![setting.path, setting.value, setting.origin]);
    view::table::print(&["key", "value", "from"], rows);
    outln!();
}
