//! cfssl's files that the topology names, read.

use std::path::Path;

use camino::Utf8PathBuf;
use etcdup_core::certificate::{Cfssl, CfsslConfig, CfsslRequest};
use etcdup_core::file::{KeyPath, Spec};
use etcdup_core::finding::{Check, Finding};
use serde::de::DeserializeOwned;

use crate::error::DeployError;

pub(crate) const CFSSL: Check = Check {
    id: "cfssl-request",
    title: "a file of cfssl's cannot be used",
    about: "[certificates.cfssl] names JSON files as cfssl reads them: requests for the CA and for members, and the signing \
            policy. One is not there, is not such JSON, or asks for what a member cannot use.",
    advice: "mend the file; `cfssl print-defaults csr` shows the form",
};

/// Reads what `[certificates.cfssl]` names.
pub(crate) fn read(spec: &Spec, base: &Path) -> Result<Cfssl, DeployError> {
    let Some(files) = &spec.certificates.cfssl else {
        return Ok(Cfssl::default());
    };
    let authority: Option<CfsslRequest> = one("authority", files.authority.as_ref(), base)?;
    let member: Option<CfsslRequest> = one("member", files.member.as_ref(), base)?;
    let config: Option<CfsslConfig> = one("config", files.config.as_ref(), base)?;
    if let Some(request) = &authority {
        request
            .algorithm()
            .map_err(|why| refuse("authority", why))?;
        request.days().map_err(|why| refuse("authority", why))?;
    }
    if let Some(request) = &member {
        request.algorithm().map_err(|why| refuse("member", why))?;
        request.sans().map_err(|why| refuse("member", why))?;
    }
    let hours = config
        .map(|config| config.hours(files.profile.as_deref()))
        .transpose()
        .map_err(|why| refuse("config", why))?;
    Ok(Cfssl {
        authority,
        member,
        hours,
    })
}

fn one<T: DeserializeOwned>(
    key: &str,
    path: Option<&Utf8PathBuf>,
    base: &Path,
) -> Result<Option<T>, DeployError> {
    let Some(path) = path else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(base.join(path))
        .map_err(|error| refuse(key, format!("{path}: {error}")))?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| refuse(key, format!("{path}: {error}")))
}

fn refuse(key: &str, why: String) -> DeployError {
    let at = KeyPath::root("certificates").key("cfssl").key(key);
    let finding: Finding = CFSSL.error("cfssl", why).at(at);
    DeployError::Blocked(vec![finding])
}
