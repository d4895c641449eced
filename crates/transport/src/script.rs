//! Scripts: constants, handed to the host's shell in a form that every login shell passes on
//! untouched.

use std::time::Duration;

/// A shell script that is a constant of the program.
#[derive(Debug)]
pub struct Script {
    /// Its name, for messages.
    pub name: &'static str,
    text: &'static str,
    /// How long it may neither read nor print before the link counts as dead.
    pub idle: Duration,
    /// How many bytes of its standard output are kept.
    pub(crate) keeps: Keeps,
}

/// What becomes of a script's standard output, besides being shown while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// All of it is the answer; one beyond the limit is refused.
    All,
    /// It may go on for days, so only its beginning is kept, which says whether it was refused.
    Beginning,
}

/// How much standard output a script may print, in bytes: a host that answers without end must not
/// fill the operator's memory. The largest honest answer, of a host with many members, is below one
/// MiB.
pub(crate) const OUTPUT_LIMIT: usize = 64 << 20;

/// How much is kept of output that may go on for days.
const BEGINNING: usize = 64 << 10;

impl Script {
    /// A script that may be silent for a minute.
    #[must_use]
    pub const fn new(name: &'static str, text: &'static str) -> Self {
        Self {
            name,
            text,
            idle: Duration::from_secs(60),
            keeps: Keeps::All,
        }
    }

    /// The same script, whose output is watched rather than kept: it may print any amount.
    #[must_use]
    pub const fn watched(self) -> Self {
        Self {
            keeps: Keeps::Beginning,
            ..self
        }
    }

    /// The same script, allowed to be silent for so long.
    #[must_use]
    pub const fn with_idle_timeout(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }

    /// How much of its standard output is kept, in bytes.
    pub(crate) const fn room(&self) -> usize {
        match self.keeps {
            Keeps::All => OUTPUT_LIMIT,
            Keeps::Beginning => BEGINNING,
        }
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// The words for a login shell, which may be fish or csh: one pair of single quotes with
    /// nothing in it that any of them would touch. `printf` is built into every sh, so loading a
    /// script starts no program; standard input is left to what the script reads.
    #[must_use]
    pub fn command(&self) -> String {
        let mut words = String::with_capacity(self.text.len() * 5 / 4);
        for byte in self.text.bytes() {
            match byte {
                // What a double-quoted word, a single-quoted one of any shell, or csh's history
                // would take for its own, and what is no printable character.
                b'"' | b'$' | b'`' | b'\\' | b'\'' | b'!' | 0..=31 | 127.. => {
                    words.push_str(&format!("\\0{byte:03o}"));
                }
                plain => words.push(char::from(plain)),
            }
        }
        format!("sh -c 'eval \"$(printf %b \"{words}\")\"'")
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::unwrap_used,
        reason = "tests run the command itself"
    )]

    use super::*;

    /// Whatever is in a script, the shell that runs it sees just that.
    #[test]
    fn a_script_arrives_as_it_is() {
        let script = Script::new(
            "quotes",
            "printf '%s|' 'a\\tb' \"c$((1 + 1))\" `printf d` '!e' '%s' '\\0101' '\u{e4}'\n# 'end\nread -r x; printf '%s' \"$x\"",
        );
        for shell in ["sh", "dash", "bash"] {
            let mut child = std::process::Command::new(shell)
                .args(["-c", &script.command()])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut input = child.stdin.take().unwrap();
            std::io::Write::write_all(&mut input, b"left alone\n").unwrap();
            drop(input);
            let said = child.wait_with_output().unwrap().stdout;
            let said = String::from_utf8(said).unwrap();
            assert_eq!(said, "a\\tb|c2|d|!e|%s|\\0101|\u{e4}|left alone", "{shell}");
        }
    }
}
