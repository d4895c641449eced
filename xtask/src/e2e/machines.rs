//! Real `vagrant up` machines, with podman as Vagrant's provider.

use std::process::Command;

use super::context::{Context, Scenario};
use crate::lab::CommandOutput;
use crate::outcome::{Outcome, ensure};
use crate::setup::{cache, root, suggested, testbed};

pub(super) const ALL: &[Scenario] = &[("example-vagrant-static-pods", static_pods)];

/// A place in which `vagrant up` works, taken down when dropped.
struct Bed {
    name: String,
    project: std::path::PathBuf,
    pods: String,
}

impl Bed {
    fn make(name: String, masters: u32) -> Result<Self, String> {
        let output = testbed("root.sh")
            .arg("pod")
            .output()
            .map_err(|error| error.to_string())?;
        let pods = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let _ = bed(&pods).args(["down", &name]).output();
        let output = bed(&pods)
            .args(["make", &name, &masters.to_string()])
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(format!(
                "the machines' place: {}",
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let project = std::path::Path::new(&state).join("project");
        Ok(Self {
            name,
            project,
            pods,
        })
    }

    fn run(&self, arguments: &[&str]) -> Result<CommandOutput, String> {
        let mut command = bed(&self.pods);
        command.args(["run", &self.name]).args(arguments);
        let output = command.output().map_err(|error| error.to_string())?;
        Ok(CommandOutput::of(&output))
    }

    /// A shell command as root in a machine, not by SSH.
    fn on(&self, machine: &str, script: &str) -> Result<CommandOutput, String> {
        let container = format!("{}-{machine}", self.name);
        self.run(&["docker", "exec", &container, "sh", "-c", script])
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = bed(&self.pods).args(["down", &self.name]).output();
    }
}

fn bed(pods: &str) -> Command {
    let mut command = testbed("vagrant/bed.sh");
    command.env("VAGBED_PODS", "1").env("VAGBED_ROOT", pods);
    command
}

/// Three masters and a worker: clocks first, then static pods by name on `eth1`. What Vagrant
/// cannot do has its own words.
fn static_pods(context: &Context) -> Outcome {
    let output = testbed("image.sh")
        .arg(&context.version)
        .output()
        .map_err(|error| error.to_string())?;
    let image = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let bed = Bed::make(context.lab_name("vag"), 3)?;
    let file = bed.project.join("etcdup.toml");
    let write = |text: &str| std::fs::write(&file, text).map_err(|error| error.to_string());
    let example = std::fs::read_to_string(root().join("examples/vagrant-static-pods/etcdup.toml"))
        .map_err(|error| error.to_string())?
        .replace(suggested(), &context.version)
        .replace("[pod]\n", &format!("[pod]\narchive = \"{image}\"\n"));
    write(&example)?;
    let etcdup = context.etcdup.to_string_lossy().into_owned();
    bed.run(&[&etcdup, "plan"])?
        .exits(4)?
        .says("the machine `master1` is not created yet: vagrant up master1")?;
    bed.run(&["vagrant", "up"])?.exits(0)?;
    let machines = ["master1", "master2", "master3", "worker1"];
    for machine in machines {
        let names = "printf '192.168.56.11 master1.node.local.consul\\n192.168.56.12 master2.node.local.consul\\n192.168.56.13 master3.node.local.consul\\n' >> /etc/hosts";
        bed.on(machine, names)?.exits(0)?;
    }
    // More masters than machines: those that are missing are named, and those there are.
    write(&format!(
        "{example}[[member]]\nname = \"master4\"\nhost = {{ vagrant = \"master4\" }}\naddress = \"master4.node.local.consul\"\n"
    ))?;
    bed.run(&[&etcdup, "apply", "--yes"])?.exits(4)?.says(
        "the Vagrantfile has no machine `master4`; it has master1, master2, master3, worker1",
    )?;
    write(&example)?;
    bed.run(&["env", "PATH=/nowhere", &etcdup, "plan"])?
        .exits(4)?
        .says("there is no `vagrant` here")?;
    bed.run(&[&etcdup, "apply", "--yes"])?
        .exits(0)?
        .says("set up time synchronization")?
        .says("vagrant:worker1: no time synchronization service is running")?
        .says("cluster kubernetes")?;
    for machine in machines {
        bed.on(machine, "systemctl is-active chrony")?.exits(0)?;
    }
    let list = bed.on(
        "master2",
        "systemd-run --quiet --wait --pipe podman exec etcd-etcd etcdctl --cacert /etc/etcd/ca.crt --cert /etc/etcd/server.crt --key /etc/etcd/server.key member list",
    )?;
    ensure(
        list.out.contains("master3, https://master3.node.local.consul:2380, https://master3.node.local.consul:2379"),
        list.all(),
    )?;
    bed.on("master1", "grep -q 'ready to serve' /var/log/etcd.log && tr '\\0' '\\n' < /proc/$(pidof etcd)/environ")?
        .exits(0)?
        .says("ETCD_LISTEN_PEER_URLS=https://192.168.56.11:2380")?;
    bed.run(&[&etcdup, "apply", "--yes"])?
        .exits(0)?
        .says("No changes")?;
    ensure(
        cache().join("vagbed").exists(),
        "the machines' image is not cached",
    )?;
    bed.run(&["vagrant", "halt", "master3"])?.exits(0)?;
    bed.run(&[&etcdup, "plan"])?
        .exits(4)?
        .says("the machine `master3` is not running")
        .map(|_| ())
}
