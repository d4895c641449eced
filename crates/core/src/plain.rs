//! Text from elsewhere, made fit to be shown.

/// A text that comes from a host, without what a terminal would obey: escape sequences stay text,
/// and nothing reverses the order in which a plan is read. New lines and tabs stay.
///
/// ```
/// # use etcdup_core::plain::harmless;
/// assert_eq!(harmless("all is well\u{1b}[2J\n"), "all is well\u{fffd}[2J\n");
/// ```
#[must_use]
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| {
            let reorders = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if reorders || c.is_control() && c != '\n' && c != '\t' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// An error with what caused it, in one line: how every error gets into a message, an event or a
/// document, since the cause is often all that helps (`cannot read operator.crt: permission
/// denied`).
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}
