//! Questions to a person.

use std::io::IsTerminal;

use etcdup_deploy::{Credential, Prompt};
use zeroize::Zeroizing;

use crate::settings::{SSH_PASSPHRASE, SUDO_PASSWORD};

/// Asks on the terminal; off it, variables answer.
pub(crate) struct TerminalPrompt;

impl Prompt for TerminalPrompt {
    fn ask(&self, question: &Credential) -> Option<Zeroizing<String>> {
        let (variable, prompt) = match question {
            Credential::Sudo { user, host } => (
                Some(SUDO_PASSWORD),
                format!(
                    "sudo password for {user} (asked by {host}, used for every host with this user)"
                ),
            ),
            Credential::Passphrase { file } => {
                (Some(SSH_PASSPHRASE), format!("Passphrase for {file}"))
            }
            Credential::Password { user, host } => (
                None,
                format!(
                    "Password for {user} (asked by {host}, used for every host with this user)"
                ),
            ),
        };
        if let Some(answer) = variable.and_then(|variable| std::env::var(variable).ok()) {
            return Some(Zeroizing::new(answer));
        }
        if !std::io::stdin().is_terminal() {
            return None;
        }
        inquire::Password::new(&format!("{prompt}:"))
            .without_confirmation()
            .prompt()
            .ok()
            .map(Zeroizing::new)
    }
}

/// What a person says to a question that needs a yes.
pub(crate) enum Answer {
    /// Yes.
    Yes,
    /// Anything else.
    No,
    /// Ctrl-C.
    Stop,
}

/// A question that needs a yes.
pub(crate) fn yes(question: &str) -> Answer {
    match inquire::Confirm::new(question).with_default(false).prompt() {
        Ok(true) => Answer::Yes,
        Err(inquire::InquireError::OperationInterrupted) => Answer::Stop,
        Ok(false) | Err(_) => Answer::No,
    }
}

/// A question that only the right name answers.
pub(crate) fn name(question: &str, name: &str) -> Answer {
    match inquire::Text::new(question).prompt() {
        Ok(typed) if typed.trim() == name => Answer::Yes,
        Err(inquire::InquireError::OperationInterrupted) => Answer::Stop,
        Ok(_) | Err(_) => Answer::No,
    }
}
