//! The topology files of the directory: listed, read, and put there by who may.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use etcdup_core::digest::sha256;
use etcdup_core::file::Document;
use etcdup_core::finding::Verdict;
use etcdup_core::lint::lint;
use etcdup_core::name::ClusterName;
use etcdup_core::operation::OperationRecord;
use etcdup_core::plain::chain;
use etcdup_deploy::{DeployError, Store, read_sources, read_topology, topology_of};
use http::StatusCode;

use crate::problem::{
    AMBIGUOUS, NAME_DIFFERS, Place, PlacedFinding, Problem, STALE, TOPOLOGY_REFUSED, UNCONDITIONAL,
};

/// Endings of topology files.
const ENDINGS: [&str; 4] = ["toml", "yaml", "yml", "json"];
/// Members of a topology that is sent: each is compared with each, and etcd advises seven.
const MOST_MEMBERS: usize = 50;
/// What lies beside topologies and is none.
const SOURCES: &str = "sources";

/// What a change is made on the condition of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing is there.
    Absent,
    /// What is there has this tag.
    Tag(String),
}

/// The files.
pub(crate) struct Topologies {
    directory: PathBuf,
    store: Store,
    /// Held while a file is compared and written.
    changing: Mutex<()>,
}

/// The tag of a text: who edits the file by hand changes it.
pub(crate) fn tag_of(text: &str) -> String {
    format!("\"{}\"", sha256(text.as_bytes()))
}

impl Topologies {
    pub(crate) fn of(directory: PathBuf, store: Store) -> Self {
        Self {
            directory,
            store,
            changing: Mutex::default(),
        }
    }

    /// Where they lie.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Every file by its name without the ending, which is what the cluster is called here.
    pub(crate) fn list(&self) -> Result<Vec<(String, PathBuf)>, Problem> {
        let failed = |error: std::io::Error| {
            let why = format!("the directory of topologies cannot be read: {error}");
            Problem::internal(why)
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let ending = path.extension().and_then(|ending| ending.to_str());
            let known = ending.is_some_and(|ending| ENDINGS.contains(&ending));
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            // What is no cluster's name is no topology: plans and notes lie beside them.
            let is_name = |stem: &&str| stem.parse::<ClusterName>().is_ok() && *stem != SOURCES;
            if let (true, Some(name)) = (known, stem.filter(is_name)) {
                files.push((name.to_owned(), path.clone()));
            }
        }
        files.sort();
        Ok(files)
    }

    /// The file of this name.
    pub(crate) fn path(&self, name: &str) -> Result<PathBuf, Problem> {
        self.find(name)?.ok_or_else(|| unknown(name))
    }

    fn find(&self, name: &str) -> Result<Option<PathBuf>, Problem> {
        // A cluster's name is a file's name: checked by type, it cannot lead out of the directory.
        if name.parse::<ClusterName>().is_err() || name == SOURCES {
            return Err(unknown(name));
        }
        let files = self.list()?.into_iter();
        let mut named = files
            .filter(|(other, _)| other == name)
            .map(|(_, path)| path);
        let found = named.next();
        if named.next().is_some() {
            let why = format!("two files of this directory are called `{name}`");
            return Err(Problem::new(StatusCode::CONFLICT, &AMBIGUOUS, why));
        }
        Ok(found)
    }

    /// The text of this name's file.
    pub(crate) fn text(&self, name: &str) -> Result<String, Problem> {
        read(&self.path(name)?)
    }

    /// The topology of this name, ready to be carried out.
    pub(crate) fn open(&self, name: &str) -> Result<(Document, PathBuf), Problem> {
        let path = self.path(name)?;
        let text = read(&path)?;
        self.opened(name, path, text)
    }

    /// The topology that an operation was begun with, if its file is still as it was.
    pub(crate) fn recorded(
        &self,
        record: &OperationRecord,
    ) -> Result<(Document, PathBuf), Problem> {
        for (name, path) in self.list()? {
            let text = read(&path).unwrap_or_default();
            if Some(sha256(text.as_bytes())) != record.topology {
                continue;
            }
            let (document, path) = self.opened(&name, path, text)?;
            if document.spec.cluster == record.cluster {
                return Ok((document, path));
            }
        }
        let name = &record.cluster;
        Err(Problem::not_found(format!(
            "no file of cluster `{name}` is as it was when the operation was begun"
        )))
    }

    /// One that came from the network is checked again, before anything that it names is touched:
    /// what it may name can have changed.
    fn opened(
        &self,
        name: &str,
        path: PathBuf,
        text: String,
    ) -> Result<(Document, PathBuf), Problem> {
        if self.came()?.contains(&sha256(text.as_bytes())) {
            let sent = parse(name, &path, &text)?;
            let forbidden = read_sources(&self.directory)?.forbidden(&sent.spec);
            refuse(forbidden.into_iter().map(Into::into).collect())?;
        }
        Ok((topology_of(&path, text, &[])?, path))
    }

    /// What would be found about a topology of this name, without any host.
    pub(crate) fn check(&self, name: &str, text: &str) -> Result<Vec<PlacedFinding>, Problem> {
        let path = self.find(name)?.unwrap_or_else(|| self.new_path(name));
        let document = parse(name, &path, text)?;
        if document.spec.member.len() > MOST_MEMBERS {
            let why = format!("a topology sent over HTTP has at most {MOST_MEMBERS} members");
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return Err(Problem::new(status, &TOPOLOGY_REFUSED, why));
        }
        let sources = read_sources(&self.directory)?;
        let mut findings = sources.forbidden(&document.spec);
        let mut filled = document.spec.clone();
        if let Err(unknown) = sources.fill_in(&mut filled) {
            findings.extend(unknown);
        }
        findings.extend(lint(&filled));
        let placed = findings.into_iter().map(|finding| {
            let span = finding.at.as_ref().and_then(|at| document.find(at));
            let place = span.map(|span| Place::of(text, &span)).unwrap_or_default();
            PlacedFinding { finding, place }
        });
        Ok(placed.collect())
    }

    /// Writes a topology, whole or not at all. Returns whether it is new, and its tag.
    pub(crate) fn put(
        &self,
        name: &str,
        text: &str,
        condition: Option<&Condition>,
    ) -> Result<(bool, String), Problem> {
        let mut findings = self.check(name, text)?;
        findings.retain(|found| found.finding.verdict == Verdict::Error);
        refuse(findings)?;
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.find(name)?;
        self.meets(name, found.is_some(), condition)?;
        let path = found.clone().unwrap_or_else(|| self.new_path(name));
        self.only(name)?;
        // Noted before: a file whose origin was not noted would count as a person's. Whatever came
        // once stays noted, under whatever name it lies.
        let mut came = self.came()?;
        came.insert(sha256(text.as_bytes()));
        self.note(&came)
            .map_err(|error| Problem::unwritten(&error))?;
        write(&path, text.as_bytes()).map_err(|error| Problem::unwritten(&error))?;
        Ok((found.is_none(), tag_of(text)))
    }

    /// Deletes a topology. What was recorded of its operations stays, and so does the cluster.
    pub(crate) fn delete(&self, name: &str, condition: Option<&Condition>) -> Result<(), Problem> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(name)?;
        self.meets(name, true, condition)?;
        std::fs::remove_file(path).map_err(|error| Problem::unwritten(&error))
    }

    /// Whether a change may be made: who changes must have seen what is there.
    fn meets(
        &self,
        name: &str,
        is_there: bool,
        condition: Option<&Condition>,
    ) -> Result<(), Problem> {
        let stale = |why: String| Problem::new(StatusCode::PRECONDITION_FAILED, &STALE, why);
        match (condition, is_there) {
            (None, _) => {
                let why =
                    "a change needs `If-Match` with the tag that was read, or `If-None-Match: *`";
                let status = StatusCode::PRECONDITION_REQUIRED;
                Err(Problem::new(status, &UNCONDITIONAL, why))
            }
            (Some(Condition::Absent), false) => Ok(()),
            (Some(Condition::Absent), true) => Err(stale(format!("there is a topology `{name}`"))),
            (Some(Condition::Tag(_)), false) => {
                Err(stale(format!("there is no topology `{name}`")))
            }
            (Some(Condition::Tag(tag)), true) => {
                if tag_of(&self.text(name)?) == *tag {
                    Ok(())
                } else {
                    Err(stale(format!("topology `{name}` was changed meanwhile")))
                }
            }
        }
    }

    /// Whether no other file is of this cluster: they would share its CA and its records.
    fn only(&self, name: &str) -> Result<(), Problem> {
        for (other, path) in self.list()? {
            let document = read_topology(&path, &[]);
            let same = |document: Document| document.spec.cluster.as_str() == name;
            if other != name && document.is_ok_and(same) {
                let why = format!("`{other}` is of cluster `{name}` too");
                return Err(Problem::new(StatusCode::CONFLICT, &AMBIGUOUS, why));
            }
        }
        Ok(())
    }

    fn new_path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.toml"))
    }

    /// The digests of the topologies that came from the network. A file that a person edited since
    /// is that person's.
    ///
    /// # Errors
    /// When they cannot be read: then nobody knows whose a file is.
    fn came(&self) -> Result<BTreeSet<String>, Problem> {
        let failed = |why: String| Problem::internal(format!("{CAME} cannot be read: {why}"));
        let directory = self
            .store
            .prepare()
            .map_err(|error| failed(chain(&error)))?;
        match std::fs::read(directory.join(CAME)) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| failed(chain(&error))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(failed(chain(&error))),
        }
    }

    fn note(&self, came: &BTreeSet<String>) -> std::io::Result<()> {
        let unusable = |error| std::io::Error::other(chain(&error));
        let directory = self.store.prepare().map_err(unusable)?;
        write(&directory.join(CAME), &serde_json::to_vec_pretty(came)?)
    }
}

const CAME: &str = "from-network.json";

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("there is no cluster `{name}`"))
}

fn read(path: &Path) -> Result<String, Problem> {
    std::fs::read_to_string(path).map_err(|source| {
        let path = path.to_owned();
        Problem::from(DeployError::File { path, source })
    })
}

/// Reads a topology, whose cluster must be called as its file is.
fn parse(name: &str, path: &Path, text: &str) -> Result<Document, Problem> {
    let file = path.file_name().and_then(|file| file.to_str());
    let file = file.unwrap_or(name).to_owned();
    let document = Document::parse(&file, text, &[]).map_err(|error| DeployError::Parse {
        name: file,
        text: text.to_owned(),
        error,
    })?;
    if document.spec.cluster.as_str() != name {
        let why = format!(
            "the topology is of cluster `{}`, and the path says `{name}`",
            document.spec.cluster
        );
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            &NAME_DIFFERS,
            why,
        ));
    }
    Ok(document)
}

/// Refuses a topology of which anything was found.
pub(crate) fn refuse(findings: Vec<PlacedFinding>) -> Result<(), Problem> {
    if findings.is_empty() {
        return Ok(());
    }
    let why = match findings.len() {
        1 => "the topology has 1 error".to_owned(),
        errors => format!("the topology has {errors} errors"),
    };
    let mut problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, &TOPOLOGY_REFUSED, why);
    problem.document.findings = findings;
    Err(problem)
}

/// Written beside its name and renamed, so that nobody reads half of it.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
