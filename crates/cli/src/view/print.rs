//! Printing: to standard output, and errors of one line.

use anstyle::{AnsiColor, Style};
use etcdup_core::plain::harmless;

/// `error:` in red, then the message.
pub(crate) fn plain(message: &str) {
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    errln!("{red}error:{red:#} {}", harmless(message));
}

/// Writes to standard error. Where nobody can read it any more the work goes on.
#[cfg(not(test))]
pub(crate) fn tell(text: &str) {
    use std::io::Write;
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
pub(crate) use captured::{tell, write};

/// Writes to standard output. A reader that has gone (`| head`) is no failure; any other error ends
/// the program with its reason, since what was asked for did not arrive.
#[cfg(not(test))]
pub(crate) fn write(text: &str) {
    use std::io::Write;
    let mut out = anstream::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
        && !is_gone_terminal(&error)
    {
        plain(&format!("cannot write to standard output: {error}"));
        std::process::exit(i32::from(crate::exit::FAILED));
    }
}

/// Whether the terminal has gone: what was printed there arrived nowhere, and a stage that has
/// begun must still come to its end.
#[cfg(not(test))]
fn is_gone_terminal(error: &std::io::Error) -> bool {
    use std::io::IsTerminal;
    // EIO. A terminal that hung up is none any more to whoever asks.
    let is_file = std::fs::metadata("/proc/self/fd/1").is_ok_and(|about| about.is_file());
    error.raw_os_error() == Some(5) && !is_file && !std::io::stdout().is_terminal()
}

/// Writes one line to standard error.
macro_rules! errln {
    ($($part:tt)*) => { $crate::view::print::tell(&format!("{}\n", format_args!($($part)*))) };
}
pub(crate) use errln;

/// Writes one line to standard output.
macro_rules! outln {
    () => { $crate::view::print::write("\n") };
    ($($part:tt)*) => { $crate::view::print::write(&format!("{}\n", format_args!($($part)*))) };
}
pub(crate) use outln;

/// `1 member`, `2 members`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}

/// Paragraphs in lines of at most 100 characters; lines that begin with a blank are left as they
/// are.
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

/// How long ago, in the largest unit that says something.
pub(crate) fn age_of(seconds: i64) -> String {
    let seconds = seconds.max(0);
    if seconds < 120 {
        format!("{seconds} s")
    } else if seconds < 7200 {
        format!("{} min", seconds / 60)
    } else if seconds < 172_800 {
        format!("{} h", seconds / 3600)
    } else {
        format!("{} d", seconds / 86_400)
    }
}

/// What is printed in a test is kept for it: the page as a person reads it, without colors.
#[cfg(test)]
pub(crate) mod captured {
    use std::cell::RefCell;

    thread_local! {
        static PAGE: RefCell<String> = const { RefCell::new(String::new()) };
    }

    pub(crate) fn write(text: &str) {
        PAGE.with_borrow_mut(|page| page.push_str(&anstream::adapter::strip_str(text).to_string()));
    }

    pub(crate) fn tell(text: &str) {
        write(text);
    }

    /// What this prints.
    pub(crate) fn page(print: impl FnOnce()) -> String {
        PAGE.take();
        print();
        PAGE.take()
    }
}
