//! How large a database may become.

use super::FlagSet;

/// etcd's own default of the quota, in bytes (server/storage/quota.go).
const QUOTA: i64 = 2 << 30;

/// How large a member's database may become by its flags, in bytes; `None` where it is not limited.
/// Numbers are written as Go reads them: `0x20000000` is one.
#[must_use]
pub fn quota_of(flags: &FlagSet) -> Option<i64> {
    let given = flags.get("quota-backend-bytes").map(go_integer);
    match given {
        None | Some(None | Some(0)) => Some(QUOTA),
        Some(Some(..0)) => None,
        Some(Some(bytes)) => Some(bytes),
    }
}

/// A whole number as Go's flags are read (strconv.ParseInt with base 0).
fn go_integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let plain = digits.replace('_', "").to_ascii_lowercase();
    let (digits, base) = match plain.as_bytes() {
        [b'0', b'x', ..] => (&plain[2..], 16),
        [b'0', b'b', ..] => (&plain[2..], 2),
        [b'0', b'o', ..] => (&plain[2..], 8),
        [b'0', _, ..] => (&plain[1..], 8),
        _ => (plain.as_str(), 10),
    };
    let number = i64::from_str_radix(digits, base).ok()?;
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_read_as_go_reads_it() {
        for (given, quota) in [
            (None, Some(2 << 30)),
            (Some("0"), Some(2 << 30)),
            (Some("-1"), None),
            (Some("1024"), Some(1024)),
            (Some("0x20000000"), Some(512 << 20)),
            (Some("1_000"), Some(1000)),
            (Some("words"), Some(2 << 30)),
        ] {
            let mut flags = FlagSet::default();
            if let Some(given) = given {
                flags.set("quota-backend-bytes", given);
            }
            assert_eq!(quota_of(&flags), quota, "{given:?}");
        }
    }
}
