//! Forecasts three-member clusters from bare hosts, for `cargo xtask bench`: as many as the
//! argument says, all kept, as a server would. Prints milliseconds and the peak of memory in kB.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

#[path = "../tests/worlds/mod.rs"]
mod worlds;

#[allow(clippy::disallowed_methods, reason = "an example measures")]
fn main() {
    let count: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let start = std::time::Instant::now();
    let mut kept = Vec::with_capacity(count);
    for _ in 0..count {
        let planner = worlds::planner(worlds::topology(3, ""));
        kept.push(planner.forecast(&worlds::bare(&planner)));
    }
    let took = start.elapsed().as_millis();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap().trim().trim_end_matches(" kB");
    println!("{took} {peak}");
    assert!(kept.iter().all(|forecast| !forecast.stages.is_empty()));
}
