//! What etcdup is measured against in the same run, a hand-written script and nothing at all, and
//! how both are timed.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::lab::{Lab, archive};
use crate::outcome::Outcome;
use crate::setup::{cache, newest_of};

/// Hosts as they were before anything.
pub(super) fn bare(lab: &Lab) -> Outcome {
    for host in 1..=3 {
        lab.on(
            host,
            "systemctl disable -q --now etcd; rm -rf /etc/systemd/system/etcd.service /etc/etcd /var/lib/etcd /var/lib/etcdup \
             /opt/etcd /usr/local/bin/etcd*; userdel etcd; systemctl daemon-reload; sync",
        )?;
    }
    Ok(())
}

/// What the hand-written script brings along: units and certificates as this cluster has them, and
/// the same archive.
pub(super) fn prepare(lab: &Lab) -> Result<String, String> {
    for host in 1..=3 {
        let files = lab.on(host, "sed -i s/state=existing/state=new/ /etc/systemd/system/etcd.service; tar -C / -cf - etc/etcd etc/systemd/system/etcd.service | base64")?;
        lab.write(&format!("h{host}.b64"), &files.out)?;
        let archive = archive(&newest_of("3.5")?);
        lab.inside(&format!(
            "mkdir h{host} && base64 -d h{host}.b64 | tar -C h{host} -xf - && cp {} h{host}/etcd.tar.gz",
            archive.display()
        ))?
        .exits(0)?;
    }
    lab.etcdup(&["pki", "issue", "tester", "--out", ".", "--days", "1"])?
        .exits(0)?;
    let tool = cache()
        .join("etcd/bin")
        .join(newest_of("3.5")?)
        .join("etcdctl");
    let version = newest_of("3.5")?;
    Ok(format!(
        r#"set -e
S="-i {key} -o UserKnownHostsFile={known} -o IdentitiesOnly=yes -o LogLevel=ERROR"
for n in 1 2 3; do
    tar -C h$n -cf - . | ssh $S root@10.77.0.1$n '
        set -e
        useradd --system --user-group --no-create-home --shell /usr/sbin/nologin etcd
        tar -C / -xf -
        mkdir -p /opt/etcd/v{version} /var/lib/etcd
        tar -xzf /etcd.tar.gz -C /opt/etcd/v{version} --strip-components=1
        rm /etcd.tar.gz
        chown -R etcd:etcd /etc/etcd /var/lib/etcd
        chmod 700 /var/lib/etcd
        chown root:root /etc/systemd/system/etcd.service
        sync
        systemctl daemon-reload
        systemctl enable -q etcd
        systemctl start --no-block etcd' &
done
wait
E=https://10.77.0.11:2379,https://10.77.0.12:2379,https://10.77.0.13:2379
until {tool} --endpoints $E --cacert pki/prod/ca.crt --cert tester.crt --key tester.key endpoint health >/dev/null 2>&1; do sleep 0.05; done
"#,
        key = lab.state.join("key").display(),
        known = lab.state.join("known_hosts").display(),
        tool = tool.display(),
    ))
}

/// The least that anything which asks three hosts over SSH can take.
pub(super) fn nothing_by_ssh(lab: &Lab) -> String {
    format!(
        "for n in 1 2 3; do ssh -i {} -o UserKnownHostsFile={} -o IdentitiesOnly=yes root@10.77.0.1$n true & done; wait",
        lab.state.join("key").display(),
        lab.state.join("known_hosts").display(),
    )
}

pub(super) fn timed_shell(lab: &Lab, script: &str) -> Result<Duration, String> {
    let start = Instant::now();
    lab.inside(script)?.exits(0)?;
    Ok(start.elapsed())
}

/// Runs etcdup: how long it took, and its peak memory in kB as the kernel counts it.
pub(super) fn timed(
    lab: &Lab,
    etcdup: &Path,
    arguments: &[&str],
) -> Result<(Duration, u64), String> {
    let mut command = lab.command(&etcdup.to_string_lossy(), arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            let took = start.elapsed();
            if status.success() {
                return Ok((took, peak));
            }
            return Err(format!(
                "etcdup {} ended with {status}",
                arguments.join(" ")
            ));
        }
        let text = std::fs::read_to_string(&status_file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line
            .and_then(|line| line.split_whitespace().next())
            .and_then(|figure| figure.parse().ok());
        peak = peak.max(now.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(1));
    }
}
