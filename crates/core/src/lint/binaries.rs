//! Checks of where binaries come from.

use super::rows::{CHECKSUM_FORM, MIRROR_URL, TOOLS_SOURCE};
use crate::file::{Archive, Binaries, KeyPath, Release};
use crate::finding::Finding;
use crate::url::is_loopback_http;
use crate::version::EtcdVersion;

pub(super) fn binaries(binaries: &Binaries) -> Vec<Finding> {
    let base = KeyPath::root("binaries");
    let Binaries::Host(host) = binaries else {
        return source(binaries, &base);
    };
    let base = base.key("host").key("tools");
    match *host.tools {
        Binaries::Host(_) => {
            let evidence = "a host's own directory is where they are looked for first";
            vec![TOOLS_SOURCE.error("tools", evidence).at(base)]
        }
        _ => source(&host.tools, &base),
    }
}

/// What is wrong with a source, which is at this place in the file.
fn source(binaries: &Binaries, base: &KeyPath) -> Vec<Finding> {
    match binaries {
        Binaries::Release(release) => {
            let base = base.clone().key("release");
            let mut findings = checksums(release, &base);
            findings.extend(checked_archives(release, &base));
            findings.extend(mirror(release, &base));
            findings
        }
        Binaries::Archive(Archive { sha256, .. }) => {
            let at = base.clone().key("archive").key("sha256");
            let sums = sha256.iter();
            sums.filter_map(|sum| checksum(sum, at.clone())).collect()
        }
        Binaries::Directory(_) | Binaries::Host(_) => Vec::new(),
    }
}

fn checksum(sum: &str, at: KeyPath) -> Option<Finding> {
    let is_sum = sum.len() == 64 && sum.chars().all(|c| c.is_ascii_hexdigit());
    let evidence = || format!("`{sum}` is no SHA-256");
    (!is_sum).then(|| CHECKSUM_FORM.error("sha256", evidence()).at(at))
}

fn checksums(release: &Release, base: &KeyPath) -> Vec<Finding> {
    let sums = release.sha256.iter();
    let at = |archive: &String| base.clone().key("sha256").key(archive);
    sums.filter_map(|(archive, sum)| checksum(sum, at(archive)))
        .collect()
}

/// Checksums that would be compared with nothing: what is meant goes unchecked.
fn checked_archives(release: &Release, base: &KeyPath) -> Vec<Finding> {
    let of = |archive: &String| {
        let (version, architecture) = match archive.rsplit_once('-') {
            Some((version, architecture)) => (Some(version), architecture),
            None => (None, archive.as_str()),
        };
        let is_release = version.is_none_or(|text| {
            let parsed = text.parse::<EtcdVersion>();
            // It is looked up as it is written.
            parsed.is_ok_and(|version| version.to_string() == text)
        });
        let is_archive = is_release && ["amd64", "arm64"].contains(&architecture);
        (!is_archive).then(|| {
            let evidence = format!("`{archive}` is no archive: amd64, arm64, or 3.5.33-amd64");
            let at = base.clone().key("sha256").key(archive);
            CHECKSUM_FORM.error("sha256", evidence).at(at)
        })
    };
    release.sha256.keys().filter_map(of).collect()
}

fn mirror(release: &Release, base: &KeyPath) -> Option<Finding> {
    let mirror = release.mirror.as_ref()?;
    let at = base.clone().key("mirror");
    let rest = mirror
        .strip_prefix("https://")
        .or_else(|| mirror.strip_prefix("http://"));
    let plain = rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.contains('@')
            && rest
                .chars()
                .all(|c| c.is_ascii_graphic() && c != '|' && c != '\'')
    });
    if !plain {
        let evidence = "it is not an http or https URL without a login";
        return Some(MIRROR_URL.error("mirror", evidence).at(at));
    }
    let is_open = mirror.starts_with("http://") && !is_loopback_http(mirror);
    (is_open && release.sha256.is_empty()).then(|| {
        let evidence = format!(
            "{mirror} is plain HTTP, and the checksums would come from there too: anyone in between could replace etcd"
        );
        MIRROR_URL.error("mirror", evidence).at(at).advise(
            "use https, or give the archives' checksums under [binaries.release.sha256]",
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    fn ids(text: &str) -> Vec<(String, String)> {
        let found = toml::from_str::<Binaries>(text).unwrap();
        let found = binaries(&found).into_iter();
        let place = |finding: &Finding| finding.at.as_ref().unwrap().to_string();
        found
            .map(|finding| (finding.id.to_string(), place(&finding)))
            .collect()
    }

    #[test]
    fn the_source_of_a_hosts_tools_is_checked_as_any_other() {
        let host = "[host]\ndirectory = \"/usr/bin\"\n";
        assert!(ids(host).is_empty());
        let with = |tools: &str| ids(&format!("{host}tools = {tools}\n"));
        assert!(with("{ directory = { path = \"bin\" } }").is_empty());
        let found = with("{ archive = { path = \"a.tar.gz\", sha256 = \"short\" } }");
        let at = "binaries.host.tools.archive.sha256".to_owned();
        assert_eq!(found, [("checksum-form".to_owned(), at)]);
        let found = with("{ release = { mirror = \"ftp://x\" } }");
        let at = "binaries.host.tools.release.mirror".to_owned();
        assert_eq!(found, [("mirror-url".to_owned(), at)]);
        let found = with("{ host = { directory = \"/opt\" } }");
        let at = "binaries.host.tools".to_owned();
        assert_eq!(found, [("tools-source".to_owned(), at)]);
    }
}
