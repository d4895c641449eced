//! Private keys: made, and read in the forms that openssl and cfssl write.

use etcdup_core::certificate::Algorithm;
use etcdup_core::digest::sha256;
use etcdup_core::secret::Secret;
use rcgen::{KeyPair, PublicKeyData, RsaKeySize};
use x509_parser::pem::Pem;
use zeroize::Zeroizing;

use crate::error::PkiError;
use crate::inspect::{first_certificate, parse};

pub(crate) fn make(algorithm: Algorithm) -> Result<KeyPair, PkiError> {
    let made = match algorithm {
        Algorithm::EcdsaP256 => KeyPair::generate(),
        Algorithm::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        Algorithm::Rsa4096 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096),
    };
    made.map_err(|error| PkiError::Make(error.to_string()))
}

/// Reads PKCS#8, PKCS#1 and SEC1, with an `EC PARAMETERS` block in front or not.
pub(crate) fn load(pem: &Secret) -> Result<KeyPair, PkiError> {
    if pem.reveal().contains("ENCRYPTED") {
        return Err(PkiError::EncryptedKey);
    }
    for block in Pem::iter_from_buffer(pem.reveal().as_bytes()) {
        let block = block.map_err(|error| PkiError::UnreadableKey(error.to_string()))?;
        if matches!(
            block.label.as_str(),
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY"
        ) {
            let der = Zeroizing::new(block.contents);
            return KeyPair::try_from(der.as_slice())
                .map_err(|error| PkiError::UnreadableKey(error.to_string()));
        }
    }
    Err(PkiError::UnreadableKey(
        "it holds no PEM block PRIVATE KEY".to_owned(),
    ))
}

/// SHA-256 of the public key of a certificate or a private key, hex; `None` for any other text. A
/// certificate and the key that belongs to it have the same.
#[must_use]
pub fn public_key_digest(pem: &Secret) -> Option<String> {
    let spki = match first_certificate(pem.reveal()) {
        Ok(der) => parse(&der).ok()?.public_key().raw.to_vec(),
        Err(_) => load(pem).ok()?.subject_public_key_info(),
    };
    Some(sha256(&spki))
}
