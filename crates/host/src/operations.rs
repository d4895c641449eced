//! Steps as the stage script reads them: a line for each operation, and the files that travel with
//! them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use etcdup_core::digest::sha256;
use etcdup_core::path::{HostPath, Owner};
use etcdup_core::recover::ForcedMember;
use etcdup_core::restore::RestoredMember;
use etcdup_core::stage::{Artifact, Content, Held, HostStep, Noted};
use zeroize::Zeroizing;

/// Where the bytes of a file come from.
pub enum Body {
    /// These bytes.
    Bytes(Zeroizing<Vec<u8>>),
    /// A file on the operator's machine, streamed and never held in memory.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its size, in bytes.
        size: u64,
        /// Its SHA-256, in hex.
        sha256: String,
    },
}

/// What a step needs that a plan cannot hold: bytes, secrets, files of the operator's.
pub enum Supply {
    /// Nothing: the step says it all.
    Nothing,
    /// The content of a file.
    Content(Zeroizing<Vec<u8>>),
    /// An archive: a release, or a container image.
    Archive(Body),
    /// Single binaries by name.
    Binaries(Vec<(String, Body)>),
    /// A release that the host downloads itself.
    Download {
        /// Where from.
        url: String,
        /// Its SHA-256, in hex.
        sha256: String,
    },
}

/// A step came with a supply that it has no use for, or without the one that it needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a step for {0} came without what it needs")]
pub struct WrongSupply(String);

/// What an operation leaves on a host to be known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The operation's ID, which marks data directories.
    pub operation: String,
    /// When, such as `20260131T120000Z`: part of the names of what is moved aside.
    pub time: String,
}

/// When a stage script looks at its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// At its end, however it ended.
    Always,
    /// Only where it failed: what comes of it is looked at once it has come.
    OnFailure,
}

/// A stage for one host, being put together.
#[derive(Default)]
pub struct StageInput {
    operations: Vec<String>,
    titles: Vec<String>,
    files: Vec<(String, Body)>,
    uncommitted: bool,
    written: BTreeMap<HostPath, String>,
    removed: Vec<HostPath>,
    snapshot: Option<String>,
}

fn owner(owner: Option<&Owner>) -> String {
    owner.map_or_else(|| "-".to_owned(), ToString::to_string)
}

impl StageInput {
    /// Adds a step.
    ///
    /// # Errors
    /// When `supply` is not what the step needs.
    pub fn add(
        &mut self,
        step: &HostStep,
        supply: Supply,
        stamp: &Stamp,
    ) -> Result<(), WrongSupply> {
        // Files that follow one another are put in place together, and before anything else acts on
        // them.
        if !matches!(step, HostStep::File(_) | HostStep::Pod(_)) {
            self.commit();
        }
        match step {
            HostStep::File(artifact) | HostStep::Pod(artifact) => {
                self.artifact(artifact, supply)?;
            }
            HostStep::Binaries {
                directory,
                links,
                version,
                ..
            } => {
                self.release(directory, &version.to_string(), supply)?;
                if let Some(links) = links {
                    self.links(directory, links);
                }
            }
            HostStep::LoadImage { image, .. } => self.image(image, supply)?,
            // It is kept in the host record, which ends every stage.
            HostStep::NoteFailed { .. }
            | HostStep::Roster(_)
            | HostStep::Place(_)
            | HostStep::ForgetMember(_)
            | HostStep::NoteRestore(_)
            | HostStep::NoteRecover(_)
            | HostStep::Forget => {}
            HostStep::Note(noted) => self.mark(noted, &stamp.operation),
            HostStep::User { name, home } => {
                self.operation(format!("make user {name}"), &format!("user|{name}|{home}"));
            }
            HostStep::Directory {
                path,
                mode,
                owner: of,
            } => {
                let owner = owner(of.as_ref());
                self.operation(
                    format!("make {path}"),
                    &format!("dir|{mode}|{owner}|{path}"),
                );
            }
            HostStep::TimeSync => self.operation("set up time synchronization", "time_sync"),
            HostStep::Reload => self.operation("systemctl daemon-reload", "reload"),
            HostStep::Enable(unit) => {
                self.operation(format!("enable {unit}"), &format!("enable|{unit}"));
            }
            HostStep::Restart(unit) => {
                self.operation(format!("restart {unit}"), &format!("restart|{unit}"));
            }
            HostStep::Disable(unit) => {
                self.operation(format!("stop {unit}"), &format!("disable|{unit}"));
            }
            HostStep::Spawn {
                member,
                start_file,
                pid_file,
                log_file,
                data,
            } => {
                self.operation(
                    format!("start {member}"),
                    &format!("spawn|{start_file}|{pid_file}|{log_file}|{data}"),
                );
            }
            HostStep::StopProcess { pid_file, data } => {
                self.operation("stop etcd", &format!("kill|{pid_file}|{data}"));
            }
            HostStep::Links { directory, links } => self.links(directory, links),
            HostStep::CheckRoom { held, from, to } => {
                let verb = match held {
                    Held::Data => "room",
                    Held::Log => "room_log",
                };
                self.operation(
                    format!("look for room in {to}"),
                    &format!("{verb}|{from}|{to}"),
                );
            }
            HostStep::MoveData {
                held,
                from,
                to,
                owner: of,
            } => {
                let owner = owner(of.as_ref());
                let (what, verb) = match held {
                    Held::Data => ("data", "move"),
                    Held::Log => ("log", "move_log"),
                };
                let title = match from == to {
                    true => format!("give {to} to {owner}"),
                    false => format!("move the {what} in {from} to {to}"),
                };
                let fields = format!("{verb}|{from}|{to}|{owner}|{}", stamp.time);
                self.operation(title, &fields);
            }
            HostStep::Restore(restored) => self.restore(restored, supply)?,
            HostStep::CheckForce(forced) => {
                let title = format!("look for room beside {}", forced.data);
                self.force_new(forced, "can_force", title, &stamp.time);
            }
            HostStep::ForceNew(forced) => {
                let title = format!("make {} the only member in {}", forced.member, forced.data);
                self.force_new(forced, "force_new", title, &stamp.time);
            }
            HostStep::MoveAside { path } => {
                self.operation(
                    format!("move {path} to {path}.kept-{}", stamp.time),
                    &format!("keep|{path}|{path}.kept-{}", stamp.time),
                );
            }
            HostStep::Remove(path) => {
                self.removed.push(path.clone());
                self.operation(format!("delete {path}"), &format!("remove|{path}"));
            }
            HostStep::BouncePod {
                manifest,
                data,
                ended,
            } => self.operation(
                format!("recreate the pod of {manifest}"),
                &format!(
                    "bounce_pod|{manifest}|{data}|{}",
                    if *ended { "ended" } else { "runs" }
                ),
            ),
            HostStep::StopPod { manifest, data } => {
                self.removed.push(manifest.clone());
                self.operation(
                    format!("remove {manifest} and wait for its etcd to exit"),
                    &format!("stop_pod|{manifest}|{data}"),
                );
            }
        }
        Ok(())
    }

    /// Adds the host record, which is written with the stage's last files where only starts and
    /// reloads come after them, else at the end: what it says of data must be true before.
    pub fn record(&mut self, path: &HostPath, text: String) {
        let commit = self.operations.iter().rposition(|line| line == "commit");
        let harmless = |line: &String| {
            let verb = line.split('|').next().unwrap_or_default();
            ["reload", "enable", "restart", "spawn"].contains(&verb)
        };
        let place = commit.filter(|place| self.operations[place + 1..].iter().all(harmless));
        let after = place.map(|place| {
            let titles = self.titles.split_off(place);
            (self.operations.split_off(place), titles)
        });
        self.file(path, "600", None, Zeroizing::new(text.into_bytes()));
        if let Some((operations, titles)) = after {
            self.uncommitted = false;
            self.operations.extend(operations);
            self.titles.extend(titles);
        }
    }

    /// Digests of the files that the stage writes.
    #[must_use]
    pub fn written(&self) -> &BTreeMap<HostPath, String> {
        &self.written
    }

    /// Files that the stage deletes.
    #[must_use]
    pub fn removed(&self) -> &[HostPath] {
        &self.removed
    }

    /// What each operation is, in order.
    #[must_use]
    pub fn titles(&self) -> &[String] {
        &self.titles
    }

    /// The size of the whole as a tar, in bytes, roughly: for progress.
    #[must_use]
    pub fn size(&self) -> u64 {
        let body = |body: &Body| match body {
            Body::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(0),
            Body::File { size, .. } => *size,
        };
        self.files
            .iter()
            .map(|(_, file)| body(file).next_multiple_of(512) + 512)
            .sum::<u64>()
            + 8192
    }

    /// Closes the list of operations and returns the entries of the tar, in the order in which the
    /// script wants them. The checksums come first: what does not agree with them is never looked
    /// at.
    #[must_use]
    pub fn into_entries(mut self, queries: &str, look: Look) -> Vec<(String, Body)> {
        self.commit();
        let lines = self.operations.iter().enumerate();
        let mut operations: String = lines
            .map(|(number, fields)| format!("{number}|{fields}\n"))
            .collect();
        operations.push_str("end\n");
        let text = |text: &str| Body::Bytes(Zeroizing::new(text.as_bytes().to_vec()));
        let mut entries = vec![
            ("ops".to_owned(), text(&operations)),
            ("queries".to_owned(), text(queries)),
        ];
        if look == Look::OnFailure {
            entries.push(("later".to_owned(), text("")));
        }
        entries.extend(self.files);
        let sum = |(name, body): &(String, Body)| match body {
            Body::Bytes(bytes) => format!("{}  {name}\n", sha256(bytes)),
            Body::File { sha256, .. } => format!("{sha256}  {name}\n"),
        };
        let sums = entries.iter().map(sum).collect::<String>() + "end\n";
        entries.insert(0, ("sums".to_owned(), text(&sums)));
        entries
    }

    fn operation(&mut self, title: impl Into<String>, fields: &str) {
        self.operations.push(fields.to_owned());
        self.titles.push(title.into());
    }

    fn payload(&mut self, body: Body) -> String {
        let name = format!("f/{}", self.files.len());
        self.files.push((name.clone(), body));
        name
    }

    /// A payload under its target's name, in a directory of its own: the script copies several at
    /// once.
    fn named_payload(&mut self, path: &HostPath, body: Body) -> String {
        let name = format!("f/{}/{}", self.files.len(), path.file_name());
        self.files.push((name.clone(), body));
        name
    }

    /// Files that wait under their dot names get their own, together.
    fn commit(&mut self) {
        if std::mem::take(&mut self.uncommitted) {
            self.operation("put files in place", "commit");
        }
    }

    fn artifact(&mut self, artifact: &Artifact, supply: Supply) -> Result<(), WrongSupply> {
        let (path, mode) = (&artifact.path, artifact.mode.to_string());
        match (&artifact.content, supply) {
            (Content::OnHost(source), Supply::Nothing) => {
                let owner = owner(artifact.owner.as_ref());
                self.operation(
                    format!("copy {source} to {path}"),
                    &format!("file|{source}|{mode}|{owner}|{path}"),
                );
                self.uncommitted = true;
            }
            (
                Content::Text(_) | Content::Ca | Content::Issued { .. } | Content::Provided(_),
                Supply::Content(bytes),
            ) => self.file(path, &mode, artifact.owner.as_ref(), bytes),
            _ => return Err(WrongSupply(path.to_string())),
        }
        Ok(())
    }

    fn file(&mut self, path: &HostPath, mode: &str, of: Option<&Owner>, bytes: Zeroizing<Vec<u8>>) {
        self.written.insert(path.clone(), sha256(&bytes));
        let payload = self.named_payload(path, Body::Bytes(bytes));
        let owner = owner(of);
        self.operation(
            format!("write {path}"),
            &format!("file|{payload}|{mode}|{owner}|{path}"),
        );
        self.uncommitted = true;
    }

    fn release(
        &mut self,
        directory: &HostPath,
        version: &str,
        supply: Supply,
    ) -> Result<(), WrongSupply> {
        match supply {
            Supply::Archive(body) => {
                let payload = self.payload(body);
                self.operation(
                    format!("unpack etcd {version}"),
                    &format!("binaries|{payload}|{directory}|{version}"),
                );
            }
            Supply::Binaries(bodies) => {
                for (name, body) in bodies {
                    let payload = self.payload(body);
                    self.operation(
                        format!("write {name}"),
                        &format!("binary_file|{payload}|{directory}|{name}"),
                    );
                }
                self.operation(
                    format!("install etcd {version}"),
                    &format!("binaries_done|{directory}|{version}"),
                );
            }
            Supply::Download { url, sha256 } => self.operation(
                format!("download {url}"),
                &format!("fetch|{url}|{sha256}|{directory}|{version}"),
            ),
            Supply::Nothing | Supply::Content(_) => {
                return Err(WrongSupply(format!("etcd {version}")));
            }
        }
        Ok(())
    }

    fn image(&mut self, image: &str, supply: Supply) -> Result<(), WrongSupply> {
        let Supply::Archive(body) = supply else {
            return Err(WrongSupply(image.to_owned()));
        };
        let payload = self.payload(body);
        self.operation(
            format!("load the image {image}"),
            &format!("image|{payload}"),
        );
        Ok(())
    }

    fn restore(&mut self, restored: &RestoredMember, supply: Supply) -> Result<(), WrongSupply> {
        let RestoredMember { member, data, .. } = restored;
        let Supply::Archive(body) = supply else {
            return Err(WrongSupply(format!("the snapshot for {member}")));
        };
        // Members of one host get the same one.
        let known = self.snapshot.clone();
        let payload = known.unwrap_or_else(|| self.payload(body));
        self.snapshot = Some(payload.clone());
        let log = restored.log.as_ref().map_or("-", HostPath::as_str);
        let RestoredMember {
            tools,
            token,
            peer_url,
            initial_cluster,
            bump,
            ..
        } = restored;
        let owner = owner(restored.owner.as_ref());
        self.operation(
            format!("restore {member} in {data}"),
            &format!(
                "restore|{payload}|{tools}|{data}|{log}|{owner}|{member}|{token}|{peer_url}|{initial_cluster}|{bump}"
            ),
        );
        Ok(())
    }

    fn force_new(&mut self, forced: &ForcedMember, verb: &str, title: String, time: &str) {
        let ForcedMember {
            name,
            data,
            binaries,
            ..
        } = forced;
        let log = forced.log.as_ref().map_or("-", HostPath::as_str);
        let owner = owner(forced.owner.as_ref());
        let fields = format!("{verb}|{data}|{binaries}|{time}|{log}|{owner}|{name}");
        self.operation(title, &fields);
    }

    fn links(&mut self, directory: &HostPath, links: &HostPath) {
        self.operation(
            format!("link {links}/etcd"),
            &format!("links|{directory}|{links}"),
        );
    }

    /// Marks a member's data directory. A mark that is there stays, since a mark and a record that
    /// are not written together must not make a healthy member look like a lost one.
    fn mark(&mut self, noted: &Noted, mark: &str) {
        if noted.mark.is_some() {
            return;
        }
        let log = noted.log.as_ref();
        let log = log.map(|log| format!("|{log}")).unwrap_or_default();
        self.operation(
            format!("record {}", noted.member),
            &format!("mark|{}|{mark}{log}", noted.data),
        );
    }
}

#[cfg(test)]
mod tests {
    use etcdup_core::path::Mode;

    use super::*;

    fn file(path: &str) -> HostStep {
        HostStep::File(Artifact {
            path: path.parse().unwrap(),
            mode: Mode::PUBLIC,
            owner: None,
            content: Content::Text("x".into()),
        })
    }

    fn content() -> Supply {
        Supply::Content(Zeroizing::new(b"x".to_vec()))
    }

    fn stamp() -> Stamp {
        Stamp {
            operation: "op".to_owned(),
            time: "20260131T120000Z".to_owned(),
        }
    }

    #[test]
    fn files_are_in_place_together_before_anything_acts_on_them() {
        let mut input = StageInput::default();
        input.add(&file("/etc/a"), content(), &stamp()).unwrap();
        input.add(&file("/etc/b"), content(), &stamp()).unwrap();
        let restart = HostStep::Restart("etcd.service".to_owned());
        input.add(&restart, Supply::Nothing, &stamp()).unwrap();
        let entries = input.into_entries("end\n", Look::Always);
        let names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["sums", "ops", "queries", "f/0/a", "f/1/b"]);
        let Body::Bytes(operations) = &entries[1].1 else {
            panic!("operations are text");
        };
        assert_eq!(
            String::from_utf8_lossy(operations),
            "0|file|f/0/a|644|-|/etc/a\n1|file|f/1/b|644|-|/etc/b\n2|commit\n3|restart|etcd.service\nend\n"
        );
    }

    #[test]
    fn a_step_without_what_it_needs_is_refused() {
        let mut input = StageInput::default();
        let wrong = input.add(&file("/etc/a"), Supply::Nothing, &stamp());
        assert_eq!(wrong, Err(WrongSupply("/etc/a".to_owned())));
    }
}
