//! Questions to a person.

use std::io::IsTerminal;

use etcdup_deploy::{Credential, Prompt};
use zeroize::Zeroizing;

use crate::settings::{SSH_PASSPHRASE, SUDO_PASSWORD};
use crate::view::print::errln;

/// Asks on the terminal; off it, variables answer.
pub(crate) struct TerminalPrompt;

impl Prompt for TerminalPrompt {
    fn ask(&self, question: &Credential) -> Option<Zeroizing<String>> {
        let (variable, prompt) = wording(question);
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

/// The variable that answers in place of a person, and the question. A password that is used for
/// other hosts than the one that asks says so before it is typed.
fn wording(question: &Credential) -> (Option<&'static str>, String) {
    match question {
        Credential::Sudo { user, host } => (
            Some(SUDO_PASSWORD),
            format!(
                "sudo password for {user} (asked by {host}, used for every host with this user)"
            ),
        ),
        Credential::Passphrase { file } => (Some(SSH_PASSPHRASE), format!("Passphrase for {file}")),
        Credential::Password { user, host } => (
            None,
            format!("Password for {user} (asked by {host}, used for every host with this user)"),
        ),
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
        Ok(typed) => {
            errln!("`{}` is not `{name}`", typed.trim());
            Answer::No
        }
        Err(inquire::InquireError::OperationInterrupted) => Answer::Stop,
        Err(_) => Answer::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_goes_to_other_hosts_says_so() {
        let (user, host) = ("ops".to_owned(), "10.0.0.1".to_owned());
        let sudo = Credential::Sudo {
            user: user.clone(),
            host: host.clone(),
        };
        for question in [sudo, Credential::Password { user, host }] {
            let (_, asked) = wording(&question);
            assert!(
                asked.contains("ops (asked by 10.0.0.1, used for every host"),
                "{asked}"
            );
        }
    }
}
