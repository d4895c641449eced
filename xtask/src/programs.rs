//! Counting the programs that are executed on a host: most of what etcdup costs a small machine,
//! and the same on every machine.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::lab::Lab;
use crate::setup::testbed;

/// What sshd runs by itself when somebody logs in: the message of the day.
const LOGIN: [&str; 3] = ["update-motd.d", "\"uname\", \"-snrvm\"", "/usr/sbin/sshd"];

/// Watches a host's sshd and everything below it. What systemd starts, such as etcd, is not below.
pub(crate) struct Watch {
    strace: Child,
    log: PathBuf,
}

impl Watch {
    /// Begins to watch a host of a lab.
    pub(crate) fn begin(lab: &Lab, host: u32) -> Result<Self, String> {
        let mut command = testbed("hosts.sh");
        command.args(["sshd", lab.name(), &host.to_string()]);
        let sshd = Lab::run(command)?.exits(0)?.out.trim().to_owned();
        let log = lab.work.path().join(format!("programs-{host}"));
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-s", "100", "-e", "trace=execve"])
            .args(["-e", "signal=none", "-o"])
            .arg(&log)
            .args(["-p", &sshd])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("strace: {error}"))?;
        let traced = || {
            let status = std::fs::read_to_string(format!("/proc/{sshd}/status"));
            status.is_ok_and(|text| !text.contains("TracerPid:\t0\n"))
        };
        for _ in 0..100 {
            if traced() {
                return Ok(Self { strace, log });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("strace did not attach to sshd".to_owned())
    }

    /// Ends, and names the programs that were executed, in order.
    pub(crate) fn end(mut self) -> Result<Vec<String>, String> {
        // What a session left is over a moment after its answer.
        std::thread::sleep(Duration::from_millis(300));
        let pid = self.strace.id().to_string();
        Lab::run({
            let mut kill = Command::new("kill");
            kill.args(["-INT", &pid]);
            kill
        })?
        .exits(0)?;
        self.strace.wait().map_err(|error| error.to_string())?;
        let log = std::fs::read_to_string(&self.log).map_err(|error| error.to_string())?;
        Ok(log.lines().filter_map(program).collect())
    }
}

/// The program of a line such as `12 execve("/bin/tar", ["tar", "-x"], 0x1 /* 9 vars */) = 0`.
fn program(line: &str) -> Option<String> {
    let (_, call) = line.split_once("execve(\"")?;
    let succeeded = line.ends_with("= 0");
    let of_login = LOGIN.iter().any(|what| line.contains(what));
    let (path, _) = call.split_once('"')?;
    let name = path.rsplit('/').next()?;
    (succeeded && !of_login).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_ran_are_counted_and_those_of_a_login_are_not() {
        let line = |call: &str, result: &str| program(&format!("7 execve({call}, 0x1) = {result}"));
        let tar = line("\"/usr/bin/tar\", [\"tar\", \"-x\"]", "0");
        assert_eq!(tar.as_deref(), Some("tar"));
        assert_eq!(line("\"/sbin/tar\", [\"tar\"]", "-1 ENOENT"), None);
        let login = "\"/usr/bin/run-parts\", [\"run-parts\", \"/etc/update-motd.d\"]";
        assert_eq!(line(login, "0"), None);
    }
}
