//! `cargo xtask demo`: a three-member TLS cluster on this machine, without root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::outcome::Outcome;
use crate::setup::{binary, carry_out, root, suggested};

const ENDPOINTS: &str = "https://127.0.0.1:12379,https://127.0.0.1:22379,https://127.0.0.1:32379";

pub(crate) fn run(stop: bool) -> Outcome {
    let directory = root().join("target/demo");
    let etcdup = binary(false)?;
    if stop {
        carry_out(Command::new(&etcdup).current_dir(&directory).args([
            "reset",
            "--yes",
            "--wipe",
            "--confirm",
            "demo",
        ]))?;
        return std::fs::remove_dir_all(&directory)
            .map_err(|error| format!("{}: {error}", directory.display()));
    }
    std::fs::create_dir_all(&directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    if !directory.join("etcdup.toml").exists() {
        let binaries = binaries(&directory)?;
        std::fs::write(
            directory.join("etcdup.toml"),
            topology(&directory, &binaries),
        )
        .map_err(|error| error.to_string())?;
    }
    carry_out(
        Command::new(&etcdup)
            .current_dir(&directory)
            .args(["apply", "--yes"]),
    )?;
    carry_out(Command::new(&etcdup).current_dir(&directory).arg("verify"))?;
    if !directory.join("demo.crt").exists() {
        carry_out(
            Command::new(&etcdup)
                .current_dir(&directory)
                .args(["pki", "issue", "demo", "--out", "."])
                .stdout(Stdio::null()),
        )?;
    }
    let at = directory.display();
    println!("\nThe cluster is in {at}. Use it:");
    println!("  cd {at}");
    println!("  export ETCDCTL_ENDPOINTS={ENDPOINTS}");
    println!("  export ETCDCTL_CACERT=pki/demo/ca.crt ETCDCTL_CERT=demo.crt ETCDCTL_KEY=demo.key");
    println!("  run/bin/etcdctl put hello world");
    println!(
        "Change etcdup.toml and run {} apply there. Stop it: cargo xtask demo --stop",
        etcdup.display()
    );
    Ok(())
}

struct Binaries {
    version: String,
    source: String,
}

/// Upstream's release where it can be reached, else Debian's packages.
fn binaries(directory: &Path) -> Result<Binaries, String> {
    let version = suggested();
    let url = format!("https://github.com/etcd-io/etcd/releases/download/v{version}/SHA256SUMS");
    let reached = Command::new("curl")
        .args([
            "--silent",
            "--fail",
            "--location",
            "--max-time",
            "10",
            "--output",
            "/dev/null",
            &url,
        ])
        .status();
    // Where there is no curl, etcdup itself says what it cannot reach.
    if reached.map_or(true, |status| status.success()) {
        return Ok(Binaries {
            version: version.to_owned(),
            source: "{ release = {} }".to_owned(),
        });
    }
    eprintln!("upstream's release cannot be reached; taking Debian's packages");
    let packages = directory.join("debian");
    std::fs::create_dir_all(&packages).map_err(|error| error.to_string())?;
    let download = || {
        let mut command = Command::new("apt-get");
        command
            .current_dir(&packages)
            .args(["-qq", "download", "etcd-server", "etcd-client"])
            .stdout(Stdio::null());
        carry_out(&mut command)
    };
    if download().is_err() {
        carry_out(Command::new("apt-get").args(["-qq", "update"]))?;
        download()?;
    }
    carry_out(
        Command::new("sh")
            .current_dir(&packages)
            .args(["-c", "for deb in *.deb; do dpkg-deb -x \"$deb\" .; done"]),
    )?;
    let etcd: PathBuf = packages.join("usr/bin/etcd");
    let output = Command::new(&etcd)
        .arg("--version")
        .output()
        .map_err(|error| format!("{}: {error}", etcd.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("etcd Version: "))
        .ok_or("etcd does not say its version")?;
    Ok(Binaries {
        version: version.trim().to_owned(),
        source: "{ directory = { path = \"debian/usr/bin\" } }".to_owned(),
    })
}

fn topology(directory: &Path, binaries: &Binaries) -> String {
    let members: String = (1..=3)
        .map(|n| format!("\n[[member]]\nname = \"m{n}\"\nhost = \"local\"\nclient-port = {n}2379\npeer-port = {n}2380\n"))
        .collect();
    format!(
        "# Made by `cargo xtask demo`: three members on this machine, as detached processes of yours.\n\
         format = 1\ncluster = \"demo\"\netcd = \"{}\"\nruntime = \"process\"\nbinaries = {}\n\n\
         [ssh]\nsudo = \"never\"\n\n[layout]\nroot = \"{}\"\n{members}",
        binaries.version,
        binaries.source,
        directory.join("run").display(),
    )
}
