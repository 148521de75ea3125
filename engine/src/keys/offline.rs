//! Keys of streams for somebody who only looks.
//!
//! In: master keys, the directory of wrapped keys. Out: the keys, or why they do not open. Invariant: no file is made or written.

use super::{KeyFileError, KeyRefusal, KeySource, Keys, Secret};
use crate::names::StreamNumber;
use std::path::Path;

/// Stream, which of its keys, and the key or the reason.
pub(crate) type Opened = (StreamNumber, u16, Result<Secret, String>);

/// Every key in `dir`, opened where the master keys of `source` do.
///
/// # Errors
/// As [`Keys::open`].
pub(crate) fn sealed_streams(
    source: &KeySource,
    dir: &Path,
    scope: (&str, &str),
) -> Result<Vec<Opened>, KeyFileError> {
    let source = match source.clone() {
        // Whoever looks makes no keys.
        KeySource::File { path, .. } => KeySource::File { path, create: false },
        other => other,
    };
    let keys = Keys::open(source, dir, scope, 0)?;
    let state = keys.read();
    let stored = state.streams.values().flat_map(|keys| keys.stored.values());
    let opened = stored.map(|stored| {
        let secret = keys.unwrap(&state.masters, stored).map_err(|refusal| match refusal {
            KeyRefusal::NotFound(message)
            | KeyRefusal::Disabled(message)
            | KeyRefusal::InvalidState(message)
            | KeyRefusal::AccessDenied(message) => message,
        });
        (stored.stream, stored.key, secret)
    });
    Ok(opened.collect())
}
