//! Values that are of the right kind and that etcd still refuses when it starts: words that it does
//! not know, and numbers out of range. Read in etcd's source at v3.4.45, v3.5.33, v3.6.14 and
//! v3.7.1 (server/embed/config.go, server/etcdmain/config.go, client/pkg/logutil,
//! client/pkg/tlsutil, server/features), and tried on 3.4.23, 3.5.16 and 3.5.30.

use super::{Support, go_duration, presence_of};
use crate::version::EtcdVersion;

/// Which values of its kind a flag takes.
#[derive(Debug, Clone, Copy)]
pub enum Limits {
    /// Any.
    Any,
    /// One of these words.
    Word(&'static [Word]),
    /// Some of these words, joined with commas.
    Words(&'static [Word]),
    /// `Name=true` or `Name=false`, joined with commas.
    Gates(&'static [Word]),
    /// A number between these two, both included.
    Range(i64, i64),
    /// A duration longer than zero.
    Positive,
    /// What this function says; it returns what is expected instead.
    Rule(fn(&str, &EtcdVersion) -> Result<(), String>),
}

/// A word, and the releases that know it: cells as in the flag table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word(&'static str, &'static str);

impl Word {
    fn is_in(self, version: &EtcdVersion) -> bool {
        presence_of(self.1, version) != Support::Absent
    }
}

impl Limits {
    /// Whether a release takes a value.
    ///
    /// # Errors
    /// What it takes instead.
    pub fn check(&self, value: &str, version: &EtcdVersion) -> Result<(), String> {
        let known = |words: &[Word], word: &str| {
            words
                .iter()
                .any(|known| known.0 == word && known.is_in(version))
        };
        let list = |words: &[Word]| {
            let words = words.iter().filter(|word| word.is_in(version));
            words.map(|word| word.0).collect::<Vec<_>>().join(", ")
        };
        match self {
            Limits::Any => Ok(()),
            Limits::Word(words) if known(words, value) => Ok(()),
            Limits::Word(words) => Err(format!("one of {}", list(words))),
            Limits::Words(words) => match value.split(',').find(|word| !known(words, word)) {
                None => Ok(()),
                Some(word) => Err(format!(
                    "words of this list, and `{word}` is none: {}",
                    list(words)
                )),
            },
            Limits::Gates(words) => {
                for gate in value
                    .split(',')
                    .map(str::trim)
                    .filter(|gate| !gate.is_empty())
                {
                    let (name, on) = gate.split_once('=').unwrap_or((gate, ""));
                    if !known(words, name.trim()) {
                        return Err(format!(
                            "feature gates of this release, and `{name}` is none: {}",
                            list(words)
                        ));
                    }
                    if ![
                        "true", "false", "True", "False", "TRUE", "FALSE", "t", "f", "T", "F", "1",
                        "0",
                    ]
                    .contains(&on.trim())
                    {
                        return Err(format!("`{name}=true` or `{name}=false`"));
                    }
                }
                Ok(())
            }
            Limits::Range(from, to) => match value.parse::<i64>() {
                Ok(number) if (*from..=*to).contains(&number) => Ok(()),
                _ if *to == i64::MAX => Err(format!("a whole number from {from}")),
                _ => Err(format!("a whole number from {from} to {to}")),
            },
            Limits::Positive => match go_duration(value) {
                Some(nanos) if nanos > 0 => Ok(()),
                _ => Err("a duration longer than zero".to_owned()),
            },
            Limits::Rule(rule) => rule(value, version),
        }
    }
}

/// zap's levels: lower case only before 3.5, `warning` from 3.7 on; anything else makes etcd panic.
fn log_level(value: &str, version: &EtcdVersion) -> Result<(), String> {
    const LEVELS: [&str; 7] = ["debug", "info", "warn", "error", "dpanic", "panic", "fatal"];
    let lower = value.to_ascii_lowercase();
    let known = LEVELS.contains(&lower.as_str()) || lower == "warning" && version.minor() >= 7;
    if known && (lower == value || version.minor() >= 5) {
        Ok(())
    } else {
        Err(format!("one of {}", LEVELS.join(", ")))
    }
}

/// A number of hours or revisions, or a duration. A negative one compacts without pause, or makes
/// etcd panic.
fn retention(value: &str, _: &EtcdVersion) -> Result<(), String> {
    let number = value.parse::<i64>().is_ok_and(|number| number >= 0);
    let duration = go_duration(value).is_some_and(|nanos| nanos == 0 || nanos >= 1_000_000_000);
    if number || duration {
        Ok(())
    } else {
        Err("a whole number from 0, or a duration of at least 1s such as 30m or 8h".to_owned())
    }
}

/// `simple`, or `jwt` with its options.
fn auth_token(value: &str, version: &EtcdVersion) -> Result<(), String> {
    const METHODS: [&str; 12] = [
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
        "ES384", "ES512",
    ];
    let mut parts = value.split(',');
    let kind = parts.next().unwrap_or_default();
    let options: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    if value.split(',').skip(1).count() != options.len() {
        return Err("`simple`, or `jwt,key=value,...`".to_owned());
    }
    if kind == "simple" {
        return Ok(());
    }
    let option = |name: &str| {
        let found = options.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| *value)
    };
    let method = option("sign-method").unwrap_or_default();
    let known = METHODS.contains(&method) || method == "EdDSA" && version.minor() >= 6;
    let keys =
        option("priv-key").is_some() || option("pub-key").is_some() && !method.starts_with("HS");
    if kind == "jwt" && known && keys {
        Ok(())
    } else {
        Err("`simple`, or `jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE`".to_owned())
    }
}

const EVERY: &str = "all all all all";

/// The limits of each flag that has any, sorted by name.
#[rustfmt::skip]
pub const LIMITS: &[(&str, Limits)] = &[
    ("auth-token", Limits::Rule(auth_token)),
    ("auto-compaction-mode", Limits::Word(&[Word("periodic", EVERY), Word("revision", EVERY)])),
    ("auto-compaction-retention", Limits::Rule(retention)),
    // Not refused, but any other word silently is another type than the one asked for.
    ("backend-bbolt-freelist-type", Limits::Word(&[Word("array", EVERY), Word("map", EVERY)])),
    ("bcrypt-cost", Limits::Range(4, 31)),
    ("cipher-suites", Limits::Words(CIPHERS)),
    ("compact-hash-check-time", Limits::Positive),
    ("discovery-fallback", Limits::Word(&[Word("exit", EVERY), Word("proxy", "all all - -")])),
    ("election-timeout", Limits::Range(5, 50_000)),
    ("experimental-backend-bbolt-freelist-type", Limits::Word(&[Word("array", EVERY), Word("map", EVERY)])),
    ("experimental-compact-hash-check-time", Limits::Positive),
    ("experimental-distributed-tracing-sampling-rate", Limits::Range(0, 1_000_000)),
    ("distributed-tracing-sampling-rate", Limits::Range(0, 1_000_000)),
    ("feature-gates", Limits::Gates(GATES)),
    ("heartbeat-interval", Limits::Range(1, 10_000)),
    ("log-format", Limits::Word(&[Word("json", EVERY), Word("console", EVERY)])),
    ("log-level", Limits::Rule(log_level)),
    ("logger", Limits::Word(&[Word("zap", EVERY), Word("capnslog", "all - - -")])),
    ("max-concurrent-streams", Limits::Range(0, u32::MAX as i64)),
    ("max-learners", Limits::Range(1, i64::MAX)),
    ("metrics", Limits::Word(&[Word("basic", EVERY), Word("extensive", EVERY)])),
    ("proxy", Limits::Word(&[Word("off", EVERY), Word("readonly", EVERY), Word("on", EVERY)])),
    ("self-signed-cert-validity", Limits::Range(1, 292)),
    ("tls-max-version", Limits::Word(&[Word("TLS1.2", EVERY), Word("TLS1.3", EVERY)])),
    ("tls-min-version", Limits::Word(&[Word("TLS1.2", EVERY), Word("TLS1.3", EVERY)])),
    ("v2-deprecation", Limits::Word(&[
        Word("not-yet", "- all - -"), Word("write-only", "- all all all"),
        Word("write-only-skip-check", "- 32+ 13+ all"), Word("write-only-drop-data", "- all all all"),
        Word("gone", "- all all all"),
    ])),
];

#[rustfmt::skip]
const GATES: &[Word] = &[
    Word("AllAlpha", "- - all all"), Word("AllBeta", "- - all all"), Word("CompactHashCheck", "- - all all"),
    Word("FastLeaseKeepAlive", "- - - all"), Word("InitialCorruptCheck", "- - all all"),
    Word("LeaseCheckpoint", "- - all all"), Word("LeaseCheckpointPersist", "- - all all"),
    Word("PriorityRequest", "- - - all"), Word("SetMemberLocalAddr", "- - all all"),
    Word("StopGRPCServiceOnDefrag", "- - all all"), Word("TxnModeWriteWithSharedBuffer", "- - all all"),
];

/// Go's cipher suites, which etcd looks up by name; those of TLS 1.3 since Go has them.
#[rustfmt::skip]
const CIPHERS: &[Word] = &[
    Word("TLS_AES_128_GCM_SHA256", "22+ all all all"), Word("TLS_AES_256_GCM_SHA384", "22+ all all all"),
    Word("TLS_CHACHA20_POLY1305_SHA256", "22+ all all all"),
    Word("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", EVERY), Word("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", EVERY),
    Word("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", EVERY), Word("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", EVERY),
    Word("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", EVERY), Word("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", EVERY),
    Word("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "22+ all all all"), Word("TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", EVERY),
    Word("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", EVERY), Word("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", EVERY),
    Word("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", EVERY), Word("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", EVERY),
    Word("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", EVERY), Word("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", EVERY),
    Word("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", EVERY), Word("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "22+ all all all"),
    Word("TLS_ECDHE_RSA_WITH_RC4_128_SHA", EVERY), Word("TLS_RSA_WITH_3DES_EDE_CBC_SHA", EVERY),
    Word("TLS_RSA_WITH_AES_128_CBC_SHA", EVERY), Word("TLS_RSA_WITH_AES_128_CBC_SHA256", EVERY),
    Word("TLS_RSA_WITH_AES_128_GCM_SHA256", EVERY), Word("TLS_RSA_WITH_AES_256_CBC_SHA", EVERY),
    Word("TLS_RSA_WITH_AES_256_GCM_SHA384", EVERY), Word("TLS_RSA_WITH_RC4_128_SHA", EVERY),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flag::lookup;

    fn takes(flag: &str, version: &str, value: &str) -> bool {
        let row = lookup(flag).unwrap();
        row.limits().check(value, &version.parse().unwrap()).is_ok()
    }

    #[test]
    fn every_limit_is_of_a_flag_that_exists_and_of_one_alone() {
        for (name, _) in LIMITS {
            assert!(lookup(name).is_some(), "{name}");
            assert_eq!(
                LIMITS.iter().filter(|row| row.0 == *name).count(),
                1,
                "{name}"
            );
        }
    }

    #[test]
    fn values_that_etcd_dies_on_are_refused() {
        for (flag, version, bad) in [
            ("log-level", "3.5.33", "verbose"),
            ("log-level", "3.5.33", "warning"),
            ("log-level", "3.4.45", "INFO"),
            ("auto-compaction-mode", "3.5.33", "periodical"),
            ("auto-compaction-retention", "3.5.33", "1d"),
            ("auto-compaction-retention", "3.5.33", "-1"),
            ("tls-min-version", "3.5.33", "1.2"),
            ("cipher-suites", "3.5.33", "TLS_FALLBACK_SCSV"),
            ("feature-gates", "3.6.14", "PriorityRequest=true"),
            ("feature-gates", "3.6.14", "InitialCorruptCheck"),
            ("logger", "3.5.33", "capnslog"),
            ("heartbeat-interval", "3.5.33", "0"),
            ("auth-token", "3.5.33", "jwt"),
            ("auth-token", "3.5.33", "jwt,sign-method=none,pub-key=a"),
            ("v2-deprecation", "3.6.14", "not-yet"),
        ] {
            assert!(
                !takes(flag, version, bad),
                "{flag}={bad} of {version} was accepted"
            );
        }
    }

    #[test]
    fn values_that_etcd_takes_are_accepted() {
        for (flag, version, good) in [
            ("log-level", "3.5.33", "WARN"),
            ("log-level", "3.7.1", "warning"),
            ("auto-compaction-retention", "3.5.33", "8"),
            ("auto-compaction-retention", "3.5.33", "30m"),
            (
                "cipher-suites",
                "3.5.33",
                "TLS_RSA_WITH_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256",
            ),
            (
                "feature-gates",
                "3.7.1",
                "PriorityRequest=true, InitialCorruptCheck=false",
            ),
            ("auth-token", "3.4.45", "simple"),
            ("auth-token", "3.6.14", "jwt,sign-method=EdDSA,priv-key=/k"),
            ("snapshot-count", "3.5.33", "1"),
        ] {
            assert!(
                takes(flag, version, good),
                "{flag}={good} of {version} was refused"
            );
        }
    }
}
