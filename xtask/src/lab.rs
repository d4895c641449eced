//! A lab: real hosts in a network of their own, a directory for the operator, and etcdup's binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::running::Running;
use crate::setup::{cache, testbed};

/// Real hosts, taken down when dropped.
pub(crate) struct Lab {
    name: String,
    /// The testbed's directory: the SSH key and known_hosts.
    pub(crate) state: PathBuf,
    /// The operator's directory.
    pub(crate) work: tempfile::TempDir,
    etcdup: PathBuf,
    /// Where it goes instead of being taken down.
    pub(crate) kept: Option<Kept>,
}

/// Labs whose scenario has ended, until it is known whether they are to be looked at.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<(String, PathBuf)>>>);

impl Kept {
    /// Leaves the labs of a failed scenario up and says how to enter them; takes those of others
    /// down. Whether any is left.
    pub(crate) fn after(&self, failed: bool) -> bool {
        let Ok(mut labs) = self.0.lock() else {
            return false;
        };
        let all = std::mem::take(&mut *labs);
        for (name, work) in &all {
            if failed {
                eprintln!(
                    "     kept: nsenter --net=/run/netns/eu-{name} bash; the operator's files are in {}; \
                     take the hosts down with `bash xtask/testbed/hosts.sh down {name}`",
                    work.display()
                );
            } else {
                let _ = testbed("hosts.sh").args(["down", name]).output();
                let _ = std::fs::remove_dir_all(work);
            }
        }
        failed && !all.is_empty()
    }
}

/// How a failure begins that is the testbed's own.
pub(crate) const BED: &str = "the test hosts did not come up";

/// What a command left behind.
pub(crate) struct CommandOutput {
    /// Its exit status; -1 when a signal ended it.
    pub(crate) code: i32,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

impl CommandOutput {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails unless it ended so.
    pub(crate) fn exits(self, code: i32) -> Result<Self, String> {
        if self.code == code {
            Ok(self)
        } else {
            Err(format!(
                "exit {} instead of {code}\n{}",
                self.code,
                self.all()
            ))
        }
    }

    /// Fails unless its output holds this.
    pub(crate) fn says(self, text: &str) -> Result<Self, String> {
        if self.holds(text) {
            Ok(self)
        } else {
            Err(format!("`{text}` is not in\n{}", self.all()))
        }
    }

    /// Fails when its output holds this.
    pub(crate) fn never_says(self, text: &str) -> Result<Self, String> {
        if self.holds(text) {
            Err(format!("`{text}` is in\n{}", self.all()))
        } else {
            Ok(self)
        }
    }

    /// Both outputs.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// Whether the output holds this; what a frame wrapped counts as joined.
    fn holds(&self, text: &str) -> bool {
        let joined = self.all().replace("\n  │ ", " ");
        self.all().contains(text)
            || joined.contains(text)
            || joined.replace("- ", "-").contains(text)
    }
}

impl Lab {
    /// Boots hosts. `name` is 1 to 8 letters and digits.
    pub(crate) fn up(name: &str, count: u32, etcdup: &Path) -> Result<Self, String> {
        Self::boot(name, count, etcdup, &[])
    }

    /// Boots hosts that run static pods.
    pub(crate) fn with_pods(name: &str, count: u32, etcdup: &Path) -> Result<Self, String> {
        Self::boot(name, count, etcdup, &[("TESTBED_PODS", "1")])
    }

    /// Boots hosts that have Python, which etcdup never needs.
    pub(crate) fn with_python(name: &str, count: u32, etcdup: &Path) -> Result<Self, String> {
        Self::boot(name, count, etcdup, &[("TESTBED_PYTHON", "1")])
    }

    fn boot(
        name: &str,
        count: u32,
        etcdup: &Path,
        variables: &[(&str, &str)],
    ) -> Result<Self, String> {
        let owner = std::process::id().to_string();
        let up = || {
            let _ = testbed("hosts.sh").args(["down", name]).output();
            let output = testbed("hosts.sh")
                .envs(variables.iter().copied())
                .args(["up", name, &count.to_string(), &owner])
                .output()
                .map_err(|error| error.to_string())?;
            if output.status.success() {
                Ok(output)
            } else {
                Err(String::from_utf8_lossy(&output.stderr).into_owned())
            }
        };
        // On a loaded machine a host may take longer than anything else here waits for; once more
        // is enough.
        let output = up()
            .or_else(|why| {
                eprintln!("     {name}: the hosts did not come up, trying once more: {why}");
                up()
            })
            .map_err(|why| format!("{BED}: {why}"))?;
        let state = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let work = tempfile::tempdir().map_err(|error| error.to_string())?;
        Ok(Self {
            name: name.to_owned(),
            state,
            work,
            etcdup: etcdup.to_owned(),
            kept: None,
        })
    }

    /// Its name, as the testbed's scripts take it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The address of a host, counted from 1.
    pub(crate) fn address(index: u32) -> String {
        format!("10.77.0.{}", 10 + index)
    }

    /// Writes the topology: a head, the archive of `version`, the way in, and members m1.. on hosts
    /// 1...
    pub(crate) fn topology(&self, version: &str, head: &str, members: u32) -> Result<(), String> {
        let members: String = (1..=members)
            .map(|n| {
                format!(
                    "[[member]]\nname = \"m{n}\"\nhost = \"{}\"\n",
                    Self::address(n)
                )
            })
            .collect();
        self.write(
            "etcdup.toml",
            &format!("{}{head}\n{members}", self.head(version)),
        )
    }

    /// The head of a topology file: what every scenario needs.
    pub(crate) fn head(&self, version: &str) -> String {
        format!(
            "format = 1\ncluster = \"prod\"\netcd = \"{version}\"\n\
             ssh = {{ user = \"root\", key = \"{key}\", known-hosts = \"{known}\" }}\n\
             binaries = {{ archive = {{ path = \"{archive}\" }} }}\n",
            key = self.state.join("key").display(),
            known = self.state.join("known_hosts").display(),
            archive = archive(version).display(),
        )
    }

    /// Writes a file of the operator's.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.work.path().join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Reads a file of the operator's.
    pub(crate) fn read(&self, name: &str) -> Result<String, String> {
        std::fs::read_to_string(self.work.path().join(name))
            .map_err(|error| format!("{name}: {error}"))
    }

    /// Replaces a text in the topology file.
    pub(crate) fn edit(&self, from: &str, to: &str) -> Result<(), String> {
        let text = self.read("etcdup.toml")?;
        if !text.contains(from) {
            return Err(format!("the topology does not say `{from}`"));
        }
        self.write("etcdup.toml", &text.replace(from, to))
    }

    /// Replaces the line of the topology file that begins so.
    pub(crate) fn edit_line(&self, begins: &str, with: &str) -> Result<(), String> {
        let text = self.read("etcdup.toml")?;
        let line = text.lines().find(|line| line.starts_with(begins));
        let line = line.ok_or_else(|| format!("no line begins with {begins}"))?;
        self.edit(line, with)
    }

    /// A command in the lab's network and the operator's directory, with a clean environment.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/eu-{}", self.name))
            .arg("--")
            .arg(program)
            .args(arguments);
        command
            .current_dir(self.work.path())
            .env_clear()
            .stdin(Stdio::null());
        command
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", self.work.path());
        command
    }

    pub(crate) fn run(mut command: Command) -> Result<CommandOutput, String> {
        command
            .output()
            .map(|output| CommandOutput::of(&output))
            .map_err(|error| error.to_string())
    }

    /// Runs etcdup.
    pub(crate) fn etcdup(&self, arguments: &[&str]) -> Result<CommandOutput, String> {
        Self::run(self.command(&self.etcdup.to_string_lossy(), arguments))
    }

    /// Runs etcdup with a variable set.
    pub(crate) fn etcdup_with(
        &self,
        variable: (&str, &str),
        arguments: &[&str],
    ) -> Result<CommandOutput, String> {
        let mut command = self.command(&self.etcdup.to_string_lossy(), arguments);
        command.env(variable.0, variable.1);
        Self::run(command)
    }

    /// Starts etcdup and does not wait.
    pub(crate) fn start(&self, arguments: &[&str]) -> Result<Running, String> {
        Running::start(self.command(&self.etcdup.to_string_lossy(), arguments))
    }

    /// Starts `apply` and kills it after a while, whatever it is at. Whether that cut it short.
    pub(crate) fn apply_killed(&self, after: Duration) -> Result<bool, String> {
        let mut running = self.start(&["apply", "--yes"])?;
        thread::sleep(after);
        running.kill()
    }

    /// Runs a shell command on a host, not by SSH.
    pub(crate) fn on(&self, host: u32, script: &str) -> Result<CommandOutput, String> {
        let mut command = testbed("hosts.sh");
        command.args(["in", &self.name, &host.to_string(), "sh", "-c", script]);
        Self::run(command)
    }

    /// Runs a program of a host's container engine, for which a shell from outside is not enough.
    pub(crate) fn podman(&self, host: u32, arguments: &str) -> Result<CommandOutput, String> {
        self.on(
            host,
            &format!("systemd-run --quiet --wait --pipe podman {arguments}"),
        )
    }

    /// Sends a file to a host by plain ssh, into what this command reads.
    pub(crate) fn send(&self, host: u32, from: &Path, command: &str) -> Result<(), String> {
        let said = self.inside(&format!(
            "ssh -i {} -o UserKnownHostsFile={} root@{} '{command}' < {}",
            self.state.join("key").display(),
            self.state.join("known_hosts").display(),
            Self::address(host),
            from.display()
        ))?;
        said.exits(0).map(|_| ())
    }

    /// Runs a shell command in the lab's network.
    pub(crate) fn inside(&self, script: &str) -> Result<CommandOutput, String> {
        Self::run(self.command("sh", &["-c", script]))
    }

    /// Applies, and fails unless all is done.
    pub(crate) fn apply(&self) -> Result<CommandOutput, String> {
        self.etcdup(&["apply", "--yes"])?.exits(0)
    }

    /// A finished world plans nothing.
    pub(crate) fn nothing_to_do(&self) -> Result<(), String> {
        self.etcdup(&["apply", "--yes"])?
            .exits(0)?
            .says("No changes")
            .map(|_| ())
    }

    /// Asks a real etcdctl, with a certificate issued for it where the cluster uses TLS: every
    /// endpoint is healthy and the member list has as many members.
    pub(crate) fn etcdctl_agrees(&self, endpoints: &str, members: usize) -> Result<(), String> {
        let list = self.etcdctl(endpoints, &["member", "list"])?.exits(0)?;
        let started = list
            .out
            .lines()
            .filter(|line| line.contains(", started,"))
            .count();
        if started != members {
            return Err(format!(
                "etcdctl lists {started} started members, not {members}:\n{}",
                list.all()
            ));
        }
        let health = self.etcdctl(endpoints, &["endpoint", "health"])?.exits(0)?;
        let healthy = health.all().matches("is healthy").count();
        if healthy == endpoints.split(',').count() {
            Ok(())
        } else {
            Err(format!("etcdctl disagrees:\n{}", health.all()))
        }
    }

    /// Runs etcdctl against endpoints.
    pub(crate) fn etcdctl(
        &self,
        endpoints: &str,
        arguments: &[&str],
    ) -> Result<CommandOutput, String> {
        let tool = cache()
            .join("etcd/bin")
            .join(crate::setup::newest_of("3.5")?)
            .join("etcdctl");
        let mut all = vec!["--endpoints", endpoints, "--dial-timeout", "5s"];
        if endpoints.starts_with("https") {
            if !self.work.path().join("tester.crt").exists() {
                self.etcdup(&["pki", "issue", "tester", "--out", ".", "--days", "1"])?
                    .exits(0)?;
            }
            all.extend([
                "--cacert",
                "pki/prod/ca.crt",
                "--cert",
                "tester.crt",
                "--key",
                "tester.key",
            ]);
        }
        all.extend(arguments);
        Self::run(self.command(&tool.to_string_lossy(), &all))
    }

    /// The client URLs of members 1 to `count`.
    pub(crate) fn endpoints(count: u32) -> String {
        Self::endpoints_of(&(1..=count).collect::<Vec<_>>())
    }

    /// The endpoints of the members on these hosts.
    pub(crate) fn endpoints_of(hosts: &[u32]) -> String {
        let url = |host: &u32| format!("https://{}:2379", Self::address(*host));
        hosts.iter().map(url).collect::<Vec<_>>().join(",")
    }

    /// Where the member on a host says that clients find it.
    pub(crate) fn client_url(&self, host: u32) -> Result<String, String> {
        let line = self
            .on(host, "tr '\\0' '\\n' < /proc/$(pidof etcd)/cmdline")?
            .exits(0)?;
        let mut flags = line.out.lines();
        let url = flags.find_map(|flag| flag.strip_prefix("--advertise-client-urls="));
        url.map(str::to_owned).ok_or_else(|| line.all())
    }

    /// Cuts the power of a host, or boots it again.
    pub(crate) fn power(&self, verb: &str, host: u32) -> Result<(), String> {
        let said = Self::run({
            let mut command = testbed("hosts.sh");
            command.args([verb, &self.name, &host.to_string()]);
            command
        })?;
        said.exits(0).map(|_| ())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(kept) = &self.kept
            && let Ok(mut labs) = kept.0.lock()
            && let Ok(empty) = tempfile::TempDir::new()
        {
            let work = std::mem::replace(&mut self.work, empty).keep();
            labs.push((self.name.clone(), work));
            return;
        }
        let _ = testbed("hosts.sh").args(["down", &self.name]).output();
    }
}

/// The release archive of a version.
pub(crate) fn archive(version: &str) -> PathBuf {
    cache().join(format!(
        "etcd/mirror/v{version}/etcd-v{version}-linux-amd64.tar.gz"
    ))
}
