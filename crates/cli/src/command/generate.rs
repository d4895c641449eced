//! `etcdup schema`, `completions`, `man`.
use crate::arguments;
use crate::exit;
use crate::view::{self, outln};

pub(crate) fn schema() -> u8 {
    let schema = schemars::schema_for!(etcdup_core::file::Spec);
    print(&serde_json::to_string_pretty(&schema).unwrap_or_default())
}

pub(crate) fn completions(shell: clap_complete::Shell) -> u8 {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut arguments::command(), "etcdup", &mut bytes);
    print(&String::from_utf8_lossy(&bytes))
}

pub(crate) fn manual(out: Option<&std::path::Path>) -> u8 {
    let mut command = arguments::command().disable_help_subcommand(true);
    command.build();
    let written = match out {
        Some(out) => std::fs::create_dir_all(out).and_then(|()| pages(command, out)),
        None => page(&command).map(|page| {
            print(&page);
        }),
    };
    match written {
        Ok(()) => exit::DONE,
        Err(error) => {
            let place = out.map(|out| format!("{}: ", out.display()));
            view::error::plain(&format!("{}{error}", place.unwrap_or_default()));
            exit::FAILED
        }
    }
}

/// A page for each command, those below it first.
fn pages(command: clap::Command, out: &std::path::Path) -> std::io::Result<()> {
    let visible = |command: &&clap::Command| !command.is_hide_set();
    for below in command.get_subcommands().filter(visible).cloned() {
        pages(below, out)?;
    }
    let path = out.join(clap_mangen::Man::new(command.clone()).get_filename());
    std::fs::write(path, page(&command)?)
}

/// The manual page of a command. What stands below its help has headings of its own, as
/// man-pages(7) calls them: the generator would put it all under one that says nothing.
fn page(command: &clap::Command) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let bare = command.clone().after_help(clap::builder::Resettable::Reset);
    clap_mangen::Man::new(bare).render(&mut bytes)?;
    let mut page = String::from_utf8_lossy(&bytes).into_owned();
    let below = command.get_after_help().map(ToString::to_string);
    for line in below.unwrap_or_default().lines() {
        match line.strip_prefix("  ") {
            Some(text) => page.push_str(&text.replace('\\', "\\\\").replace('-', "\\-")),
            None if line.starts_with("Example") => page.push_str(".SH EXAMPLES\n.nf"),
            None if line.starts_with("Exit status") => {
                page.push_str(".fi\n.SH \"EXIT STATUS\"\n.nf");
            }
            None => page.push_str(line),
        }
        page.push('\n');
    }
    Ok(page)
}

fn print(text: &str) -> u8 {
    outln!("{text}");
    exit::DONE
}
