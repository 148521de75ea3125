//! The settings area: how often the device has started, the configuration a person gave it, and what commands left behind.
//!
//! ```text
//! page   | AreaHeader: number | Config, if any | Orders, if any | Boot | Boot | Orders | Config | ... | erased |
//! Config = configuration, then the id of the command that brought it, if one did
//! Orders = schema, periods by channel, the last commands with their outcomes
//! ```
//! The newest page counts; in it the last record of each kind. A full page is copied into the next one, whose header
//! is written last, so that a copy cut short does not count and the old page still does. A page that takes no copy is
//! passed over for the next; a device whose pages are all worn starts all the same, see [`Area::count_boot`].
//!
//! Own code rather than `sequential-storage`'s map: three kinds of value need none of its key search, cache and garbage
//! collection; the record codec is the ring's; and a region that holds anything else is formatted instead of being an
//! error at every start.
//!
//! Invariants: the boot counter never goes back while one page is whole; the effect of a command and the memory of it
//! are one record. Not here: what a setting means.

use crate::Reach;
use crate::item::FlashError;
use crate::limits::AREA_PAGES_MIN;
use crate::orders::Orders;
use crate::record::{Io, Kind};
use core::ops::Range;
use embedded_storage_async::nor_flash::NorFlash;
use headwater_telemetry::{BootId, CommandId, CommandOutcome, Config, ConfigRef, DeviceId};

/// What of a configuration every start needs.
pub(crate) struct Brief {
    pub(crate) device: DeviceId,
    /// What a board must be able to do for it.
    pub(crate) reach: Reach,
    pub(crate) period_ms: u32,
    pub(crate) batch_age_ms: u32,
}

pub(crate) struct Area {
    start: u32,
    pages: u32,
    newest: Option<u32>,
    write: u32,
    boot: BootId,
    /// Offset of the last configuration in the newest page.
    config_at: Option<u32>,
    orders: Orders,
}

impl Area {
    /// Finds the newest page; the flag tells that the region held something else and counts as empty.
    pub(crate) async fn open<F: NorFlash>(
        io: &mut Io<F>,
        range: Range<u32>,
    ) -> Result<(Self, bool), F::Error> {
        let mut area = Self {
            start: range.start,
            pages: (range.end - range.start) / Io::<F>::PAGE,
            newest: None,
            write: Io::<F>::PAGE,
            boot: BootId(0),
            config_at: None,
            orders: Orders::default(),
        };
        assert!(area.pages >= AREA_PAGES_MIN, "a settings area needs at least {AREA_PAGES_MIN} pages");
        let mut blank = true;
        for slot in 0..area.pages {
            let page = area.address::<F>(slot);
            let Some(found) = io.read(page, 0).await? else {
                // The very first page may have been cut short: its counter is written before its header.
                let from = if slot == 0 { 2 * Io::<F>::padded(5) } else { 0 };
                blank = blank && io.blank_from(page, from).await?;
                continue;
            };
            let number = postcard::from_bytes::<u32>(io.payload(found)).ok();
            let number =
                number.filter(|number| found.kind == Kind::AreaHeader && number % area.pages == slot);
            blank = blank && number.is_some();
            area.newest = area.newest.max(number);
        }
        match area.newest {
            Some(newest) => area.walk(io, newest).await?,
            None => return Ok((area, !blank)),
        }
        Ok((area, false))
    }

    async fn walk<F: NorFlash>(&mut self, io: &mut Io<F>, newest: u32) -> Result<(), F::Error> {
        let page = self.address::<F>(newest);
        let mut offset = 0;
        while let Some(found) = io.read(page, offset).await? {
            match found.kind {
                Kind::Boot => {
                    let boot = postcard::from_bytes::<u32>(io.payload(found)).unwrap_or(0);
                    self.boot = self.boot.max(BootId(boot));
                }
                Kind::Config => {
                    self.config_at = Some(offset);
                    if let Some((_, Some(id))) = config_ref(io.payload(found)) {
                        self.orders.remember(id, CommandOutcome::Done);
                    }
                }
                Kind::Orders => {
                    if let Ok(orders) = postcard::from_bytes(io.payload(found)) {
                        self.orders = orders;
                    }
                }
                _ => {}
            }
            offset = found.next;
        }
        self.write = if io.blank_from(page, offset).await? { offset } else { Io::<F>::PAGE };
        Ok(())
    }

    fn address<F: NorFlash>(&self, page: u32) -> u32 {
        self.start + page % self.pages * Io::<F>::PAGE
    }

    /// What commands left behind.
    pub(crate) fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Counts a start: higher than every one before and than `seen`; where nothing was counted yet, higher than `after`
    /// as well. The flag tells whether that is durable. Where no page takes it although the flash can be read, the number
    /// is as good as long as `seen` is higher than every number that entries were stored under.
    pub(crate) async fn count_boot<F: NorFlash>(
        &mut self,
        io: &mut Io<F>,
        seen: BootId,
        after: BootId,
    ) -> Result<(BootId, bool), F::Error> {
        // An area that a host made holds a configuration and no start.
        let after = if self.boot == BootId(0) { after } else { BootId(0) };
        self.boot = BootId(self.boot.max(seen).max(after).0.saturating_add(1));
        let size = io.seal_value(Kind::Boot, &self.boot).expect("a number fits the scratch");
        let full = self.newest.is_none() || self.write + size > Io::<F>::PAGE;
        // A word whose writing was cut short may read as erased and yet refuse: without a way round it the device
        // would fail at every start. Turning writes the counter into a new page.
        if (full || self.append(io, size).await.is_err()) && self.turn(io).await.is_err() {
            io.read(self.start, 0).await?;
            return Ok((self.boot, false));
        }
        Ok((self.boot, true))
    }

    /// The stored configuration.
    pub(crate) async fn config<F: NorFlash>(&self, io: &mut Io<F>) -> Result<Option<Config>, F::Error> {
        let (Some(newest), Some(at)) = (self.newest, self.config_at) else { return Ok(None) };
        let found = io.read(self.address::<F>(newest), at).await?;
        Ok(found.and_then(|found| config(io.payload(found))).map(|(config, _)| config))
    }

    /// What of the stored configuration a start needs.
    pub(crate) async fn brief<F: NorFlash>(&self, io: &mut Io<F>) -> Result<Option<Brief>, F::Error> {
        let (Some(newest), Some(at)) = (self.newest, self.config_at) else { return Ok(None) };
        let found = io.read(self.address::<F>(newest), at).await?;
        Ok(found.and_then(|found| Brief::of(config_ref(io.payload(found))?.0)))
    }

    /// Stores a configuration, and that the command `by` did it; durable on return. The former one is erased.
    pub(crate) async fn store_config<F: NorFlash>(
        &mut self,
        io: &mut Io<F>,
        config: &Config,
        by: Option<CommandId>,
    ) -> Result<(), FlashError<F::Error>> {
        let seal = |io: &mut Io<F>| {
            io.seal(Kind::Config, |room| {
                let len = postcard::to_slice(config, room).ok()?.len();
                let Some(id) = by else { return Some(len) };
                Some(len + postcard::to_slice(&id, &mut room[len..]).ok()?.len())
            })
        };
        let at = self.put(io, seal).await?;
        let former = self.config_at.replace(at).is_some();
        if let Some(id) = by {
            self.orders.remember(id, CommandOutcome::Done);
        }
        // The former one holds secrets. Where a cut or the chip keeps it from being erased, a later turn does it.
        if former && self.turn(io).await.is_ok() {
            for other in 1..self.pages {
                let _ = io.erase(self.address::<F>(self.newest.unwrap_or(0) + other)).await;
            }
        }
        Ok(())
    }

    /// Stores what commands leave behind; durable on return.
    pub(crate) async fn store_orders<F: NorFlash>(
        &mut self,
        io: &mut Io<F>,
        orders: &Orders,
    ) -> Result<(), FlashError<F::Error>> {
        self.put(io, |io| io.seal_value(Kind::Orders, orders)).await?;
        self.orders = orders.clone();
        Ok(())
    }

    /// Remembers an outcome that flash did not take, until the next start or the next orders that it takes.
    pub(crate) fn remember(&mut self, id: CommandId, outcome: CommandOutcome) {
        self.orders.remember(id, outcome);
    }

    /// Appends what `seal` puts into the scratch, in a new page if need be, and returns its offset.
    async fn put<F: NorFlash>(
        &mut self,
        io: &mut Io<F>,
        seal: impl Fn(&mut Io<F>) -> Option<u32>,
    ) -> Result<u32, FlashError<F::Error>> {
        let mut size = seal(io).ok_or(FlashError::TooLong)?;
        let mut at = self.write;
        let full = self.newest.is_none() || at + size > Io::<F>::PAGE;
        if full || self.append(io, size).await.is_err() {
            self.turn(io).await?;
            size = seal(io).ok_or(FlashError::TooLong)?;
            at = self.write;
            self.append(io, size).await?;
        }
        Ok(at)
    }

    async fn append<F: NorFlash>(&mut self, io: &mut Io<F>, size: u32) -> Result<(), F::Error> {
        let newest = self.newest.expect("a page was turned to before anything is appended");
        let at = self.write;
        self.write = Io::<F>::PAGE;
        io.write(self.address::<F>(newest) + at, size).await?;
        self.write = at + size;
        Ok(())
    }

    /// Copies what holds into the next page that takes it.
    async fn turn<F: NorFlash>(&mut self, io: &mut Io<F>) -> Result<(), F::Error> {
        let mut next = self.newest.map_or(0, |newest| newest + 1);
        let mut turned = self.copy_to(io, next).await;
        // A worn page; every other but the one that holds what is copied may do.
        for _ in 1..self.pages - u32::from(self.newest.is_some()) {
            if turned.is_ok() {
                break;
            }
            next += 1;
            turned = self.copy_to(io, next).await;
        }
        turned
    }

    async fn copy_to<F: NorFlash>(&mut self, io: &mut Io<F>, next: u32) -> Result<(), F::Error> {
        let page = self.address::<F>(next);
        io.erase(page).await?;
        // Measured first, written last.
        let mut at = io.seal_value(Kind::AreaHeader, &next).expect("a number fits the scratch");
        let mut config_at = None;
        if let (Some(newest), Some(old)) = (self.newest, self.config_at)
            && let Some(found) = io.read(self.address::<F>(newest), old).await?
        {
            let size = io.seal(Kind::Config, |_| Some(found.len)).expect("what was read fits the scratch");
            io.write(page + at, size).await?;
            config_at = Some(at);
            at += size;
        }
        if !self.orders.is_empty() {
            let size = io.seal_value(Kind::Orders, &self.orders).expect("ORDERS_BYTES_MAX fits the scratch");
            io.write(page + at, size).await?;
            at += size;
        }
        let size = io.seal_value(Kind::Boot, &self.boot).expect("a number fits the scratch");
        io.write(page + at, size).await?;
        at += size;
        let size = io.seal_value(Kind::AreaHeader, &next).expect("a number fits the scratch");
        io.write(page, size).await?;
        (self.newest, self.write, self.config_at) = (Some(next), at, config_at);
        Ok(())
    }
}

impl Brief {
    #[inline(never)]
    fn of(config: ConfigRef<'_>) -> Option<Self> {
        let device = DeviceId::parse(config.device).ok()?;
        let reach = match (config.network, config.uplink) {
            (None, None) => Reach::Stream,
            (None, Some(_)) => Reach::Network,
            (Some(_), _) => Reach::Radio,
        };
        Some(Self { device, reach, period_ms: config.period_ms, batch_age_ms: config.batch_age_ms })
    }
}

/// As [`config`], without making one.
fn config_ref(payload: &[u8]) -> Option<(ConfigRef<'_>, Option<CommandId>)> {
    let (config, rest) = postcard::take_from_bytes(payload).ok()?;
    Some((config, postcard::from_bytes(rest).ok()))
}

/// A configuration and the command that brought it; area pages of older firmware have no command there.
fn config(payload: &[u8]) -> Option<(Config, Option<CommandId>)> {
    let (config, rest) = postcard::take_from_bytes(payload).ok()?;
    Some((config, postcard::from_bytes(rest).ok()))
}
