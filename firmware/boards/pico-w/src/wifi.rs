//! The network of the configuration: joined again and again.
//!
//! In: a radio, a network. Out: a link for `uplink`. Invariants: a network that is away, or does not want us, never ends the program; why is
//! told once, not at every try. Not here: addresses and connections.

use crate::BoardDevice;
use crate::clock::BoardClock;
use crate::radio::Control;
use core::fmt::Write;
use cyw43::{JoinError, JoinOptions};
use embassy_net::Stack;
use embassy_time::{Duration, Timer, with_timeout};
use headwater_device::Clock;
use headwater_telemetry::limits::LOG_BYTES_MAX;
use headwater_telemetry::{LogLevel, Network};

/// Seconds between two attempts to join: the first, and the longest after doubling.
const RETRY_S_MIN: u64 = 1;
const RETRY_S_MAX: u64 = 60;

/// Seconds for one attempt: a busy access point answers within ten.
const JOIN_S: u64 = 30;

/// Seconds until the network stack knows that the network is joined.
const LINK_S: u64 = 10;

/// Bytes of a WPA2 passphrase; the driver has room for no more.
const PASSPHRASE_BYTES: core::ops::RangeInclusive<usize> = 8..=63;

/// Whether a network can be joined at all.
///
/// # Errors
/// Why not, in at most 64 bytes.
pub(crate) fn check(network: &Network) -> Result<(), &'static str> {
    let passphrase = network.passphrase.reveal().len();
    if network.ssid.is_empty() {
        return Err("the name of a network has 1 to 32 bytes");
    }
    if passphrase != 0 && !PASSPHRASE_BYTES.contains(&passphrase) {
        return Err("a passphrase has 8 to 63 bytes");
    }
    Ok(())
}

/// Joins the network, for ever.
pub(crate) async fn keep_joined(device: &BoardDevice, radio: Control, stack: Stack<'_>, network: &Network) {
    let (mut told, mut wait_s) = (None, RETRY_S_MIN);
    loop {
        match join(radio, network).await {
            Ok(()) => {
                if told.take().is_some() {
                    device.log(BoardClock.now(), LogLevel::Info, "network joined");
                }
                wait_s = RETRY_S_MIN;
                // The network stack hears of it a moment later, and until then says that the link is down.
                let _ = with_timeout(Duration::from_secs(LINK_S), stack.wait_link_up()).await;
                stack.wait_link_down().await;
            }
            Err(why) => {
                if told != Some(why) {
                    let mut text = heapless::String::<LOG_BYTES_MAX>::new();
                    // Cut at the limit of a log line, which these do not reach.
                    let _ = write!(text, "network not joined: {why}");
                    device.log(BoardClock.now(), LogLevel::Warn, &text);
                    told = Some(why);
                }
            }
        }
        Timer::after_secs(wait_s).await;
        wait_s = (2 * wait_s).min(RETRY_S_MAX);
    }
}

async fn join(radio: Control, network: &Network) -> Result<(), &'static str> {
    let passphrase = network.passphrase.reveal().as_bytes();
    let options = if passphrase.is_empty() { JoinOptions::new_open() } else { JoinOptions::new(passphrase) };
    let mut radio = radio.lock().await;
    let joined = with_timeout(Duration::from_secs(JOIN_S), radio.join(&network.ssid, options)).await;
    joined.map_err(|_| "the access point does not answer")?.map_err(|error| match error {
        JoinError::NetworkNotFound => "no access point has its name",
        JoinError::AuthenticationFailure => "the passphrase is wrong",
        JoinError::JoinFailure(_) => "the access point refuses",
    })
}
