//! `etcdup explain`.

use crate::view::outln;
use etcdup_deploy::{Page, explain, nearest_page, pages};
use etcdup_http_api::CHECKS;

use crate::arguments::Explain;
use crate::command::context::Context;
use crate::exit;
use crate::view;

pub(crate) fn run(context: &Context, arguments: &Explain) -> u8 {
    let Some(id) = &arguments.id else {
        let pages = pages(CHECKS);
        if context.json() {
            let list: Vec<_> = pages.iter().map(document).collect();
            view::json::print("explain", &serde_json::json!({ "pages": list }));
        } else {
            view::table::print(
                &["id", "about"],
                pages
                    .iter()
                    .map(|page| vec![page.id.to_owned(), page.title.to_owned()]),
            );
        }
        return exit::DONE;
    };
    match explain(id, CHECKS) {
        Some(page) if context.json() => {
            view::json::print("explain", &document(&page));
            exit::DONE
        }
        Some(page) => {
            outln!("{}: {}\n\n{}", page.id, page.title, view::wrap(&page.text));
            exit::DONE
        }
        None => {
            let near = nearest_page(id, CHECKS)
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            view::error::plain(&format!(
                "unknown ID `{id}`{near}\n  `etcdup explain` lists all IDs"
            ));
            exit::USAGE
        }
    }
}

fn document(page: &Page) -> serde_json::Value {
    serde_json::json!({ "id": page.id, "title": page.title, "text": page.text })
}
