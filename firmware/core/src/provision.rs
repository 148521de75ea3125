//! Settings and credentials without a device: for a host that writes them into flash, or into an image of it.
//!
//! In: flash, a configuration, credentials. Out: what a device finds there at its next start. Invariants: it is the
//! device's own code that writes, so what is written is what is read; no start is counted, and the ring is not touched.
//! Not here: how an image reaches a chip.

use crate::area::Area;
use crate::item::FlashError;
use crate::orders::config_fits;
use crate::record::Io;
use crate::spool::check;
use crate::vault::Vault;
use crate::{Layout, OpenError};
use embedded_storage_async::nor_flash::NorFlash;
use headwater_telemetry::limits::CREDENTIALS_BYTES_MAX;
use headwater_telemetry::{CommandOutcome, Config, Credentials, CredentialsPart};

/// The settings area and the vault of a flash.
pub struct Provision<F> {
    io: Io<F>,
    area: Area,
    vault: Vault,
}

impl<F: NorFlash> Provision<F> {
    /// Opens settings area and vault. What they hold of something else is taken as nothing.
    ///
    /// # Errors
    /// When the driver fails or the layout does not fit the flash.
    pub async fn open(flash: F, layout: Layout) -> Result<Self, OpenError<F::Error>> {
        check::<F>(&layout, flash.capacity()).ok_or(OpenError::Layout)?;
        let mut io = Io::new(flash);
        let (area, _) = Area::open(&mut io, layout.area).await.map_err(OpenError::Driver)?;
        let (vault, _) = Vault::open(&mut io, layout.vault).await.map_err(OpenError::Driver)?;
        Ok(Self { io, area, vault })
    }

    /// The stored configuration. Holds secrets.
    ///
    /// # Errors
    /// When flash fails.
    pub async fn config(&mut self) -> Result<Option<Config>, F::Error> {
        self.area.config(&mut self.io).await
    }

    /// Stores a configuration; durable on return.
    ///
    /// # Errors
    /// [`FlashError::Refused`] for periods or ages that a device refuses; when flash fails.
    pub async fn store_config(&mut self, config: &Config) -> Result<(), FlashError<F::Error>> {
        if !config_fits(config) {
            return Err(FlashError::Refused);
        }
        self.area.store_config(&mut self.io, config, None).await
    }

    /// Stores credentials in place of what there is; durable on return.
    ///
    /// # Errors
    /// [`FlashError::TooLong`] beyond [`CREDENTIALS_BYTES_MAX`], [`FlashError::Refused`] when a field is empty, the name has
    /// blanks, or there is no vault; when flash fails.
    pub async fn store_credentials(
        &mut self,
        credentials: &Credentials<'_>,
    ) -> Result<(), FlashError<F::Error>> {
        let mut out = [0u8; CREDENTIALS_BYTES_MAX];
        let encoded = credentials.encode(&mut out).map_err(|_| FlashError::TooLong)?;
        for part in CredentialsPart::all(encoded) {
            self.take(&part).await?;
        }
        Ok(())
    }

    /// Erases the stored credentials; durable on return.
    ///
    /// # Errors
    /// [`FlashError::Refused`] when there is no vault; when flash fails.
    pub async fn remove_credentials(&mut self) -> Result<(), FlashError<F::Error>> {
        self.take(&CredentialsPart::removal()).await
    }

    async fn take(&mut self, part: &CredentialsPart) -> Result<(), FlashError<F::Error>> {
        match self.vault.take(&mut self.io, part).await? {
            CommandOutcome::Done => Ok(()),
            _ => Err(FlashError::Refused),
        }
    }

    /// Gives the flash back.
    pub fn into_flash(self) -> F {
        self.io.flash
    }
}
