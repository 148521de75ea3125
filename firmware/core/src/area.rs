//! The settings area: how often the device has started, and the configuration a person gave it.
//!
//! ```text
//! page   | AreaHeader: number | Config, if any | Boot | Boot | Config | ... | erased |
//! ```
//! The newest page counts; in it the last record of each kind. A full page is copied into the next one, whose header
//! is written last, so that a copy cut short does not count and the old page still does.
//!
//! Own code rather than `sequential-storage`'s map: two kinds of value need none of its key search, cache and garbage
//! collection; the record codec is the ring's; and a region that holds anything else is formatted instead of being an
//! error at every start.
//!
//! Invariant: the boot counter never goes back while one page is whole. Not here: what a setting means.

use crate::item::FlashError;
use crate::limits::AREA_PAGES_MIN;
use crate::record::{Io, Kind};
use core::ops::Range;
use embedded_storage_async::nor_flash::NorFlash;
use headwater_telemetry::{BootId, Config};

pub(crate) struct Area {
    start: u32,
    pages: u32,
    newest: Option<u32>,
    write: u32,
    boot: BootId,
    /// Offset of the last configuration in the newest page.
    config_at: Option<u32>,
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
        };
        assert!(area.pages >= AREA_PAGES_MIN, "a settings area needs at least {AREA_PAGES_MIN} pages");
        let mut blank = true;
        for slot in 0..area.pages {
            let page = area.address::<F>(slot);
            let Some(found) = io.read(page, 0).await? else {
                blank = blank && io.blank_from(page, 0).await?;
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
                Kind::Config => self.config_at = Some(offset),
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

    /// Counts a start: higher than every one before and than `seen`; where nothing was counted yet, higher than `after`
    /// as well. Durable on return.
    pub(crate) async fn count_boot<F: NorFlash>(
        &mut self,
        io: &mut Io<F>,
        seen: BootId,
        after: BootId,
    ) -> Result<BootId, F::Error> {
        let after = if self.newest.is_none() { after } else { BootId(0) };
        self.boot = BootId(self.boot.max(seen).max(after).0.saturating_add(1));
        let size = io.seal_value(Kind::Boot, &self.boot).expect("a number fits the scratch");
        let full = self.newest.is_none() || self.write + size > Io::<F>::PAGE;
        // A word whose writing was cut short may read as erased and yet refuse: without a way round it the device
        // would fail at every start. Turning writes the counter into a new page.
        if full || self.append(io, size).await.is_err() {
            self.turn(io).await?;
        }
        Ok(self.boot)
    }

    /// The stored configuration.
    pub(crate) async fn config<F: NorFlash>(&self, io: &mut Io<F>) -> Result<Option<Config>, F::Error> {
        let (Some(newest), Some(at)) = (self.newest, self.config_at) else { return Ok(None) };
        let found = io.read(self.address::<F>(newest), at).await?;
        Ok(found.and_then(|found| postcard::from_bytes(io.payload(found)).ok()))
    }

    /// Stores a configuration; durable on return.
    pub(crate) async fn store_config<F: NorFlash>(
        &mut self,
        io: &mut Io<F>,
        config: &Config,
    ) -> Result<(), FlashError<F::Error>> {
        let mut size = io.seal_value(Kind::Config, config).ok_or(FlashError::TooLong)?;
        let mut at = self.write;
        let full = self.newest.is_none() || at + size > Io::<F>::PAGE;
        if full || self.append(io, size).await.is_err() {
            self.turn(io).await?;
            size = io.seal_value(Kind::Config, config).ok_or(FlashError::TooLong)?;
            at = self.write;
            self.append(io, size).await?;
        }
        self.config_at = Some(at);
        Ok(())
    }

    async fn append<F: NorFlash>(&mut self, io: &mut Io<F>, size: u32) -> Result<(), F::Error> {
        let newest = self.newest.expect("a page was turned to before anything is appended");
        let at = self.write;
        self.write = Io::<F>::PAGE;
        io.write(self.address::<F>(newest) + at, size).await?;
        self.write = at + size;
        Ok(())
    }

    async fn turn<F: NorFlash>(&mut self, io: &mut Io<F>) -> Result<(), F::Error> {
        let next = self.newest.map_or(0, |newest| newest + 1);
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
        let size = io.seal_value(Kind::Boot, &self.boot).expect("a number fits the scratch");
        io.write(page + at, size).await?;
        at += size;
        let size = io.seal_value(Kind::AreaHeader, &next).expect("a number fits the scratch");
        io.write(page, size).await?;
        (self.newest, self.write, self.config_at) = (Some(next), at, config_at);
        Ok(())
    }
}
