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
    if let Some(out) = out {
        let wrote = std::fs::create_dir_all(out)
            .and_then(|()| clap_mangen::generate_to(arguments::command(), out));
        return match wrote {
            Ok(()) => exit::DONE,
            Err(error) => {
                view::error::plain(&format!("{}: {error}", out.display()));
                exit::FAILED
            }
        };
    }
    let mut bytes = Vec::new();
    match clap_mangen::Man::new(arguments::command()).render(&mut bytes) {
        Ok(()) => print(&String::from_utf8_lossy(&bytes)),
        Err(_) => exit::FAILED,
    }
}

fn print(text: &str) -> u8 {
    outln!("{text}");
    exit::DONE
}
