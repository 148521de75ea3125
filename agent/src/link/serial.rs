//! A device on a serial port. The port is opened again, with backoff, when it is unplugged and replugged.

use super::{End, Links};
use headwater_relay::{Backoff, Delays};

use crate::tools::open_serial;
use std::path::Path;

/// A board that resets when it is plugged in takes a moment; a port that stays away is looked for every few seconds.
const REOPEN: Delays = Delays { base_ms: 250, max_ms: 5_000, stable_ms: 5_000 };

/// Serves the port until the links are told to stop; or until it is gone, when `is_found`: it was found by looking, and will be again.
pub(crate) async fn run_serial(links: Links, path: &Path, baud: u32, is_found: bool, seed: u64) {
    let mut backoff = Backoff::new(REOPEN, seed);
    let mut stop = links.stop.clone();
    let mut is_missing = false;
    loop {
        match open_serial(path, baud) {
            // The lock lives as long as the link: tools for devices see that the port is taken.
            Ok((port, _lock)) => {
                is_missing = false;
                tracing::info!(port = %path.display(), baud, "link opened");
                backoff.handle_connected(links.clock.mono_ms());
                if matches!(links.run_link(port, path.display().to_string(), None, true).await, End::Stopped)
                {
                    return;
                }
            }
            Err(error) => {
                // Once: a port that stays away is not news.
                if !is_missing {
                    tracing::warn!(port = %path.display(), %error, "serial port does not open, trying again");
                }
                is_missing = true;
            }
        }
        if is_found && !path.exists() {
            tracing::info!(port = %path.display(), "serial port is gone");
            return;
        }
        let retry_at_ms = backoff.handle_lost(links.clock.mono_ms());
        tokio::select! {
            () = tokio::time::sleep_until(links.clock.instant_at(retry_at_ms)) => {}
            () = stop.stopped() => return,
        }
    }
}
