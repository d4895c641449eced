//! Forecasts a thousand three-member clusters from bare hosts, for `cargo xtask bench`. Prints
//! milliseconds.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

#[path = "../tests/worlds/mod.rs"]
mod worlds;

#[allow(clippy::disallowed_methods, reason = "an example measures")]
fn main() {
    let start = std::time::Instant::now();
    let mut stages = 0;
    for _ in 0..1000 {
        let planner = worlds::planner(worlds::topology(3, ""));
        stages += planner.forecast(&worlds::bare(&planner)).stages.len();
    }
    println!("{} {stages}", start.elapsed().as_millis());
}
