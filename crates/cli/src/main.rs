//! The command line of etcdup: thin commands over the library.

mod arguments;
mod command;
mod exit;
mod settings;
mod template;
mod view;

use std::process::ExitCode;

use clap::FromArgMatches;

fn main() -> ExitCode {
    let read = arguments::command()
        .try_get_matches()
        .and_then(|matches| arguments::Arguments::from_arg_matches(&matches));
    let arguments = match read {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no mistakes; everything else is misuse.
            let code = if error.use_stderr() {
                exit::USAGE
            } else {
                exit::DONE
            };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    ExitCode::from(command::run(arguments))
}
