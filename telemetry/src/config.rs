//! What a person gives a device without recompiling it.
//!
//! In: a form, a command line. Out: [`Config`], stored in device flash. Invariant: a secret never shows in `Debug`
//! and is never sent up. Not here: how it is stored.

use crate::limits::{HOST_BYTES_MAX, SECRET_BYTES_MAX, SSID_BYTES_MAX, USER_BYTES_MAX};
use crate::{DeviceId, TooLong, value::bounded};
use core::fmt;
use heapless::String;
use serde::{Deserialize, Serialize};

/// Settings of a device. A device that never got one runs with its firmware's defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The name the device takes, from its next boot on.
    pub device: DeviceId,
    /// Network to join; none for a device on a serial link.
    pub network: Option<Network>,
    /// Where to send; none for a device on a serial link.
    pub uplink: Option<Uplink>,
    /// Milliseconds between two readings of a channel; 0 keeps the firmware's period of each channel.
    pub period_ms: u32,
    /// A batch is closed at this age at the latest, in milliseconds; 0 keeps the firmware's. This is also the most
    /// that a power cut takes.
    pub batch_age_ms: u32,
}

/// A [`Config`] where it lies in its bytes. The bytes are the same, nothing is copied: on a small device a `Config` and its making take
/// 2 KB of stack. Lengths are not checked. It does not show itself, because it holds secrets.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct ConfigRef<'b> {
    /// As [`Config::device`].
    pub device: &'b str,
    /// Name and passphrase, as [`Network`].
    pub network: Option<(&'b str, &'b str)>,
    /// Host, port, user and password, as [`Uplink`].
    pub uplink: Option<(&'b str, u16, &'b str, &'b str)>,
    /// As [`Config::period_ms`].
    pub period_ms: u32,
    /// As [`Config::batch_age_ms`].
    pub batch_age_ms: u32,
}

/// A Wi-Fi network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub ssid: String<SSID_BYTES_MAX>,
    /// Its passphrase; empty for an open network.
    pub passphrase: Secret,
}

/// A gateway that a networked device publishes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uplink {
    /// Host name or address.
    pub host: String<HOST_BYTES_MAX>,
    /// Port.
    pub port: u16,
    /// User name; empty for none.
    pub user: String<USER_BYTES_MAX>,
    /// Password; empty for none.
    pub password: Secret,
}

/// What became of a [`Config`]. Grows only at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigOutcome {
    /// It is in flash and holds from the next boot on.
    Stored,
    /// The device cannot use it (a network on a device without radio, say); nothing changed.
    Refused,
    /// Flash did not take it; the former one may be lost.
    FlashFailed,
}

/// A text of at most [`SECRET_BYTES_MAX`] bytes that does not show itself.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(String<SECRET_BYTES_MAX>);

impl Secret {
    /// Takes a secret.
    ///
    /// # Errors
    /// When it has more than 64 bytes.
    pub fn new(text: &str) -> Result<Self, TooLong> {
        bounded(text).map(Self)
    }

    /// The secret itself. Do not log it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(none)" } else { "(hidden)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn a_config_and_one_in_its_bytes_say_the_same() {
        let uplink = Uplink {
            host: bounded("gateway.local").unwrap(),
            port: 1883,
            user: bounded("porch").unwrap(),
            password: Secret::new("battery staple").unwrap(),
        };
        let network =
            Network { ssid: bounded("home").unwrap(), passphrase: Secret::new("correct horse").unwrap() };
        for (network, uplink) in [(None, None), (None, Some(uplink.clone())), (Some(network), Some(uplink))] {
            let device = DeviceId::parse("porch").unwrap();
            let config = Config { device, network, uplink, period_ms: 1_000, batch_age_ms: 70_000 };
            let mut buf = [0; 512];
            let bytes = postcard::to_slice(&config, &mut buf).unwrap();
            let (read, rest): (ConfigRef<'_>, _) = postcard::take_from_bytes(bytes).unwrap();
            assert!(rest.is_empty());
            assert_eq!((read.device, read.period_ms, read.batch_age_ms), ("porch", 1_000, 70_000));
            let network = config.network.as_ref();
            let expected = network.map(|network| (network.ssid.as_str(), network.passphrase.reveal()));
            assert!(read.network == expected);
            let uplink = config.uplink.as_ref();
            let expected = uplink.map(|uplink| {
                (uplink.host.as_str(), uplink.port, uplink.user.as_str(), uplink.password.reveal())
            });
            assert!(read.uplink == expected);
        }
    }

    #[test]
    fn debug_of_a_config_shows_no_secret() {
        let config = Config {
            device: DeviceId::parse("porch").unwrap(),
            network: Some(Network {
                ssid: bounded("home").unwrap(),
                passphrase: Secret::new("correct horse").unwrap(),
            }),
            uplink: Some(Uplink {
                host: bounded("gateway.local").unwrap(),
                port: 1883,
                user: bounded("porch").unwrap(),
                password: Secret::new("battery staple").unwrap(),
            }),
            period_ms: 1000,
            batch_age_ms: 0,
        };
        let shown = format!("{config:?} {config:#?}");
        assert!(shown.contains("home") && shown.contains("(hidden)"));
        assert!(!shown.contains("correct") && !shown.contains("staple"));
    }
}
