//! `etcdup init`.

use crate::view::outln;

use crate::arguments::Init;
use crate::command::context::Context;
use crate::exit;
use crate::template::template;
use crate::view;

pub(crate) fn run(context: &Context, init: &Init) -> u8 {
    let path = &context.settings.file;
    let ending = path.extension().and_then(|ending| ending.to_str());
    if let Some(ending @ ("yaml" | "yml" | "json")) = ending {
        view::error::plain(&format!(
            "init writes TOML only; use a file name ending in .toml, not .{ending}"
        ));
        return exit::USAGE;
    }
    if path.exists() && !init.force {
        view::error::plain(&format!(
            "{} already exists; use --force to replace it",
            path.display()
        ));
        return exit::FAILED;
    }
    let examples = [
        "root@10.0.1.10".to_owned(),
        "root@10.0.1.11".to_owned(),
        "root@10.0.1.12".to_owned(),
    ];
    let targets = if context.global.target.is_empty() {
        &examples[..]
    } else {
        &context.global.target
    };
    let text = template(&init.cluster, &init.etcd, targets);
    let document = match etcdup_core::file::Document::parse("etcdup.toml", &text, &[]) {
        Ok(document) => document,
        Err(error) => {
            view::error::plain(&error.to_string());
            return exit::USAGE;
        }
    };
    // A file that `check` refuses is no start.
    let mut errors = etcdup_core::lint::lint(&document.spec);
    errors.retain(|finding| finding.verdict == etcdup_core::finding::Verdict::Error);
    if !errors.is_empty() {
        view::error::findings(&errors, None);
        return exit::USAGE;
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let written = parent
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(path, text));
    if let Err(error) = written {
        view::error::plain(&format!("{}: {error}", path.display()));
        return exit::FAILED;
    }
    if context.json() {
        view::json::print("init", &serde_json::json!({ "wrote": path }));
        return exit::DONE;
    }
    outln!(
        "wrote {}; edit it, then: etcdup check, etcdup plan, etcdup apply",
        path.display()
    );
    exit::DONE
}
