//! How a task ends.

/// Nothing, or why it failed.
pub(crate) type Outcome = Result<(), String>;

/// Fails with this message unless it holds.
pub(crate) fn ensure(holds: bool, message: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(message.into()) }
}
