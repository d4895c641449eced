//! `etcdup show`.

use etcdup_core::topology::show;

use crate::command::Context;
use crate::exit;
use crate::view;

pub(crate) fn run(context: &Context) -> u8 {
    let (document, _) = match context.document() {
        Ok(found) => found,
        Err(error) => return context.fail(&error),
    };
    let settings = show(&document);
    if context.json() {
        view::json::print("show", &serde_json::json!({ "settings": settings }));
    } else {
        let rows = settings
            .into_iter()
            .map(|setting| vec![setting.path, setting.value, setting.origin]);
        view::table::print(&["key", "value", "from"], rows);
    }
    exit::DONE
}
