//! `etcdup ssh`: a shell, or one command, on a member's host, reached as the topology says.

use std::os::unix::process::CommandExt;
use std::process::Command;

use etcdup_core::host::{HostTarget, SshTarget};

use crate::arguments::Ssh;
use crate::command::context::{Context, member_of};
use crate::exit;
use crate::view;

pub(crate) async fn run(context: &Context, arguments: &Ssh) -> u8 {
    let (topology, base) = match context.topology().await {
        Ok(found) => found,
        Err(error) => return context.fail(&error),
    };
    let Some(member) = member_of(&topology, &arguments.member) else {
        return exit::USAGE;
    };
    let mut command = match topology.hosts.get(&member.host) {
        Some(HostTarget::Ssh(target)) => ssh(target, &arguments.command),
        Some(HostTarget::Vagrant(machine)) => {
            let mut command = Command::new("vagrant");
            command.current_dir(base).args(["ssh", machine]);
            if !arguments.command.is_empty() {
                command.arg("-c").arg(arguments.command.join(" "));
            }
            command
        }
        Some(HostTarget::Local { .. }) | None => {
            let mut shell = Command::new(std::env::var_os("SHELL").unwrap_or("sh".into()));
            if !arguments.command.is_empty() {
                shell.arg("-c").arg(arguments.command.join(" "));
            }
            shell
        }
    };
    // The program takes this one's place, so that the terminal and the exit status are its own.
    let error = command.exec();
    let program = command.get_program().to_string_lossy().into_owned();
    view::error::plain(&format!("cannot start {program}: {error}"));
    exit::FAILED
}

/// OpenSSH with what the topology says of the host; everything else comes from the user's
/// configuration.
fn ssh(target: &SshTarget, words: &[String]) -> Command {
    let mut command = Command::new("ssh");
    if let Some(user) = &target.user {
        command.args(["-l", user]);
    }
    command.args(["-o", "ConnectTimeout=10"]);
    if let Some(port) = target.port {
        command.args(["-p", &port.to_string()]);
    }
    if let Some(key) = &target.key {
        command.args(["-i", key, "-o", "IdentitiesOnly=yes"]);
    }
    if !target.jump.is_empty() {
        command.args(["-J", &target.jump.join(",")]);
    }
    if let Some(file) = &target.known_hosts {
        command.args(["-o", &format!("UserKnownHostsFile={file}")]);
    }
    command.arg("--").arg(&target.host).args(words);
    command
}
