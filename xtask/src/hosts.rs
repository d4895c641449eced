//! `cargo xtask hosts`: real hosts to play with.

use crate::outcome::Outcome;
use crate::setup::{carry_out, fixtures, testbed};

pub(crate) fn run(count: u32) -> Outcome {
    if count == 0 {
        return carry_out(testbed("hosts.sh").args(["down", "play"]));
    }
    fixtures()?;
    run_up(count)
}

fn run_up(count: u32) -> Outcome {
    // Its owner is process 1: it stays when this ends.
    carry_out(testbed("hosts.sh").args(["up", "play", &count.to_string(), "1"]))?;
    println!(
        "hosts 10.77.0.11 to 10.77.0.{} are up, in a network of their own",
        10 + count
    );
    println!("  enter it:      nsenter --net=/run/netns/eu-play bash");
    println!("  log in:        bash xtask/testbed/hosts.sh ssh play 1");
    println!(
        "  etcdup needs:  [ssh] user, key and known-hosts: root, and key and known_hosts in /var/tmp/etcdup-testbed/play"
    );
    println!("  take down:     cargo xtask hosts 0");
    Ok(())
}
