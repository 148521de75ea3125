//! A name, a network and credentials for a device: over its line, or as an image for its flash.
//!
//! In: what a person decided. Out: settings stored by the device, or bytes for a flashing tool. Invariant: the same settings mean the same
//! on both ways. Not here: where secrets come from (`secrets`).

use super::line::{Line, TalkError};
use super::secrets::Files;
use headwater_device::image::{self, Image, ImageError};
use headwater_device::partition::Partition;
use headwater_telemetry::{Config, Credentials, CredentialsPart, Hello, Order};
use tokio::io::{AsyncRead, AsyncWrite};

/// What a device is to be.
#[derive(Debug)]
pub struct Provisioning {
    /// Name, network, gateway, periods.
    pub config: Config,
    /// Credentials for TLS, and the name that the gateway's certificate must have.
    pub credentials: Option<(Files, String)>,
    /// Remove credentials that are there.
    pub without_credentials: bool,
}

impl Provisioning {
    fn credentials(&self) -> Option<Credentials<'_>> {
        self.credentials.as_ref().map(|(files, server_name)| files.credentials(server_name))
    }
}

/// Gives a device its settings, restarts it, and returns the hello of its new start.
///
/// # Errors
/// The device refuses or does not answer. Settings that were taken before that hold from its next start on.
pub async fn provision<S: AsyncRead + AsyncWrite + Unpin>(
    line: &mut Line<S>,
    what: &Provisioning,
) -> Result<Hello, TalkError> {
    let device = line.hello().await?;
    if let Some(credentials) = what.credentials() {
        let refusal = "credentials: its firmware has no TLS, or they are larger than it has room for";
        let mut room = [0; headwater_telemetry::limits::CREDENTIALS_BYTES_MAX];
        let encoded = credentials.encode(&mut room).map_err(|_| TalkError::Refused {
            device: device.device.to_string(),
            what: format!(
                "credentials are larger than {} bytes",
                headwater_telemetry::limits::CREDENTIALS_BYTES_MAX
            ),
        })?;
        for part in CredentialsPart::all(encoded) {
            line.order(&device, Order::Credentials(part), refusal).await?;
        }
    } else if what.without_credentials {
        line.order(&device, Order::Credentials(CredentialsPart::removal()), "removing credentials").await?;
    }
    let refusal = "these settings: a network it has no means for, or a period out of range";
    line.order(&device, Order::Provision(what.config.clone()), refusal).await?;
    line.reboot(&device).await
}

/// The partition of a board that has these settings, made by the device's own code.
///
/// # Errors
/// The board has no room for them.
pub fn image_bytes(partition: &Partition, what: &Provisioning) -> Result<Image, ImageError> {
    image::make(partition, &what.config, what.credentials().as_ref())
}
