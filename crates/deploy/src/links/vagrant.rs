//! Vagrant machines: an SSH target each, which `vagrant ssh-config` names. Asked once for all,
//! since every call takes long.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// How long a call of Vagrant may take.
const CALL: Duration = Duration::from_secs(120);

/// How often a machine that another call holds is asked for.
const LOCKED: u32 = 4;

/// Where a machine's sshd is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) user: Option<String>,
    pub(crate) key: Option<PathBuf>,
}

/// What Vagrant says of these machines of the Vagrantfile in this directory.
pub(crate) async fn machines(
    directory: &Path,
    names: &[String],
) -> BTreeMap<String, Result<Machine, String>> {
    let all = |why: &str| -> BTreeMap<_, _> {
        let one = |name: &String| (name.clone(), Err(why.to_owned()));
        names.iter().map(one).collect()
    };
    let mut found = match ssh_config(directory, names).await {
        Ok(Ok(text)) => parse(&text),
        Ok(Err(_)) => BTreeMap::new(),
        Err(why) => return all(&why),
    };
    let mut machines: BTreeMap<String, Result<Machine, String>> = BTreeMap::new();
    if names.iter().all(|name| found.contains_key(name)) {
        for name in names {
            if let Some(machine) = found.remove(name) {
                machines.insert(name.clone(), Ok(machine));
            }
        }
        return machines;
    }
    // One that cannot be asked spoils the answer for all: find out which, and ask for the others.
    let states = match call(directory, &["status", "--machine-readable"]).await {
        Ok(Ok(text)) => states(&text),
        Ok(Err(why)) | Err(why) => return all(&why),
    };
    let running: Vec<String> = names
        .iter()
        .filter(|name| states.get(*name).is_some_and(|state| state == "running"))
        .cloned()
        .collect();
    let mut asked = match ssh_config(directory, &running).await {
        _ if running.is_empty() => BTreeMap::new(),
        Ok(Ok(text)) => parse(&text),
        Ok(Err(why)) | Err(why) => return all(&why),
    };
    for name in names {
        let machine = asked
            .remove(name)
            .ok_or_else(|| why_unavailable(name, &states));
        machines.insert(name.clone(), machine);
    }
    machines
}

/// Why a machine cannot be reached, in words of its own.
fn why_unavailable(name: &str, states: &BTreeMap<String, String>) -> String {
    match states.get(name).map(String::as_str) {
        None => {
            let names: Vec<&str> = states.keys().map(String::as_str).collect();
            format!(
                "the Vagrantfile has no machine `{name}`; it has {}",
                names.join(", ")
            )
        }
        Some("not_created") => {
            format!("the machine `{name}` is not created yet: vagrant up {name}")
        }
        Some("running") => format!("Vagrant does not say how to reach `{name}`"),
        Some(state) => format!(
            "the machine `{name}` is not running ({}): vagrant up {name}",
            state.replace('_', " ")
        ),
    }
}

async fn ssh_config(directory: &Path, names: &[String]) -> Result<Result<String, String>, String> {
    let mut arguments = vec!["ssh-config"];
    arguments.extend(names.iter().map(String::as_str));
    let mut tries = 0;
    loop {
        let answer = call(directory, &arguments).await?;
        tries += 1;
        // Another call of Vagrant's holds a machine for a moment.
        let locked = matches!(&answer, Err(words) if words.contains("it is locked"));
        if !locked || tries == LOCKED {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Standard output, or what Vagrant complains of; the outer error means that Vagrant itself cannot
/// be used.
async fn call(directory: &Path, arguments: &[&str]) -> Result<Result<String, String>, String> {
    let running = Command::new("vagrant")
        .args(arguments)
        .current_dir(directory)
        .env("VAGRANT_CHECKPOINT_DISABLE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(CALL, running).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(
                "there is no `vagrant` here: install it, or name the host for SSH".to_owned(),
            );
        }
        Ok(Err(error)) => return Err(format!("vagrant: {error}")),
        Err(_) => return Err(format!("vagrant says nothing within {} s", CALL.as_secs())),
    };
    if output.status.success() {
        return Ok(Ok(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words: Vec<&str> = words.split_whitespace().collect();
    let words = words.join(" ");
    if words.contains("Vagrant environment or target machine is required") {
        return Err(format!(
            "there is no Vagrantfile in {}",
            directory.display()
        ));
    }
    Ok(Err(format!("vagrant: {words}")))
}

/// Reads `vagrant ssh-config`: blocks in the form of OpenSSH's configuration.
fn parse(text: &str) -> BTreeMap<String, Machine> {
    let mut machines = BTreeMap::new();
    let mut current: Option<(String, Machine)> = None;
    for line in text.lines().map(str::trim) {
        let Some((key, value)) = line.split_once(' ') else {
            continue;
        };
        let value = value.trim().trim_matches('"');
        if key == "Host" {
            machines.extend(current.take());
            let machine = Machine {
                host: value.to_owned(),
                port: None,
                user: None,
                key: None,
            };
            current = Some((value.to_owned(), machine));
            continue;
        }
        let Some((_, machine)) = &mut current else {
            continue;
        };
        match key {
            "HostName" => machine.host = value.to_owned(),
            "Port" => machine.port = value.parse().ok(),
            "User" => machine.user = Some(value.to_owned()),
            // The first counts, as for ssh.
            "IdentityFile" if machine.key.is_none() => machine.key = Some(PathBuf::from(value)),
            _ => {}
        }
    }
    machines.extend(current);
    machines
}

/// Reads `vagrant status --machine-readable`: `time,machine,state,running`.
fn states(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            match fields[..] {
                [_, name, "state", state] => Some((name.to_owned(), state.to_owned())),
                _ => None,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_of_an_answer_is_read() {
        let text = "Host master1\n  HostName 127.0.0.1\n  User vagrant\n  Port 2222\n  UserKnownHostsFile /dev/null\n  \
                    StrictHostKeyChecking no\n  IdentityFile \"/home/a b/key\"\n  IdentitiesOnly yes\n\nHost master2\n  \
                    HostName 172.17.0.3\n  User vagrant\n  Port 22\n  IdentityFile /k2\n";
        let machines = parse(text);
        assert_eq!(machines.len(), 2);
        assert_eq!(machines["master1"].port, Some(2222));
        assert_eq!(
            machines["master1"].key,
            Some(PathBuf::from("/home/a b/key"))
        );
        assert_eq!(machines["master2"].host, "172.17.0.3");
    }

    #[test]
    fn each_state_has_its_own_words() {
        let text = "1,master1,metadata,provider,docker\n1,master1,state,running\n1,master2,state,not_created\n1,master3,state,host_state\n";
        let states = states(text);
        assert!(why_unavailable("master2", &states).contains("is not created yet"));
        assert!(why_unavailable("master3", &states).contains("is not running (host state)"));
        assert!(why_unavailable("master9", &states).contains("it has master1, master2, master3"));
    }
}
