//! How a task ends.

/// Nothing, or why it failed.
pub(crate) type Outcome = Result<(), String>;

thread_local! {
    /// The scenario that this thread carries out.
    pub(crate) static SCENARIO: std::cell::Cell<&'static str> = const { std::cell::Cell::new("") };
}

/// Prints a figure or a remark, with the scenario that it is of: two are carried out at once.
macro_rules! note {
    ($($text:tt)*) => {
        eprintln!("     {}: {}", $crate::outcome::SCENARIO.get(), format_args!($($text)*))
    };
}
pub(crate) use note;

/// Fails with this message unless it holds.
pub(crate) fn ensure(holds: bool, message: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(message.into()) }
}
