//! Whether something keeps the clock of this host right.
//!
//! In: what the system says of itself. Out: the quality told to devices with the time. A Raspberry Pi has no clock that runs without
//! power: until the first synchronisation it stands where it was switched off.

use crate::clock::Clock;
use crate::limits::CLOCK_ASKED_EVERY_MS;
use crate::stop::Stop;
use std::path::Path;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

/// systemd-timesyncd makes this file at its first synchronisation after the start of the host (systemd-timesyncd.service(8)).
const TIMESYNCD: &str = "/run/systemd/timesync/synchronized";

/// The system bus answers at once, or not at all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the host again and again, until told to stop.
pub(crate) async fn follow(clock: Clock, mut stop: Stop) {
    let (unset_ms, set_ms) = CLOCK_ASKED_EVERY_MS;
    loop {
        let is_set = is_synchronised(Path::new(TIMESYNCD), "timedatectl").await;
        if clock.set_synchronised(is_set) != is_set {
            tracing::info!(synchronised = is_set, "clock of this host");
        }
        tokio::select! {
            () = sleep(Duration::from_millis(if is_set { set_ms } else { unset_ms })) => {}
            () = stop.stopped() => return,
        }
    }
}

/// By the file of timesyncd; or by the kernel's flag as `timedatectl` reads it, which every NTP daemon keeps. Where neither is
/// there nobody knows, so the answer is no.
async fn is_synchronised(file: &Path, timedatectl: &str) -> bool {
    if file.exists() {
        return true;
    }
    let mut command = Command::new(timedatectl);
    command.args(["show", "--property=NTPSynchronized", "--value"]).kill_on_drop(true);
    match timeout(ANSWER_TIMEOUT, command.output()).await {
        Ok(Ok(output)) => output.status.success() && output.stdout.trim_ascii() == b"yes",
        Ok(Err(_)) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_that_nobody_can_vouch_for_is_not_synchronised() {
        let dir = tempfile::tempdir().unwrap();
        let (file, program) = (dir.path().join("synchronized"), dir.path().join("no-such-program"));
        assert!(!is_synchronised(&file, program.to_str().unwrap()).await);
        // `echo` says what it was asked, which is not yes.
        assert!(!is_synchronised(&file, "echo").await);
        std::fs::write(&file, "").unwrap();
        assert!(is_synchronised(&file, program.to_str().unwrap()).await);
    }
}
