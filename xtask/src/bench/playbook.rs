//! The same cluster by a plain Ansible playbook, as its users write one.

use std::path::PathBuf;
use std::process::Command;

use crate::lab::{Lab, archive};
use crate::outcome::Outcome;
use crate::setup::{cache, carry_out, newest_of, root};

/// A playbook that is ready to run in the lab's directory.
pub(super) struct Playbook {
    program: PathBuf,
}

impl Playbook {
    /// Installs Ansible from PyPI, and lays its inventory and certificates beside the topology.
    /// Each host's files lie in `hN`, as the floor has them.
    pub(super) fn prepare(lab: &Lab) -> Result<Self, String> {
        let place = cache().join("ansible");
        let program = place.join("bin/ansible-playbook");
        if !program.exists() {
            install(&place)?;
        }
        let hosts: String = (1..=3)
            .map(|n| {
                format!(
                    "m{n} ansible_host={} certificates={}\n",
                    Lab::address(n),
                    lab.work.path().join(format!("h{n}/etc/etcd")).display()
                )
            })
            .collect();
        let version = newest_of("3.5")?;
        let inventory = format!(
            "[etcd]\n{hosts}\n[etcd:vars]\nversion={version}\narchive={}\nansible_user=root\n\
             ansible_ssh_private_key_file={}\nansible_python_interpreter=/usr/bin/python3\n\
             ansible_ssh_common_args=-o UserKnownHostsFile={}\n",
            archive(&version).display(),
            lab.state.join("key").display(),
            lab.state.join("known_hosts").display(),
        );
        lab.write("inventory", &inventory)?;
        Ok(Self { program })
    }

    /// Runs it.
    pub(super) fn run(&self, lab: &Lab) -> Outcome {
        let playbook = root().join("xtask/testbed/ansible/site.yml");
        let arguments = ["-i", "inventory", &playbook.to_string_lossy()];
        let mut command = lab.command(&self.program.to_string_lossy(), &arguments);
        command
            .env("ANSIBLE_PIPELINING", "1")
            .env("LC_ALL", "C.UTF-8");
        Lab::run(command)?.exits(0).map(|_| ())
    }
}

fn install(place: &std::path::Path) -> Outcome {
    let make = || {
        let mut command = Command::new("/usr/bin/python3");
        carry_out(command.args(["-m", "venv"]).arg(place))
    };
    if make().is_err() {
        let mut command = Command::new("apt-get");
        carry_out(command.args(["-qq", "install", "-y", "python3-venv"]))?;
        make()?;
    }
    let mut command = Command::new(place.join("bin/pip"));
    carry_out(command.args(["install", "--quiet", "ansible-core"]))
}
