//! A name, a network and credentials for a device: over its line, or as an image for its flash.
//!
//! In: what a person decided. Out: settings stored by the device, or bytes for a flashing tool. Invariants: the same settings mean the same
//! on both ways; what no device takes is refused before anything is sent. Not here: where secrets come from (`secrets`).

use super::line::{Line, TalkError};
use super::secrets::Files;
use headwater_device::image::{self, Image, ImageError};
use headwater_device::limits::{BATCH_AGE_MS_MAX, PERIOD_MS_MAX, PERIOD_MS_MIN};
use headwater_device::partition::Partition;
use headwater_telemetry::limits::CREDENTIALS_BYTES_MAX;
use headwater_telemetry::{Config, Credentials, CredentialsPart, Hello, Order};

/// What a device is to be. Whatever is in here, some device takes.
#[derive(Debug)]
pub struct Provisioning {
    config: Config,
    credentials: Option<(Files, String)>,
    removes_credentials: bool,
}

/// Settings that no device takes.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The period between readings.
    #[error("period of {0} ms, expected {PERIOD_MS_MIN} ms to a day")]
    Period(u32),
    /// The age of a batch.
    #[error("batch age of {0} ms, expected at most {BATCH_AGE_MS_MAX} ms")]
    BatchAge(u32),
    /// The name that the gateway's certificate is to have.
    #[error("server name \"{0}\", expected a name without blanks")]
    ServerName(String),
    /// Certificates and key together.
    #[error(
        "authority, certificate and key have {0} bytes together, expected at most {CREDENTIALS_BYTES_MAX}: certificates with fewer or shorter \
         names are smaller"
    )]
    Credentials(usize),
}

impl Provisioning {
    /// Settings, with credentials for TLS and the name that the gateway's certificate must have; or the removal of credentials that are
    /// there. With neither, a device keeps those it has.
    ///
    /// # Errors
    /// No device takes them.
    pub fn new(
        config: Config,
        credentials: Option<(Files, String)>,
        removes_credentials: bool,
    ) -> Result<Self, SettingsError> {
        let (period_ms, batch_age_ms) = (config.period_ms, config.batch_age_ms);
        if period_ms != 0 && !(PERIOD_MS_MIN..=PERIOD_MS_MAX).contains(&period_ms) {
            return Err(SettingsError::Period(period_ms));
        }
        if batch_age_ms > BATCH_AGE_MS_MAX {
            return Err(SettingsError::BatchAge(batch_age_ms));
        }
        let checked = Self { config, credentials, removes_credentials };
        if let Some(credentials) = checked.credentials() {
            let name = credentials.server_name;
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(SettingsError::ServerName(name.to_owned()));
            }
            let mut room = [0; CREDENTIALS_BYTES_MAX];
            credentials.encode(&mut room).map_err(|error| SettingsError::Credentials(error.len))?;
        }
        Ok(checked)
    }

    fn credentials(&self) -> Option<Credentials<'_>> {
        self.credentials.as_ref().map(|(files, server_name)| files.credentials(server_name))
    }
}

/// Gives a device its settings, restarts it, and returns the hello of its new start.
///
/// # Errors
/// The device refuses or does not answer. Settings that were taken before that hold from its next start on.
pub async fn provision(line: &mut Line, what: &Provisioning) -> Result<Hello, TalkError> {
    let device = line.hello().await?;
    if let Some(credentials) = what.credentials() {
        let mut room = zeroize::Zeroizing::new([0; CREDENTIALS_BYTES_MAX]);
        let encoded = credentials.encode(&mut room).expect("they were checked to fit");
        let refusal = "credentials: its firmware has no TLS";
        for part in CredentialsPart::all(encoded) {
            line.order(&device, Order::Credentials(part), refusal).await?;
        }
    } else if what.removes_credentials {
        let refusal = "removing credentials: its firmware has no TLS, and holds none";
        line.order(&device, Order::Credentials(CredentialsPart::removal()), refusal).await?;
    }
    let refusal = "these settings: a gateway on a board without network, or Wi-Fi on one without radio";
    line.order(&device, Order::Provision(what.config.clone()), refusal).await?;
    let hello = line.reboot(&device).await?;
    if hello.device != what.config.device {
        return Err(TalkError::Name { found: hello.device, expected: what.config.device.clone() });
    }
    Ok(hello)
}

/// The partition of a board that has these settings, made by the device's own code.
///
/// # Errors
/// The board has no room for them.
pub fn image_bytes(partition: &Partition, what: &Provisioning) -> Result<Image, ImageError> {
    image::make(partition, &what.config, what.credentials().as_ref())
}
