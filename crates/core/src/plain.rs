//! Text from elsewhere, made fit to be shown.

/// A text that comes from a host, without what a terminal would obey: escape sequences stay text, and nothing reverses the order
/// in which a plan is read. New lines and tabs stay.
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
