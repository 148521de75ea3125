//! The device's flash: settings area, vault and ring side by side on one chip.
//!
//! In: batches, deliveries, settings, credentials. Out: what to send, the boot counter. Invariant: no future that writes is ever
//! cancelled half way by this crate. Not here: sampling, links.

use crate::area::{Area, Brief};
use crate::item::{Cursor, FlashError, Item, Lost};
use crate::limits::{AREA_PAGES_MIN, BOOTS_FROM_BITS, RING_PAGES_MIN};
use crate::orders::Orders;
use crate::record::Io;
use crate::ring::Ring;
use crate::time::TimeMark;
use crate::vault::Vault;
use core::fmt;
use core::ops::Range;
use embedded_storage_async::nor_flash::NorFlash;
use headwater_telemetry::limits::{BODY_BYTES_MAX, CREDENTIALS_BYTES_MAX};
use headwater_telemetry::{
    Batch, BootId, CommandId, CommandOutcome, Config, Credentials, CredentialsPart, Schema,
};

/// Which bytes of the flash are whose, in bytes from its start, by whole pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Boot counter, configuration and what commands left behind: two pages or more. With three it outlives a worn one.
    pub area: Range<u32>,
    /// Batches: three pages or more; one of them is always free.
    pub ring: Range<u32>,
    /// Credentials for TLS: an even number of pages, each half as large as the largest credentials with their record
    /// headers; or empty, on a device that never speaks TLS.
    pub vault: Range<u32>,
}

impl Layout {
    /// A layout without room for credentials.
    pub fn without_vault(area: Range<u32>, ring: Range<u32>) -> Self {
        let vault = ring.end..ring.end;
        Self { area, ring, vault }
    }
}

/// Why a spool does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError<E> {
    /// The flash driver failed.
    Driver(E),
    /// The layout has ranges that overlap, are not whole pages, too short or beyond the chip.
    Layout,
}

impl<E: fmt::Debug> fmt::Display for OpenError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => write!(f, "flash driver failed with {error:?}"),
            Self::Layout => f.write_str(
                "flash layout must be whole pages inside the chip, 2 for settings, 3 for data, none or twice \
                     what credentials take for the vault",
            ),
        }
    }
}

/// What a start found in flash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The settings area held something else: boot counter and configuration begin anew.
    pub area_formatted: bool,
    /// No page of the settings area takes the boot counter any more. This start counts from what the ring holds, which is
    /// above every start that left something; settings and commands can no longer be stored.
    pub area_worn: bool,
    /// The ring held something else: it begins empty.
    pub ring_formatted: bool,
    /// The vault held something else: there are no credentials.
    pub vault_formatted: bool,
    /// There were credentials, and they decayed.
    pub vault_damaged: bool,
    /// The newest page ends in a record that was cut off by the end of power.
    pub torn: bool,
}

/// Flash with its regions open.
pub struct Spool<F> {
    io: Io<F>,
    area: Area,
    ring: Ring,
    vault: Vault,
}

impl<F: NorFlash> Spool<F> {
    /// Opens every region and counts this start; the new boot is durable on return. A region that holds anything
    /// foreign or damaged beyond use is taken as empty, never as a reason not to start.
    ///
    /// # Errors
    /// When the driver fails or the layout does not fit the chip.
    pub async fn open(flash: F, layout: Layout) -> Result<(Self, BootId, Found), OpenError<F::Error>> {
        Self::open_counting_from(flash, layout, 0).await
    }

    /// As [`Spool::open`]; on a chip where no start was ever counted, counting begins after `boots_from`, of which the
    /// lower [`BOOTS_FROM_BITS`] bits are used. Why this should be a random number is in
    /// [`Settings::boots_from`](crate::Settings::boots_from).
    ///
    /// # Errors
    /// When the driver fails or the layout does not fit the chip.
    pub async fn open_counting_from(
        flash: F,
        layout: Layout,
        boots_from: u32,
    ) -> Result<(Self, BootId, Found), OpenError<F::Error>> {
        check::<F>(&layout, flash.capacity()).ok_or(OpenError::Layout)?;
        let mut io = Io::new(flash);
        let (mut area, area_formatted) = Area::open(&mut io, layout.area).await.map_err(OpenError::Driver)?;
        let (ring, found) = Ring::open(&mut io, layout.ring).await.map_err(OpenError::Driver)?;
        let (vault, secrets) = Vault::open(&mut io, layout.vault).await.map_err(OpenError::Driver)?;
        let after = BootId(boots_from & ((1 << BOOTS_FROM_BITS) - 1));
        // Also above what the ring knows: a lost settings area must not bring back names that were used.
        let (boot, counted) =
            area.count_boot(&mut io, ring.boot(), after).await.map_err(OpenError::Driver)?;
        let found = Found {
            area_formatted,
            area_worn: !counted,
            ring_formatted: found.formatted,
            vault_formatted: secrets.formatted,
            vault_damaged: secrets.damaged,
            torn: found.torn,
        };
        Ok((Self { io, area, ring, vault }, boot, found))
    }

    /// Stores a batch; durable on return. When the ring is full, its oldest page becomes a counted gap first.
    /// Not to be cancelled.
    ///
    /// # Errors
    /// When flash fails: the batch is not stored, and may be given again.
    pub async fn push(&mut self, batch: &Batch) -> Result<(), FlashError<F::Error>> {
        self.ring.push(&mut self.io, batch).await
    }

    /// What follows `from`, with its body in `out`. Only reads: may be cancelled.
    ///
    /// # Errors
    /// When flash fails.
    pub async fn next(
        &mut self,
        from: Cursor,
        schema: Schema,
        out: &mut [u8; BODY_BYTES_MAX],
    ) -> Result<Option<Item>, F::Error> {
        self.ring.next(&mut self.io, from, schema, out).await
    }

    /// Everything up to `after` is durable at the receiver. Written down only now and then, so a power cut may bring
    /// back the last few. Not to be cancelled.
    ///
    /// # Errors
    /// When flash fails; the delivery counts all the same.
    pub async fn delivered(&mut self, after: Cursor) -> Result<(), F::Error> {
        if self.ring.delivered(after) { self.ring.save(&mut self.io).await } else { Ok(()) }
    }

    /// Writes down what is delivered, before a planned restart. Not to be cancelled.
    ///
    /// # Errors
    /// When flash fails.
    pub async fn save(&mut self) -> Result<(), F::Error> {
        self.ring.save(&mut self.io).await
    }

    /// Up to where everything is delivered.
    pub fn read(&self) -> Cursor {
        self.ring.read()
    }

    /// What was lost since this start because the ring was full.
    pub fn lost(&self) -> Lost {
        self.ring.lost()
    }

    /// The stored configuration, if there is one.
    ///
    /// # Errors
    /// When flash fails.
    pub async fn config(&mut self) -> Result<Option<Config>, F::Error> {
        self.area.config(&mut self.io).await
    }

    /// What of the stored configuration a start needs, if there is one.
    pub(crate) async fn brief(&mut self) -> Result<Option<Brief>, F::Error> {
        self.area.brief(&mut self.io).await
    }

    /// Stores a configuration; durable on return. The former one, and the secrets in it, are erased. Not to be cancelled.
    ///
    /// # Errors
    /// When flash fails.
    pub async fn store_config(&mut self, config: &Config) -> Result<(), FlashError<F::Error>> {
        self.area.store_config(&mut self.io, config, None).await
    }

    /// What a boot learned about the time, this start's: its batches that were stored without are handed out with it, in
    /// this start and in later ones. Written once a boot, if there are such batches, and again when it became better. Not
    /// to be cancelled.
    ///
    /// # Errors
    /// When flash fails; the mark holds until the next start, and the next page carries it.
    pub async fn learned_time(&mut self, mark: TimeMark) -> Result<(), F::Error> {
        self.ring.date(&mut self.io, mark).await
    }

    /// The stored credentials, in `out`.
    ///
    /// # Errors
    /// When flash fails, or they decayed.
    pub async fn credentials<'b>(
        &mut self,
        out: &'b mut [u8; CREDENTIALS_BYTES_MAX],
    ) -> Result<Option<Credentials<'b>>, FlashError<F::Error>> {
        let encoded = self.vault.read(&mut self.io, out).await?;
        encoded.map(|encoded| Credentials::decode(encoded).ok_or(FlashError::Damaged)).transpose()
    }

    /// Takes a piece of new credentials, which count from the last piece on; durable on return. Not to be cancelled.
    pub async fn take_credentials(&mut self, part: &CredentialsPart) -> CommandOutcome {
        self.vault.take(&mut self.io, part).await.unwrap_or(CommandOutcome::FlashFailed)
    }

    /// What commands left behind.
    pub(crate) fn orders(&self) -> &Orders {
        self.area.orders()
    }

    /// Stores what commands leave behind; durable on return.
    pub(crate) async fn store_orders(&mut self, orders: &Orders) -> Result<(), FlashError<F::Error>> {
        self.area.store_orders(&mut self.io, orders).await
    }

    /// Remembers an outcome in RAM only.
    pub(crate) fn remember(&mut self, id: CommandId, outcome: CommandOutcome) {
        self.area.remember(id, outcome);
    }

    /// As [`Spool::store_config`], and remembers the command that did it, in one write.
    pub(crate) async fn provision(
        &mut self,
        config: &Config,
        by: CommandId,
    ) -> Result<(), FlashError<F::Error>> {
        self.area.store_config(&mut self.io, config, Some(by)).await
    }

    /// The chip.
    pub fn flash(&mut self) -> &mut F {
        &mut self.io.flash
    }
}

/// Whether the layout fits a chip with such pages.
pub(crate) fn check<F: NorFlash>(layout: &Layout, capacity: usize) -> Option<()> {
    let page = Io::<F>::PAGE;
    let vault_pages_min = if layout.vault.is_empty() { 0 } else { 2 * Vault::half_pages_min::<F>() };
    let ranges =
        [(&layout.area, AREA_PAGES_MIN), (&layout.ring, RING_PAGES_MIN), (&layout.vault, vault_pages_min)];
    for (index, (range, pages_min)) in ranges.into_iter().enumerate() {
        let whole = range.start.is_multiple_of(page) && range.end.is_multiple_of(page);
        let len = range.end.checked_sub(range.start)?;
        let apart = |(other, _): &(&Range<u32>, u32)| range.end <= other.start || other.end <= range.start;
        if !whole
            || len / page < pages_min
            || range.end as usize > capacity
            || !ranges[index + 1..].iter().all(apart)
        {
            return None;
        }
    }
    (layout.vault.is_empty() || (layout.vault.len() / page as usize).is_multiple_of(2)).then_some(())
}
