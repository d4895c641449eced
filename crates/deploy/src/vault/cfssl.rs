//! cfssl's files that the topology names, read.

use std::path::Path;

use camino::Utf8PathBuf;
use etcdup_core::certificate::{Cfssl, CfsslConfig, CfsslRequest};
use etcdup_core::file::{KeyPath, Spec};
use etcdup_core::finding::{Check, Finding};
use serde::de::DeserializeOwned;

pub(crate) const CFSSL: Check = Check {
    id: "cfssl-request",
    title: "a file of cfssl's cannot be used",
    about: "[certificates.cfssl] names JSON files as cfssl reads them: requests for the CA and for members, and the signing \
            policy. One is not there, is not such JSON, or asks for what a member cannot use.",
    advice: "fix the file; `cfssl print-defaults csr` shows the form",
};

/// Reads what `[certificates.cfssl]` names.
pub(crate) fn read(spec: &Spec, base: &Path) -> Result<Cfssl, Box<Finding>> {
    let Some(files) = &spec.certificates.cfssl else {
        return Ok(Cfssl::default());
    };
    let ca: Option<CfsslRequest> = read_json("ca", files.ca.as_ref(), base)?;
    let member: Option<CfsslRequest> = read_json("member", files.member.as_ref(), base)?;
    let config: Option<CfsslConfig> = read_json("config", files.config.as_ref(), base)?;
    if let Some(request) = &ca {
        request.algorithm().map_err(|why| refuse("ca", why))?;
        request.days().map_err(|why| refuse("ca", why))?;
    }
    if let Some(request) = &member {
        request.algorithm().map_err(|why| refuse("member", why))?;
        request.sans().map_err(|why| refuse("member", why))?;
    }
    let hours = config
        .map(|config| config.hours(files.profile.as_deref()))
        .transpose()
        .map_err(|why| refuse("config", why))?;
    Ok(Cfssl { ca, member, hours })
}

fn read_json<T: DeserializeOwned>(
    key: &str,
    path: Option<&Utf8PathBuf>,
    base: &Path,
) -> Result<Option<T>, Box<Finding>> {
    let Some(path) = path else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(base.join(path))
        .map_err(|error| refuse(key, format!("{path}: {error}")))?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| refuse(key, format!("{path}: {error}")))
}

fn refuse(key: &str, why: String) -> Box<Finding> {
    let at = KeyPath::root("certificates").key("cfssl").key(key);
    Box::new(CFSSL.error("cfssl", why).at(at))
}
