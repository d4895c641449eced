//! Questions to a person.

use std::io::IsTerminal;

use etcdup_deploy::{Ask, Question};
use zeroize::Zeroizing;

use crate::settings::{SSH_PASSPHRASE, SUDO_PASSWORD};

/// Asks on the terminal; off it, variables answer.
pub(crate) struct Person;

impl Ask for Person {
    fn ask(&self, question: &Question) -> Option<Zeroizing<String>> {
        let (variable, prompt) = match question {
            Question::Sudo { user, host } => (
                Some(SUDO_PASSWORD),
                format!("Password of {user} for sudo (first asked by {host})"),
            ),
            Question::Passphrase { file } => {
                (Some(SSH_PASSPHRASE), format!("Passphrase of {file}"))
            }
            Question::Password { user, host } => (None, format!("Password of {user}@{host}")),
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
