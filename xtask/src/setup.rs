//! What the tests need: packages, etcd's binaries, a release mirror, the hosts' root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::outcome::Outcome;

/// Commands of the testbed and the Debian packages that bring them.
const NEEDS: &[(&str, &str)] = &[
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("shellcheck", "shellcheck"),
    ("busybox", "busybox"),
    ("openssl", "openssl"),
    ("cfssl", "golang-cfssl"),
    ("setsid", "util-linux"),
    ("python3", "python3"),
    ("chromium", "chromium"),
    ("dnsmasq", "dnsmasq-base"),
    ("strace", "strace"),
    ("curl", "curl"),
    ("age", "age"),
];

/// What cargo builds for tests. The program that builds it is not among it: it runs.
pub(crate) const TESTED: [&str; 3] = ["--workspace", "--exclude", "xtask"];

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Where the sources of the server's page are, and what is built of them.
pub(crate) fn page() -> PathBuf {
    root().join("crates/http-api/dashboard")
}

/// The directory that holds what was fetched and built.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("TESTBED_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/etcdup-testbed"), PathBuf::from)
}

/// Runs a command, its output shown.
pub(crate) fn carry_out(command: &mut Command) -> Outcome {
    let shown = format!("{command:?}");
    let status = command
        .status()
        .map_err(|error| format!("{shown}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{shown} ended with {status}"))
    }
}

/// A command of the testbed's scripts.
pub(crate) fn testbed(script: &str) -> Command {
    let mut command = Command::new("bash");
    command
        .arg(root().join("xtask/testbed").join(script))
        .stdin(Stdio::null());
    command
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout == b"0\n")
}

/// Installs packages that are missing.
pub(crate) fn packages() -> Outcome {
    if !is_root() {
        return Err("the tests boot real hosts, which needs root; run this as root".to_owned());
    }
    let there = |program: &str| {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .stdout(Stdio::null())
            .status();
        found.is_ok_and(|status| status.success())
    };
    let mut missing: Vec<&str> = NEEDS
        .iter()
        .filter(|(program, _)| !there(program))
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

/// Installs these packages.
pub(crate) fn install(packages: &[&str]) -> Outcome {
    eprintln!("installing {}", packages.join(" "));
    carry_out(Command::new("apt-get").args(["-qq", "update"]))?;
    carry_out(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-qq", "install", "-y", "--no-install-recommends"])
            .args(packages)
            .stdout(Stdio::null()),
    )
}

/// Installs a package of Python's in a place of its own, once, and says where.
pub(crate) fn python(name: &str, package: &str) -> Result<PathBuf, String> {
    let place = cache().join(name);
    let marker = place.join("installed");
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == package) {
        return Ok(place);
    }
    let venv = Command::new("python3")
        .args(["-c", "import ensurepip"])
        .stderr(Stdio::null())
        .status();
    if !venv.is_ok_and(|status| status.success()) {
        install(&["python3-venv"])?;
    }
    eprintln!("fetching {package}");
    carry_out(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&place),
    )?;
    carry_out(Command::new(place.join("bin/pip")).args(["install", "--quiet", package]))?;
    std::fs::write(&marker, package).map_err(|error| format!("{}: {error}", marker.display()))?;
    Ok(place)
}

/// What must be free for hosts and what is fetched, in GiB: without it each scenario fails in a way
/// of its own.
const ROOM: u64 = 4;

/// Whether the disks have room, of the hosts and of what is fetched.
fn room() -> Outcome {
    for place in [Path::new("/var/tmp"), Path::new("/var/cache")] {
        let output = Command::new("df")
            .args(["--output=avail", "-B1G"])
            .arg(place)
            .output();
        let output = output.map_err(|error| format!("df: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let free = text
            .lines()
            .last()
            .and_then(|line| line.trim().parse::<u64>().ok());
        if let Some(free) = free.filter(|free| *free < ROOM) {
            return Err(format!(
                "{free} GiB are free for {}, and {ROOM} are needed for the hosts and their members: free that disk",
                place.display()
            ));
        }
    }
    Ok(())
}

/// Everything.
pub(crate) fn fixtures() -> Outcome {
    room()?;
    packages()?;
    carry_out(testbed("fixtures.sh").stdout(Stdio::null()))?;
    carry_out(testbed("root.sh").stdout(Stdio::null()))
}

/// The versions of etcd at hand, lowest first.
pub(crate) fn versions() -> Result<Vec<String>, String> {
    let path = cache().join("etcd/versions");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{}: {error}; run cargo xtask fixtures", path.display()))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .map(str::to_owned)
        .collect())
}

/// A further release of etcd: `vX.Y.Z/{etcd,etcdctl,etcdutl}` below `ETCDUP_RELEASES`.
pub(crate) struct Release {
    /// Its version.
    pub(crate) version: String,
    /// The directory of its programs.
    pub(crate) directory: PathBuf,
}

/// The releases in `ETCDUP_RELEASES`, lowest first; none where it is not set.
pub(crate) fn releases() -> Vec<Release> {
    let Some(place) = std::env::var_os("ETCDUP_RELEASES") else {
        return Vec::new();
    };
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let mut found: Vec<Release> = entries
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.strip_prefix('v')?.to_owned();
            let directory = entry.path();
            directory
                .join("etcd")
                .exists()
                .then_some(Release { version, directory })
        })
        .collect();
    let numbers = |release: &Release| -> Vec<u64> {
        let parts = release.version.split('.');
        parts.filter_map(|part| part.parse().ok()).collect()
    };
    found.sort_by_key(numbers);
    found
}

/// The newest version of a minor.
pub(crate) fn newest_of(minor: &str) -> Result<String, String> {
    let versions = versions()?;
    let of_minor = versions.iter().rfind(|version| version.starts_with(minor));
    of_minor
        .cloned()
        .ok_or_else(|| format!("no etcd {minor}x at hand, only {}", versions.join(", ")))
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Builds the binary and all examples as tests use them, and says where the binary is. At once with
/// what `cargo test` builds, for a package that is built alone gets other features of what it uses,
/// and all of the workspace was built once more for each.
pub(crate) fn built_for_tests() -> Result<PathBuf, String> {
    let mut command = Command::new("cargo");
    command.current_dir(root()).arg("build");
    command.args(TESTED).args(["--bins", "--examples"]);
    if page().join("dist/app.js.gz").is_file() {
        command.args(["--features", "etcdup/dashboard"]);
    }
    carry_out(&mut command)?;
    Ok(target().join("debug/etcdup"))
}

/// Builds the binary for use and says where it is.
pub(crate) fn binary(release: bool) -> Result<PathBuf, String> {
    let mut command = Command::new("cargo");
    command
        .current_dir(root())
        // Not quietly: a first build takes minutes, and whoever waits wants to see that it goes on.
        .args(["build", "--package", "etcdup"]);
    if page().join("dist/app.js.gz").is_file() {
        command.args(["--features", "dashboard"]);
    }
    if release {
        command.arg("--release");
    }
    carry_out(&mut command)?;
    let profile = if release { "release" } else { "debug" };
    Ok(target().join(profile).join("etcdup"))
}

/// Builds an example as tests use it and says where it is.
pub(crate) fn example(name: &str) -> Result<PathBuf, String> {
    built_for_tests()?;
    Ok(target().join("debug/examples").join(name))
}

/// Builds an example of a crate as it is measured and says where it is.
pub(crate) fn measured_example(package: &str, name: &str) -> Result<PathBuf, String> {
    let mut command = Command::new("cargo");
    command.current_dir(root());
    command.args(["build", "--quiet", "--release", "--package", package]);
    carry_out(command.args(["--example", name]))?;
    Ok(target().join("release/examples").join(name))
}

/// The version of etcd that `etcdup init` writes.
pub(crate) fn suggested() -> &'static str {
    // Read from the source: see the manifest for why this program links none of the crates.
    let source = include_str!("../../crates/core/src/version.rs");
    let after = source.split_once("SUGGESTED: &str = \"");
    after
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("", |(version, _)| version)
}

/// The checksum of a release in the test mirror, as `[binaries.release]` takes it: over plain HTTP
/// it must be given.
pub(crate) fn release_sum(version: &str) -> Result<String, String> {
    let directory = cache().join("etcd/mirror").join(format!("v{version}"));
    let path = directory.join("SHA256SUMS");
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let line = text.lines().find(|line| line.contains("linux-amd64"));
    let sum = line.and_then(|line| line.split_whitespace().next());
    let sum = sum.ok_or_else(|| format!("{} has no line for linux-amd64", path.display()))?;
    Ok(format!("sha256 = {{ amd64 = \"{sum}\" }}"))
}
