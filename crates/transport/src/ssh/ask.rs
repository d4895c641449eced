//! Questions that only a person can answer.

use zeroize::Zeroizing;

/// Something that only a person knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// The passphrase of a key file.
    Passphrase {
        /// The file.
        file: String,
    },
    /// The password of a login user.
    Password {
        /// The user.
        user: String,
        /// The host.
        host: String,
    },
    /// The password for sudo.
    Sudo {
        /// The user.
        user: String,
        /// The host.
        host: String,
    },
}

/// Who is asked for passwords and passphrases. Called on a thread that may block.
pub trait Prompt: Send + Sync {
    /// The answer; `None` when there is nobody to ask.
    fn ask(&self, question: &Credential) -> Option<Zeroizing<String>>;
}
