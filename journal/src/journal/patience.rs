//! An opening of a disk that does not give back everything: tried again for a while, then done without.
//!
//! In: a way to open, a way to pause. Out: what was opened. Invariant: while there is patience nothing is changed on the disk, and nothing
//! is taken for lost that another try would have read.
//! Not here: what costs records and what does not (`survey`).

use std::time::Duration;

use crate::config::{Config, Unread};
use crate::error::OpenError;
use crate::limits::UNREAD_TRIED_EVERY;

/// Opens, by `open`, which is told the settings and for how long it was waited.
pub(super) fn open<T>(
    config: &Config,
    mut pause: impl FnMut(Duration),
    mut open: impl FnMut(Config, Duration) -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    let mut waited = Duration::ZERO;
    loop {
        let (file, offset, error) = match open(config.clone(), waited) {
            Err(OpenError::Unread { file, offset, source }) => (file, offset, source),
            other => return other,
        };
        let left_s = config.unread.patience.saturating_sub(waited).as_secs();
        if waited >= config.unread.patience {
            tracing::error!(file, offset, %error, "the disk still does not read it; it counts as lost from now on, and its files are kept");
            let unread = Unread { is_lost_at_open: true, ..config.unread };
            return open(Config { unread, ..config.clone() }, waited);
        }
        tracing::error!(
            file, offset, %error, left_s,
            "the disk does not read acknowledged records; it is tried again, look at the disk and its cable"
        );
        pause(UNREAD_TRIED_EVERY);
        waited = waited.saturating_add(UNREAD_TRIED_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unread() -> OpenError {
        OpenError::Unread { file: "1.seg".into(), offset: 0, source: std::io::Error::other("EIO") }
    }

    fn opened_after(tries: u32, patience: Duration) -> (Result<bool, OpenError>, Duration) {
        let (mut tried, mut paused) = (0, Duration::ZERO);
        let unread_is = Unread { patience, ..Unread::AWAITED };
        let config = Config { unread: unread_is, ..Config::default() };
        let opened = open(
            &config,
            |pause| paused += pause,
            |config, _| {
                tried += 1;
                if tried > tries || config.unread.is_lost_at_open {
                    Ok(config.unread.is_lost_at_open)
                } else {
                    Err(unread())
                }
            },
        );
        (opened, paused)
    }

    #[test]
    fn a_disk_that_comes_back_loses_nothing_and_one_that_does_not_is_done_without() {
        let patience = UNREAD_TRIED_EVERY * 3;
        assert!(matches!(opened_after(0, patience), (Ok(false), Duration::ZERO)));
        let (opened, paused) = opened_after(3, patience);
        assert!(matches!(opened, Ok(false)) && paused == patience, "{opened:?} {paused:?}");
        let (opened, paused) = opened_after(4, patience);
        assert!(matches!(opened, Ok(true)) && paused == patience, "{opened:?} {paused:?}");
    }

    #[test]
    fn what_else_is_wrong_is_said_at_once() {
        let failed = || OpenError::Io { doing: "listing".into(), source: std::io::Error::other("gone") };
        let opened = open::<()>(&Config::default(), |_| panic!("a pause"), |_, _| Err(failed()));
        assert!(matches!(opened, Err(OpenError::Io { .. })));
    }
}
