//! A systemd timer on the operator's machine.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use etcdup_core::file::Every;

/// What the timer is for.
pub(crate) struct Units<'a> {
    /// The cluster's name.
    pub(crate) cluster: &'a str,
    /// This program.
    pub(crate) program: &'a Path,
    /// The topology file.
    pub(crate) file: &'a Path,
    /// How often.
    pub(crate) every: Every,
}

impl Units<'_> {
    fn name(&self, kind: &str) -> String {
        format!("etcdup-snapshot-{}.{kind}", self.cluster)
    }

    /// Every unit, with its name.
    pub(crate) fn all(&self) -> [(String, String); 2] {
        let run = |arguments: &str| {
            // `$` stands for a variable in arguments alone.
            let (program, file) = (quoted(self.program), quoted(self.file).replace('$', "$$"));
            format!("ExecStart={program} --file {file} snapshot {arguments}")
        };
        let directory = self.file.parent().unwrap_or(Path::new("/"));
        let service = format!(
            "[Unit]\n\
             Description=Snapshot of etcd cluster {}\n\
             Wants=network-online.target\n\
             After=network-online.target\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             TimeoutStartSec=infinity\n\
             UMask=0077\n\
             Environment=HOME=%h\n\
             WorkingDirectory={}\n\
             {}\n\
             {}\n",
            self.cluster,
            // systemd takes this value as it is: no quoting, only `%`.
            directory.display().to_string().replace('%', "%%"),
            run("save"),
            run("prune --yes")
        );
        let minutes = self.every.duration().as_mins();
        // Those of several clusters do not begin in the same instant.
        let delay = (minutes * 60 / 20).min(300);
        let timer = format!(
            "[Unit]\n\
             Description=Snapshots of etcd cluster {}\n\
             \n\
             [Timer]\n\
             OnActiveSec=1min\n\
             OnUnitActiveSec={minutes}min\n\
             RandomizedDelaySec={delay}s\n\
             \n\
             [Install]\n\
             WantedBy=timers.target\n",
            self.cluster
        );
        [(self.name("service"), service), (self.name("timer"), timer)]
    }

    /// Writes them, and starts the timer; where it is.
    pub(crate) fn install(&self) -> Result<PathBuf, String> {
        let (directory, own) = place()?;
        // Before anything is written, where there is no systemd or none of this user's.
        systemctl(own, &["list-timers"])?;
        std::fs::create_dir_all(&directory)
            .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
        for (name, text) in self.all() {
            let path = directory.join(name);
            let there = std::fs::read_to_string(&path).unwrap_or_default();
            let of = |text: &str| {
                text.lines()
                    .find(|line| line.starts_with("WorkingDirectory="))
                    .map(str::to_owned)
            };
            if let Some(other) = of(&there).filter(|other| Some(other) != of(&text).as_ref()) {
                return Err(format!(
                    "{} is of another file of a cluster of this name ({other}): delete it first",
                    path.display()
                ));
            }
            std::fs::write(&path, text)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
        let timer = self.name("timer");
        systemctl(own, &["daemon-reload"])?;
        systemctl(own, &["enable", "--now", &timer])?;
        Ok(directory.join(timer))
    }
}

fn systemctl(own: bool, arguments: &[&str]) -> Result<(), String> {
    let mut all = if own { vec!["--user"] } else { Vec::new() };
    all.extend(arguments);
    let ran = Command::new("systemctl").args(&all).output();
    let ran = ran.map_err(|error| format!("cannot run systemctl: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    let what = all.join(" ");
    Err(format!("systemctl {what} failed: {}", said.trim()))
}

/// Whether this process is root's; where there is no /proc there is no systemd either.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}

/// Where units go, and whether they are a user's own.
fn place() -> Result<(PathBuf, bool), String> {
    if is_root() {
        return Ok((PathBuf::from("/etc/systemd/system"), false));
    }
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.filter(|path| path.is_absolute());
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".config"));
    let config = config.or_else(home).ok_or("HOME is not set")?;
    Ok((config.join("systemd/user"), true))
}

/// A path as systemd reads words of a command line (systemd.service(5)).
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_systemds_reading() {
        let units = Units {
            cluster: "prod",
            program: Path::new("/opt/my $tools/etcdup"),
            file: Path::new("/srv/100%/a$b/etcdup.toml"),
            every: "6h".parse().unwrap(),
        };
        let [(name, service), (_, timer)] = units.all();
        assert_eq!(name, "etcdup-snapshot-prod.service");
        let start = "ExecStart=\"/opt/my $tools/etcdup\" --file \"/srv/100%%/a$$b/etcdup.toml\" snapshot save\n";
        assert!(service.contains(start), "{service}");
        assert!(
            service.contains("WorkingDirectory=/srv/100%%/a$b\n"),
            "{service}"
        );
        assert!(timer.contains("OnUnitActiveSec=360min\n"), "{timer}");
    }
}
