//! Scripts: constants, handed to the host's shell in a form that every login shell passes on untouched.

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
}

impl Script {
    /// A script that may be silent for a minute.
    #[must_use]
    pub const fn new(name: &'static str, text: &'static str) -> Self {
        Self {
            name,
            text,
            idle: Duration::from_secs(60),
        }
    }

    /// The same script, allowed to be silent for so long.
    #[must_use]
    pub const fn silent_for(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// The words for a login shell, which may be fish or csh: one pair of single quotes with nothing in it that any of
    /// them would touch. The script itself travels as base64, and standard input is left to what it reads.
    #[must_use]
    pub fn command(&self) -> String {
        format!(
            "sh -c 'eval \"$(printf %s {} | base64 -d)\"'",
            BASE64_STANDARD.encode(self.text)
        )
    }
}
