//! In the place of the vault, in firmware that cannot use credentials: it takes none and holds none.
//!
//! In: nothing. Out: refusals. Invariant: the region is not touched, so credentials of another firmware stay. It saves 4 KB
//! of flash on a board that has no TLS.

use crate::item::FlashError;
use crate::record::Io;
use core::ops::Range;
use embedded_storage_async::nor_flash::NorFlash;
use headwater_telemetry::limits::CREDENTIALS_BYTES_MAX;
use headwater_telemetry::{CommandOutcome, CredentialsPart};

/// What [`Vault::open`] found: nothing, ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VaultFound {
    pub(crate) formatted: bool,
    pub(crate) damaged: bool,
}

/// No vault.
pub(crate) struct Vault;

impl Vault {
    /// Any region will do.
    #[expect(clippy::extra_unused_type_parameters, reason = "called as that of the vault is")]
    pub(crate) const fn half_pages_min<F: NorFlash>() -> u32 {
        0
    }

    /// Does not look.
    pub(crate) async fn open<F: NorFlash>(
        _: &mut Io<F>,
        _: Range<u32>,
    ) -> Result<(Self, VaultFound), F::Error> {
        Ok((Self, VaultFound::default()))
    }

    /// Refuses.
    pub(crate) async fn take<F: NorFlash>(
        &mut self,
        _: &mut Io<F>,
        _: &CredentialsPart,
    ) -> Result<CommandOutcome, F::Error> {
        Ok(CommandOutcome::Refused)
    }

    /// None.
    pub(crate) async fn read<'b, F: NorFlash>(
        &self,
        _: &mut Io<F>,
        _: &'b mut [u8; CREDENTIALS_BYTES_MAX],
    ) -> Result<Option<&'b [u8]>, FlashError<F::Error>> {
        Ok(None)
    }
}
