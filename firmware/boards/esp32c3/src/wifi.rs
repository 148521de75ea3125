//! The radio: joins the network of the configuration, again and again.
//!
//! In: the radio, a network. Out: frames for `uplink`. Invariants: a network that is away, or does not want us, never ends the program;
//! why is told once, not at every try. Not here: addresses and connections.

use crate::BoardDevice;
use crate::clock::BoardClock;
use core::fmt::Write;
use embassy_time::Timer;
use esp_hal::peripherals::WIFI;
use esp_hal::ram;
use esp_radio::wifi::sta::StationConfig;
use esp_radio::wifi::{
    AuthenticationMethodConfig, Config, ConnectionError, ControllerConfig, DisconnectReason, WifiController,
    WifiError,
};
use headwater_device::Clock;
use headwater_telemetry::limits::LOG_BYTES_MAX;
use headwater_telemetry::{LogLevel, Network};

/// Bytes of heap, which only the radio uses: its documentation names 47 to 57 KB for a station. The first part is RAM
/// that the bootloader has left.
const RECLAIMED_BYTES: usize = 64 * 1024;
const HEAP_BYTES: usize = 32 * 1024;

/// Seconds between two attempts to join: the first, and the longest after doubling.
const RETRY_S_MIN: u64 = 1;
const RETRY_S_MAX: u64 = 60;

/// Gives the radio its memory. To be called once, before tasks are started.
pub(crate) fn give_heap() {
    esp_alloc::heap_allocator!(#[ram(reclaimed)] size: RECLAIMED_BYTES);
    esp_alloc::heap_allocator!(size: HEAP_BYTES);
}

/// Switches the radio on. None when it cannot be used with this network, and why is told: data goes to the serial port.
pub(crate) fn open(
    device: &BoardDevice,
    radio: WIFI<'static>,
    network: &Network,
) -> Option<WifiController<'static>> {
    let opened = station(network).and_then(|station| {
        let config = ControllerConfig::default().with_initial_config(Config::Station(station));
        WifiController::new(radio, config)
    });
    let why = match opened {
        Ok(controller) => return Some(controller),
        Err(WifiError::InvalidPassword | WifiError::InvalidArguments) => "a passphrase has 8 to 64 bytes",
        Err(WifiError::InvalidSsid) => "the name of a network has 1 to 32 bytes",
        Err(_) => "the radio does not start",
    };
    device.log(BoardClock.now(), LogLevel::Error, why);
    None
}

fn station(network: &Network) -> Result<StationConfig, WifiError> {
    let passphrase = network.passphrase.reveal();
    let authentication = match passphrase.len() {
        0 => AuthenticationMethodConfig::Open,
        1..8 => return Err(WifiError::InvalidPassword),
        // What is asked for at least: a network with WPA3 is joined as well.
        _ => AuthenticationMethodConfig::Wpa2Personal(passphrase.try_into()?),
    };
    let station = StationConfig::default().with_ssid(network.ssid.as_str().try_into()?);
    Ok(station.with_authentication(authentication))
}

/// Joins the network, for ever.
pub(crate) async fn keep_joined(device: &BoardDevice, mut controller: WifiController<'static>) {
    let (mut told, mut wait_s) = (None, RETRY_S_MIN);
    loop {
        match controller.connect_async().await {
            Ok(_) => {
                if told.take().is_some() {
                    device.log(BoardClock.now(), LogLevel::Info, "network joined");
                }
                wait_s = RETRY_S_MIN;
                // Whatever ends it, the next attempt finds out.
                let _ = controller.wait_for_disconnect_async().await;
            }
            Err(error) => {
                let why = why(error);
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

fn why(error: ConnectionError) -> &'static str {
    use DisconnectReason as Reason;
    let ConnectionError::Failed(info) = error else { return "the radio refuses" };
    match info.reason {
        Reason::NoAccessPointFound => "no access point has its name",
        // An access point does not say "wrong passphrase": it stops to answer, or throws the station out.
        Reason::FourWayHandshakeTimeout
        | Reason::HandshakeTimeout
        | Reason::AuthenticationFailed
        | Reason::AuthenticationExpired
        | Reason::MicFailure
        | Reason::_802_1xAuthenticationFailed => "the passphrase is wrong",
        Reason::NoAccessPointFoundWithCompatibleSecurity | Reason::NoAccessPointFoundInAuthmodeThreshold => {
            "its security is less than WPA2"
        }
        Reason::AssociationTooMany => "the access point is full",
        Reason::NoAccessPointFoundInRssiThreshold | Reason::BeaconTimeout => "the signal is weak",
        _ => "the access point refuses",
    }
}
