//! Medians, how far figures lie apart, and how both are shown.

use std::time::Duration;

/// Each of these as a multiple of the one that was measured beside it.
pub(super) fn ratios(these: &[Duration], beside: &[Duration]) -> Vec<f64> {
    let pairs = these.iter().zip(beside);
    pairs
        .map(|(this, other)| this.as_secs_f64() / other.as_secs_f64())
        .collect()
}

/// The median, and how far the figures lie apart.
pub(super) fn spread(durations: &[Duration]) -> String {
    let least = durations.iter().min().copied().unwrap_or_default();
    let most = durations.iter().max().copied().unwrap_or_default();
    format!(
        "{} ({} to {})",
        show(median(durations)),
        show(least),
        show(most)
    )
}

/// The median of these ratios, and the highest.
pub(super) fn worst(ratios: Vec<f64>) -> String {
    let worst = ratios.iter().copied().fold(0.0, f64::max);
    format!("{:.2}, worst {worst:.2}", middle(ratios))
}

pub(super) fn show(duration: Duration) -> String {
    if duration < Duration::from_millis(100) {
        format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
    } else {
        format!("{:.2} s", duration.as_secs_f64())
    }
}

pub(super) fn median(durations: &[Duration]) -> Duration {
    let seconds = durations.iter().map(Duration::as_secs_f64);
    Duration::from_secs_f64(middle(seconds.collect()))
}

pub(super) fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
