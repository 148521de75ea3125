//! The spool of a device: batches in a ring of flash pages, written once, read in order, until delivered.
//!
//! A page's slot in the ring is its number modulo the number of pages, so the newest header decides everything:
//! which pages live, what is delivered, what is lost and not told yet. Turning to a page is committed by its header,
//! which declares the next slot's old page dead *before* anything erases it; a power cut at any byte therefore either
//! happened before the turn, with everything still there, or after it, with the loss counted.
//!
//! A page that refuses [`TURNS_MAX`] times is worn, and passed over: the ring is one page smaller in this round and tries it
//! again in the next. The page behind it is then erased before a header could say so: the one place where a cut, in that
//! very moment, can take the end of a boot uncounted. Two worn pages in a row end the ring: what it holds is delivered, new
//! batches are refused, and what the device cannot keep it counts.
//!
//! In: batches, in order; what the device learned about the time. Out: batches and gaps, in order, from a cursor on, with
//! their time where it is known by now. Invariants: nothing undelivered goes without becoming a gap at exactly its place; a
//! word is programmed once between erases; what comes back after a cut although it was delivered is a run just before what
//! was not; a time mark never costs data. Not here: what stands on a page (`page`), when to send, what an ack is.

mod page;
mod read;

use self::page::{Header, Meta, data, header, mark, opens, seal, seal_header, seal_mark};
use crate::item::{Cursor, FlashError, Lost, Position};
use crate::limits::{DELIVERIES_PER_MARK, HEADER_BYTES_MAX, RING_PAGES_MIN, TURNS_MAX};
use crate::line::Losses;
use crate::record::Io;
use crate::time::{Marks, TimeMark};
use core::ops::Range;
use embedded_storage_async::nor_flash::NorFlash;
use headwater_telemetry::{Batch, BootId};

/// What [`Ring::open`] found besides the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RingFound {
    /// The region held something that is not a ring; it is treated as empty.
    pub(crate) formatted: bool,
    /// The newest page ends in a record that was cut off.
    pub(crate) torn: bool,
}

/// State of the ring; the bytes are in flash.
pub(crate) struct Ring {
    start: u32,
    pages: u32,
    /// Numbers of the oldest and newest page; none before the first write.
    live: Option<(u32, u32)>,
    /// Offset in the newest page where the next record goes; at the page's size when it takes no more.
    write: u32,
    /// Delivered up to here.
    read: Cursor,
    /// Deliveries since `read` was last written.
    unsaved: u32,
    losses: Losses,
    marks: Marks,
    /// What this start learned about the time, for gaps as well; among `marks` only when it is needed later.
    time: Option<TimeMark>,
    /// The boot of this start, once a batch of it was stored without its time.
    undated: Option<BootId>,
    boot: BootId,
    /// Times in a row that the next page refused.
    failed_turns: u8,
    /// Since this start: entries lost because the ring was full, boots whose loss is told under an older one.
    lost: Lost,
}

impl Ring {
    pub(crate) async fn open<F: NorFlash>(
        io: &mut Io<F>,
        range: Range<u32>,
    ) -> Result<(Self, RingFound), F::Error> {
        let mut ring = Self {
            start: range.start,
            pages: (range.end - range.start) / Io::<F>::PAGE,
            live: None,
            write: Io::<F>::PAGE,
            read: Cursor::default(),
            unsaved: 0,
            losses: Losses::default(),
            marks: Marks::default(),
            time: None,
            undated: None,
            boot: BootId(0),
            failed_turns: 0,
            lost: Lost::default(),
        };
        assert!(ring.pages >= RING_PAGES_MIN, "a ring needs at least {RING_PAGES_MIN} pages");
        for slot in 0..ring.pages {
            if let Some((header, marks)) = ring.header(io, slot).await?
                && ring.live.is_none_or(|(_, newest)| newest < header.number)
            {
                ring.live = Some((header.oldest, header.number));
                ring.read = header.read;
                ring.losses = header.losses;
                ring.marks = marks;
                ring.boot = header.boot;
            }
        }
        let mut found = RingFound::default();
        match ring.live {
            Some((_, newest)) => found.torn = ring.walk_newest(io, newest).await?,
            None => found.formatted = !ring.blank(io).await?,
        }
        ring.prune();
        Ok((ring, found))
    }

    /// The header in a slot, if a page of this very ring is there.
    async fn header<F: NorFlash>(
        &self,
        io: &mut Io<F>,
        slot: u32,
    ) -> Result<Option<(Header, Marks)>, F::Error> {
        let Some(found) = io.read(self.address::<F>(slot), 0).await? else { return Ok(None) };
        let ours = |header: &Header| header.pages == self.pages && header.number % self.pages == slot;
        Ok(header(io, found).filter(|(header, _)| ours(header)))
    }

    /// Reads the marks that follow the newest header and finds the end; true when a record there was cut off.
    async fn walk_newest<F: NorFlash>(&mut self, io: &mut Io<F>, newest: u32) -> Result<bool, F::Error> {
        let page = self.address::<F>(newest);
        let mut offset = 0;
        while let Some(found) = io.read(page, offset).await? {
            if let Some((read, time)) = mark(io, found) {
                self.read = self.read.max(read);
                if let Some(time) = time {
                    self.marks.add(time);
                }
            } else if let Some((meta, _)) = data(io, found) {
                self.boot = self.boot.max(meta.boot);
            }
            offset = found.next;
        }
        // Append only where it is erased; after a cut record the rest of the page is left as it is.
        let torn = !io.blank_from(page, offset).await?;
        self.write = if torn { Io::<F>::PAGE } else { offset };
        Ok(torn)
    }

    /// Whether nothing was ever written here, or the very first header was cut short.
    async fn blank<F: NorFlash>(&self, io: &mut Io<F>) -> Result<bool, F::Error> {
        for slot in 0..self.pages {
            let from = if slot == 0 { Io::<F>::padded(HEADER_BYTES_MAX) } else { 0 };
            if !io.blank_from(self.address::<F>(slot), from).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn address<F: NorFlash>(&self, page: u32) -> u32 {
        self.start + page % self.pages * Io::<F>::PAGE
    }

    /// The highest boot that has entries here, or had.
    pub(crate) fn boot(&self) -> BootId {
        self.boot
    }

    /// Delivered up to here.
    pub(crate) fn read(&self) -> Cursor {
        self.read
    }

    /// What was lost since this start because the ring was full.
    pub(crate) fn lost(&self) -> Lost {
        self.lost
    }

    /// Stores a batch; durable on return. After an error it may be asked again, which begins a new page.
    pub(crate) async fn push<F: NorFlash>(
        &mut self,
        io: &mut Io<F>,
        batch: &Batch,
    ) -> Result<(), FlashError<F::Error>> {
        let through = batch.through().ok_or(FlashError::TooLong)?;
        let count = through.0 - batch.first.0 + 1;
        let meta = Meta { boot: batch.boot, first: batch.first, count, base: batch.base };
        let size = seal(io, &meta, batch).ok_or(FlashError::TooLong)?;
        if self.write + size > Io::<F>::PAGE {
            self.turn(io).await?;
            // Turning used the scratch.
            seal(io, &meta, batch).ok_or(FlashError::TooLong)?;
        }
        self.append(io, size).await?;
        self.boot = self.boot.max(batch.boot);
        if batch.utc.is_none() {
            self.undated = Some(batch.boot);
        }
        Ok(())
    }

    async fn append<F: NorFlash>(&mut self, io: &mut Io<F>, size: u32) -> Result<(), F::Error> {
        let (_, newest) = self.live.expect("a page was turned to before anything is appended");
        let at = self.write;
        // A failed write leaves an unknown rest of the page behind: never append after it.
        self.write = Io::<F>::PAGE;
        io.write(self.address::<F>(newest) + at, size).await?;
        self.write = at + size;
        Ok(())
    }

    /// Number of the next page, and of the oldest that will live beside it: the slot after it stays free.
    fn next_live(&self) -> (u32, u32) {
        let worn = u32::from(self.failed_turns >= TURNS_MAX);
        let (oldest, next) = self.live.map_or((0, worn), |(oldest, newest)| (oldest, newest + 1 + worn));
        (next, oldest.max((next + 2).saturating_sub(self.pages)))
    }

    /// Begins a new page. Nothing has changed unless its header is written whole.
    async fn turn<F: NorFlash>(&mut self, io: &mut Io<F>) -> Result<(), F::Error> {
        let (next, oldest) = self.next_live();
        let (mut losses, mut lost) = (self.losses.clone(), self.lost);
        if let Some((dying, _)) = self.live {
            for page in dying.max(self.read.position.page)..oldest {
                self.count_lost(io, page, &mut losses, &mut lost).await?;
            }
        }
        let start = Position { page: oldest, offset: 0 };
        let read = Cursor { position: self.read.position.max(start), ..self.read };
        self.write = Io::<F>::PAGE;
        self.failed_turns = self.failed_turns.saturating_add(1);
        let page = self.address::<F>(next);
        io.erase(page).await?;
        let header = Header { number: next, oldest, pages: self.pages, boot: self.boot, read, losses };
        let size = seal_header(io, &header, &self.marks);
        io.write(page, size).await?;
        self.failed_turns = 0;
        self.live = Some((oldest, next));
        self.write = size;
        self.read = read;
        self.unsaved = 0;
        self.losses = header.losses;
        self.lost = lost;
        Ok(())
    }

    /// Adds what is undelivered on a page that goes.
    async fn count_lost<F: NorFlash>(
        &self,
        io: &mut Io<F>,
        page: u32,
        losses: &mut Losses,
        lost: &mut Lost,
    ) -> Result<(), F::Error> {
        let mut offset = if page == self.read.position.page { self.read.position.offset } else { 0 };
        let mut line = self.read.line;
        while let Some(found) = io.read(self.address::<F>(page), offset).await? {
            if offset == 0 && !opens(io, found, page) {
                break;
            }
            offset = found.next;
            let Some((meta, _)) = data(io, found) else { continue };
            if meta.end() > line {
                lost.merged += u32::from(losses.add(meta.end(), meta.base));
                let first = line.expected(meta.boot).max(meta.first);
                lost.entries = lost.entries.saturating_add(meta.end().next.0 - first.0);
                line = meta.end();
            }
        }
        Ok(())
    }

    /// Everything up to `after` is delivered. In memory only; true when it is time to [`Ring::save`].
    pub(crate) fn delivered(&mut self, after: Cursor) -> bool {
        self.read = self.read.max(after);
        self.prune();
        self.unsaved += 1;
        self.unsaved >= DELIVERIES_PER_MARK
    }

    fn prune(&mut self) {
        self.losses.prune(self.read.line);
        self.marks.prune(self.read.line.boot);
    }

    /// Dates the batches of a boot, this one's, that were stored without their time; durable on return unless that would
    /// cost data: then the next page's header makes it so. Nothing is written when there are none, or a mark is as good.
    pub(crate) async fn date<F: NorFlash>(&mut self, io: &mut Io<F>, time: TimeMark) -> Result<(), F::Error> {
        if self.time.is_none_or(|known| time.is_better_than(&known)) {
            self.time = Some(time);
        }
        if self.undated != Some(time.boot) || !self.marks.add(time) {
            return Ok(());
        }
        self.mark(io, Some(time)).await
    }

    /// Makes the deliveries durable, unless that would cost data: then the next page's header does.
    pub(crate) async fn save<F: NorFlash>(&mut self, io: &mut Io<F>) -> Result<(), F::Error> {
        if self.unsaved == 0 || self.live.is_none() {
            return Ok(());
        }
        self.mark(io, None).await
    }

    async fn mark<F: NorFlash>(&mut self, io: &mut Io<F>, time: Option<TimeMark>) -> Result<(), F::Error> {
        let size = seal_mark(io, self.read, time);
        if self.write + size <= Io::<F>::PAGE {
            self.append(io, size).await?;
            self.unsaved = 0;
        } else if self.read.position.page >= self.next_live().1 {
            self.turn(io).await?;
        }
        Ok(())
    }
}
