//! `cargo xtask bench`: figures against a floor in the same run, medians of interleaved pairs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::lab::{Lab, archive};
use crate::outcome::Outcome;
use crate::setup::{binary, cache, carry_out, fixtures, newest_of, root, target, testbed};

const PAIRS: usize = 7;

pub(crate) fn run() -> Outcome {
    fixtures()?;
    let _ = testbed("hosts.sh").args(["sweep", "bench"]).output();
    let etcdup = binary(true)?;
    let version = newest_of("3.5")?;
    let lab = Lab::up("bench", 3, &etcdup)?;
    lab.topology(&version, "", 3)?;
    lab.apply()?;
    let prepared = prepare_floor(&lab)?;
    let (mut floor, mut cold, mut memory) = (Vec::new(), Vec::new(), 0);
    for _ in 0..PAIRS {
        bare(&lab)?;
        floor.push(timed_shell(&lab, &prepared)?);
        bare(&lab)?;
        let (took, peak) = timed(&lab, &etcdup, &["apply", "--yes"])?;
        cold.push(took);
        memory = memory.max(peak);
    }
    let (mut nothing, mut second, mut verify) = (Vec::new(), Vec::new(), Vec::new());
    let ssh = nothing_by_ssh(&lab);
    for _ in 0..PAIRS {
        nothing.push(timed_shell(&lab, &ssh)?);
        second.push(timed(&lab, &etcdup, &["apply", "--yes"])?.0);
        verify.push(timed(&lab, &etcdup, &["verify"])?.0);
    }
    let help = (0..11)
        .map(|_| timed(&lab, &etcdup, &["--help"]).map(|timed| timed.0))
        .collect::<Result<Vec<_>, _>>()?;
    let size = std::fs::metadata(&etcdup)
        .map_err(|error| error.to_string())?
        .len();
    println!("| what | measured | wanted |\n|---|---|---|");
    let row = |what: &str, measured: String, wanted: &str| {
        println!("| {what} | {measured} | {wanted} |");
    };
    row(
        "a shell script over OpenSSH, three hosts",
        spread(&floor),
        "",
    );
    row("cold `apply` of three members", spread(&cold), "");
    let pairs = ratios(&cold, &floor);
    let worst = pairs.iter().copied().fold(0.0, f64::max);
    row(
        "the two, pair by pair",
        format!("{:.2}, worst {worst:.2}", middle(pairs)),
        "1.15, worst 1.5",
    );
    row("`ssh HOST true` to all three at once", spread(&nothing), "");
    row("second `apply`", spread(&second), "");
    row(
        "to `ssh HOST true`",
        format!("{:.2}", middle(ratios(&second, &nothing))),
        "1.0",
    );
    row("`verify`", spread(&verify), "");
    row(
        "to `ssh HOST true`",
        format!("{:.2}", middle(ratios(&verify, &nothing))),
        "1.3",
    );
    row("`etcdup --help`", spread(&help), "10 ms");
    row(
        "release binary",
        format!("{:.1} MB", size as f64 / 1e6),
        "18 MB",
    );
    row(
        "peak memory of a cold `apply`",
        format!("{} MB", memory / 1000),
        "40 MB",
    );
    row(
        "forecasting 1,000 three-member clusters",
        format!("{} ms", forecast()?),
        "300 ms",
    );
    Ok(())
}

/// Each of these as a multiple of the one that was measured beside it.
fn ratios(these: &[Duration], beside: &[Duration]) -> Vec<f64> {
    let pairs = these.iter().zip(beside);
    pairs
        .map(|(this, other)| this.as_secs_f64() / other.as_secs_f64())
        .collect()
}

/// The median, and how far the figures lie apart.
fn spread(durations: &[Duration]) -> String {
    let least = durations.iter().min().copied().unwrap_or_default();
    let most = durations.iter().max().copied().unwrap_or_default();
    format!(
        "{} ({} to {})",
        show(median(durations)),
        show(least),
        show(most)
    )
}

/// The least that anything which asks three hosts over SSH can take.
fn nothing_by_ssh(lab: &Lab) -> String {
    format!(
        "for n in 1 2 3; do ssh -i {} -o UserKnownHostsFile={} -o IdentitiesOnly=yes root@10.77.0.1$n true & done; wait",
        lab.state.join("key").display(),
        lab.state.join("known_hosts").display(),
    )
}

fn show(duration: Duration) -> String {
    if duration < Duration::from_millis(100) {
        format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
    } else {
        format!("{:.2} s", duration.as_secs_f64())
    }
}

fn median(durations: &[Duration]) -> Duration {
    Duration::from_secs_f64(middle(
        durations.iter().map(Duration::as_secs_f64).collect(),
    ))
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs etcdup: how long it took, and its peak memory in kB as the kernel counts it.
fn timed(lab: &Lab, etcdup: &Path, arguments: &[&str]) -> Result<(Duration, u64), String> {
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

/// Hosts as they were before anything.
fn bare(lab: &Lab) -> Outcome {
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
fn prepare_floor(lab: &Lab) -> Result<String, String> {
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

fn timed_shell(lab: &Lab, script: &str) -> Result<Duration, String> {
    let start = Instant::now();
    lab.inside(script)?.exits(0)?;
    Ok(start.elapsed())
}

fn forecast() -> Result<String, String> {
    let mut build = Command::new("cargo");
    build.current_dir(root()).args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "etcdup-planner",
        "--example",
        "forecast_thousand",
    ]);
    carry_out(&mut build)?;
    let program = target().join("release/examples/forecast_thousand");
    let mut figures = Vec::new();
    for _ in 0..3 {
        let output = Command::new(&program)
            .output()
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        figures.push(
            text.split_whitespace()
                .next()
                .and_then(|figure| figure.parse::<f64>().ok())
                .unwrap_or(f64::NAN),
        );
    }
    Ok(format!("{:.0}", middle(figures)))
}
