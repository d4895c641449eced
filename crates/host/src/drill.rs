//! A snapshot that is restored into a member that is thrown away: what the script is asked, and
//! what it answers.

use crate::reports::{lines, refusal};

/// Where a snapshot is restored, and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrillPlace<'a> {
    /// In a fresh directory below etcdup's own; the snapshot is sent.
    Sent,
    /// In this directory of the machine, which is deleted; the snapshot is this file of it.
    Here {
        /// The directory.
        place: &'a str,
        /// The snapshot.
        snapshot: &'a str,
    },
}

impl DrillPlace<'_> {
    /// The second line of the script's input, for a snapshot of so many bytes. `None` for a path
    /// that no line can hold.
    #[must_use]
    pub fn line(&self, size: u64) -> Option<String> {
        let (place, snapshot) = match self {
            Self::Sent => ("-", "-"),
            Self::Here { place, snapshot } => (*place, *snapshot),
        };
        let holds = |path: &str| !path.contains(['|', '\n']);
        let kib = size.div_ceil(1024);
        (holds(place) && holds(snapshot)).then(|| format!("{place}|{snapshot}|{kib}\n"))
    }
}

/// What was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillAnswer {
    /// The revision that it is at.
    pub revision: i64,
    /// How many keys are in it; `None` where authentication is on, which lets nobody count.
    pub keys: Option<i64>,
    /// The release of etcd that served it, as etcd itself says.
    pub release: String,
}

/// Why nothing was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrillRefused {
    /// The script did not begin, or did not come to its end.
    Script(String),
    /// A program of etcd's failed.
    Program {
        /// Its name.
        name: String,
        /// What it said.
        why: String,
    },
}

impl DrillAnswer {
    /// Reads what the script printed; `complaint` is the last line of its standard error.
    ///
    /// # Errors
    /// Why nothing was read back.
    pub fn read(output: &str, complaint: &str) -> Result<Self, DrillRefused> {
        if let Some(why) = refusal(output) {
            return Err(DrillRefused::Script(why));
        }
        let marked = |mark: &str| output.lines().find_map(|line| line.strip_prefix(mark));
        if let Some((name, why)) = marked("@failed|").and_then(|line| line.split_once('|')) {
            let (name, why) = (name.to_owned(), lines(why).join(" ").trim().to_owned());
            return Err(DrillRefused::Program { name, why });
        }
        let read = |line: &str| {
            let (revision, rest) = line.split_once('|')?;
            let (keys, release) = rest.split_once('|')?;
            let keys = match keys {
                "-" => None,
                keys => Some(keys.parse().ok()?),
            };
            let revision = revision.parse().ok()?;
            Some(Self {
                revision,
                keys,
                release: release.to_owned(),
            })
        };
        marked("@drilled|").and_then(read).ok_or_else(|| {
            let why = match complaint {
                "" => "the answer was cut off",
                complaint => complaint,
            };
            DrillRefused::Script(why.to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_back_is_taken_up() {
        let read = |output| DrillAnswer::read(output, "");
        let answer = |keys| DrillAnswer {
            revision: 7,
            keys,
            release: "3.5.30".to_owned(),
        };
        let counted = "motd\n@etcdup\n@alive\n@alive\n@drilled|7|3|3.5.30\n";
        assert_eq!(read(counted), Ok(answer(Some(3))));
        let closed = "@etcdup\n@drilled|7|-|3.5.30\n";
        assert_eq!(read(closed), Ok(answer(None)));
        let why = "boom".to_owned();
        let name = "etcdutl".to_owned();
        let failed = "@etcdup\n@alive\n@failed|etcdutl|Ym9vbQo=\n";
        assert_eq!(read(failed), Err(DrillRefused::Program { name, why }));
        let refused = "@etcdup\n@refused|bm8K\n";
        assert_eq!(read(refused), Err(DrillRefused::Script("no".to_owned())));
        for cut in [
            "",
            "@etcdup\n@alive\n",
            "@drilled|7|1",
            "@drilled|x|1|3.5.30\n",
        ] {
            let why = "the answer was cut off".to_owned();
            assert_eq!(read(cut), Err(DrillRefused::Script(why)), "{cut}");
        }
        let why = "sh: not found".to_owned();
        let broken = DrillAnswer::read("", "sh: not found");
        assert_eq!(broken, Err(DrillRefused::Script(why)));
    }

    #[test]
    fn a_path_that_no_line_holds_is_refused() {
        let here = |place, snapshot| DrillPlace::Here { place, snapshot }.line(1025);
        assert_eq!(here("/a b", "/c"), Some("/a b|/c|2\n".to_owned()));
        assert_eq!(here("/a|b", "/c"), None);
        assert_eq!(here("/a", "/c\n"), None);
        assert_eq!(DrillPlace::Sent.line(0), Some("-|-|0\n".to_owned()));
    }
}
