//! Scripts: constants, handed to the host's shell in a form that every login shell passes on
//! untouched.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

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
    /// nothing in it that any of them would touch. The script itself travels as base64, and
    /// standard input is left to what it reads.
    #[must_use]
    pub fn command(&self) -> String {
        format!(
            "sh -c 'eval \"$(printf %s {} | base64 -d)\"'",
            BASE64_STANDARD.encode(self.text)
        )
    }
}
