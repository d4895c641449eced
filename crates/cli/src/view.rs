//! What people and programs read.

pub(crate) mod ask;
pub(crate) mod error;
pub(crate) mod json;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod verdicts;

pub(crate) use etcdup_core::plain::harmless;

/// Writes to standard output. A reader that has gone (`| head`) is no failure; any other error ends the program with its
/// reason, since what was asked for did not arrive.
pub(crate) fn write(text: &str) {
    use std::io::Write;
    let mut out = anstream::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        error::plain(&format!("cannot write to standard output: {error}"));
        std::process::exit(i32::from(crate::exit::FAILED));
    }
}

/// Writes one line to standard output.
macro_rules! outln {
    () => { $crate::view::write("\n") };
    ($($part:tt)*) => { $crate::view::write(&format!("{}\n", format_args!($($part)*))) };
}
pub(crate) use outln;

/// `1 member`, `2 members`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}

/// Paragraphs in lines of at most 100 characters; lines that begin with a blank are left as they are.
pub(crate) fn wrap(text: &str) -> String {
    let mut wrapped = String::new();
    for line in text.lines() {
        if line.starts_with(' ') {
            wrapped.push_str(line);
            wrapped.push('\n');
            continue;
        }
        let mut width = 0;
        for word in line.split_whitespace() {
            if width > 0 && width + word.len() + 1 > 100 {
                wrapped.push('\n');
                width = 0;
            } else if width > 0 {
                wrapped.push(' ');
                width += 1;
            }
            wrapped.push_str(word);
            width += word.len();
        }
        wrapped.push('\n');
    }
    wrapped
}
