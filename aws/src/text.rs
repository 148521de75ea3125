//! Words of others, before they go into a message of ours.

use crate::limits;
use std::error::Error;

/// At most [`limits::MESSAGE_CHARACTERS_MAX`] characters, none of which moves a cursor or starts a line.
pub(crate) fn bounded(text: &str) -> String {
    let mut kept: String = text
        .chars()
        .take(limits::MESSAGE_CHARACTERS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if kept.len() < text.len() {
        kept.push_str("..");
    }
    kept
}

/// An error with what caused it, each after a colon.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Some libraries say their cause in their own words already.
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    bounded(&text)
}
