//! Credentials in flash: two halves, one of which holds what counts.
//!
//! ```text
//! half   | VaultHeader | VaultPart | VaultPart | ...   as many pages as it takes ... | VaultEnd | erased |
//! header = number, total, checksum      part = offset, bytes      end = the header again, once the whole is right
//! ```
//! New credentials go, piece by piece as they come, into the half that does not count. When the whole fits its total and
//! checksum it counts, because of two whole halves the one with the higher number does; then the other half is erased.
//! Nothing at all is a whole as well: it is what is stored before the first credentials and when some are removed. A start
//! erases every half that does not count, so no cut leaves an old key, or a piece of a new one, behind for longer.
//!
//! The end tells decay from a cut: where something stands behind a piece that cannot be read, credentials were whole once.
//! They are kept as damaged until others come, so that a device never takes itself for one that was given none. (A header
//! that decays is not recognised; that is said as a foreign region.)
//!
//! In: pieces. Out: the whole. Invariants: what is read is one whole that somebody sent, never a mixture; a word is
//! programmed once; no copy in RAM. Not here: what a certificate says, who may send one.

mod read;
mod shape;

use self::read::State;
use crate::limits::VAULT_PART_BYTES_MAX;
use crate::record::{CRC, Io, Kind, to_u32};
use core::ops::Range;
use embedded_storage_async::nor_flash::NorFlash;
use headwater_telemetry::limits::{CREDENTIALS_BYTES_MAX, CREDENTIALS_PART_BYTES_MAX};
use headwater_telemetry::{CommandOutcome, CredentialsPart};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    number: u32,
    total: u16,
    checksum: u32,
}

/// Most bytes of an encoded [`Header`].
const HEADER_BYTES: usize = 5 + 3 + 5;

/// Where the next record of a half begins.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    page: u32,
    offset: u32,
}

/// A half that is being filled.
#[derive(Clone, Copy, Debug)]
struct Filling {
    half: u32,
    header: Header,
    /// Bytes that are in flash.
    len: u16,
    place: Place,
}

/// What [`Vault::open`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VaultFound {
    /// The region held something else.
    pub(crate) formatted: bool,
    /// Credentials were whole once and are not any more.
    pub(crate) damaged: bool,
}

/// State of the vault; the bytes are in flash.
pub(crate) struct Vault {
    start: u32,
    half_pages: u32,
    /// The half that counts.
    stored: Option<(u32, Header)>,
    /// A half that did count and decayed.
    damaged: Option<(u32, Header)>,
    filling: Option<Filling>,
}

impl Vault {
    /// Pages of a half, at least, on this flash: the largest credentials in the largest pieces.
    pub(crate) const fn half_pages_min<F: NorFlash>() -> u32 {
        let ends = 2 * Io::<F>::padded(HEADER_BYTES);
        let part = Io::<F>::padded(VAULT_PART_BYTES_MAX - crate::limits::RECORD_PREFIX_BYTES);
        let parts = to_u32(CREDENTIALS_BYTES_MAX.div_ceil(CREDENTIALS_PART_BYTES_MAX));
        parts.div_ceil((Io::<F>::PAGE - ends) / part)
    }

    /// Finds what counts and erases the rest. What cannot be erased now is tried again at the next start.
    pub(crate) async fn open<F: NorFlash>(
        io: &mut Io<F>,
        range: Range<u32>,
    ) -> Result<(Self, VaultFound), F::Error> {
        let half_pages = (range.end - range.start) / Io::<F>::PAGE / 2;
        let mut vault = Self { start: range.start, half_pages, stored: None, damaged: None, filling: None };
        let (mut ours, mut foreign) = (false, false);
        for half in 0..vault.halves() {
            let scan = vault.scan(io, half).await?;
            let Some(header) = scan.header else {
                // A first record that was cut short is no foreign content; anything behind its place is.
                foreign |= !vault.is_blank(io, half, Io::<F>::padded(HEADER_BYTES)).await?;
                continue;
            };
            ours = true;
            let place = match scan.state {
                State::Right => &mut vault.stored,
                State::Decayed => &mut vault.damaged,
                State::Unfinished => continue,
            };
            if place.is_none_or(|(_, known)| known.number < header.number) {
                *place = Some((half, header));
            }
        }
        if vault.stored.is_some() {
            vault.damaged = None;
        }
        let found = VaultFound { formatted: foreign && !ours, damaged: vault.damaged.is_some() };
        for half in 0..vault.halves() {
            if vault.kept().is_none_or(|(kept, _)| kept != half) && !vault.is_blank(io, half, 0).await? {
                let _ = vault.erase(io, half).await;
            }
        }
        Ok((vault, found))
    }

    fn halves(&self) -> u32 {
        if self.half_pages == 0 { 0 } else { 2 }
    }

    fn kept(&self) -> Option<(u32, Header)> {
        self.stored.or(self.damaged)
    }

    fn address<F: NorFlash>(&self, half: u32, page: u32) -> u32 {
        self.start + (half * self.half_pages + page) * Io::<F>::PAGE
    }

    async fn is_blank<F: NorFlash>(&self, io: &mut Io<F>, half: u32, from: u32) -> Result<bool, F::Error> {
        for page in 0..self.half_pages {
            let offset = if page == 0 { from } else { 0 };
            if !io.blank_from(self.address::<F>(half, page), offset).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn erase<F: NorFlash>(&self, io: &mut Io<F>, half: u32) -> Result<(), F::Error> {
        // From its end, so that a cut leaves nothing behind what it broke: that would look like decay.
        for page in (0..self.half_pages).rev() {
            io.erase(self.address::<F>(half, page)).await?;
        }
        Ok(())
    }

    /// Takes a piece. Done means that it is durable, and that the whole counts if it was the last.
    pub(crate) async fn take<F: NorFlash>(
        &mut self,
        io: &mut Io<F>,
        part: &CredentialsPart,
    ) -> Result<CommandOutcome, F::Error> {
        let (total, len) = (usize::from(part.total), part.bytes.len());
        let end = usize::from(part.offset) + len;
        let empty = (len == 0) != (total == 0);
        if self.half_pages == 0 || total > CREDENTIALS_BYTES_MAX || end > total || empty {
            return Ok(CommandOutcome::Refused);
        }
        if total == 0 {
            return self.remove(io).await;
        }
        let same = |header: Header| (header.total, header.checksum) == (part.total, part.checksum);
        if self.stored.is_some_and(|(_, header)| same(header)) {
            return Ok(CommandOutcome::Done);
        }
        let mut filling = self.filling.filter(|filling| same(filling.header));
        let came =
            |filling: &Filling| end <= filling.len.into() && (part.offset > 0 || end == filling.len.into());
        if filling.as_ref().is_some_and(came) {
            return Ok(CommandOutcome::Done);
        }
        if part.offset == 0 {
            self.filling = None;
            filling = Some(self.begin(io, part.total, part.checksum).await?);
        }
        let Some(mut filling) = filling.filter(|filling| filling.len == part.offset) else {
            return Ok(CommandOutcome::Refused);
        };
        // After a failure nobody knows what stands there.
        self.filling = None;
        let seal = |io: &mut Io<F>| {
            io.seal(Kind::VaultPart, |room| {
                let head = postcard::to_slice(&part.offset, room).ok()?.len();
                room.get_mut(head..head + len)?.copy_from_slice(&part.bytes);
                Some(head + len)
            })
        };
        if !self.append(io, &mut filling, seal).await? {
            // Many small pieces: the half is full.
            self.erase(io, filling.half).await?;
            return Ok(CommandOutcome::Refused);
        }
        filling.len = u16::try_from(end).unwrap_or(part.total);
        if end < total {
            self.filling = Some(filling);
            return Ok(CommandOutcome::Done);
        }
        self.finish(io, filling).await
    }

    /// Erases the half that does not count and opens it for a whole.
    async fn begin<F: NorFlash>(
        &mut self,
        io: &mut Io<F>,
        total: u16,
        checksum: u32,
    ) -> Result<Filling, F::Error> {
        let (kept, known) = match self.kept() {
            Some(kept) => kept,
            None => {
                // Whatever is cut short from here on, a start finds something of ours.
                let nothing = Header { number: 0, total: 0, checksum: CRC.checksum(&[]) };
                self.open_half(io, 1, nothing).await?;
                *self.stored.insert((1, nothing))
            }
        };
        let header = Header { number: known.number.wrapping_add(1), total, checksum };
        self.open_half(io, 1 - kept, header).await
    }

    async fn open_half<F: NorFlash>(
        &self,
        io: &mut Io<F>,
        half: u32,
        header: Header,
    ) -> Result<Filling, F::Error> {
        // Also what reads as erased: a word whose programming was cut may refuse.
        self.erase(io, half).await?;
        let mut filling = Filling { half, header, len: 0, place: Place::default() };
        self.append(io, &mut filling, |io| io.seal_value(Kind::VaultHeader, &header)).await?;
        Ok(filling)
    }

    /// Appends what `seal` puts into the scratch; false when the half has no room for it.
    async fn append<F: NorFlash>(
        &self,
        io: &mut Io<F>,
        filling: &mut Filling,
        seal: impl Fn(&mut Io<F>) -> Option<u32>,
    ) -> Result<bool, F::Error> {
        let size = seal(io).expect("VAULT_PART_BYTES_MAX fits the scratch");
        let place = &mut filling.place;
        if place.offset + size > Io::<F>::PAGE {
            *place = Place { page: place.page + 1, offset: 0 };
        }
        if place.page >= self.half_pages {
            return Ok(false);
        }
        io.write(self.address::<F>(filling.half, place.page) + place.offset, size).await?;
        place.offset += size;
        Ok(true)
    }

    /// Makes what was written count, if flash holds what was meant.
    async fn finish<F: NorFlash>(
        &mut self,
        io: &mut Io<F>,
        mut filling: Filling,
    ) -> Result<CommandOutcome, F::Error> {
        let header = filling.header;
        if self.scan(io, filling.half).await?.state != State::Right {
            self.erase(io, filling.half).await?;
            return Ok(CommandOutcome::Refused);
        }
        (self.stored, self.damaged) = (Some((filling.half, header)), None);
        let _ = self.append(io, &mut filling, |io| io.seal_value(Kind::VaultEnd, &header)).await;
        // They count. Where the old ones cannot be erased now, the next start does.
        let _ = self.erase(io, 1 - filling.half).await;
        Ok(CommandOutcome::Done)
    }

    /// Done when no trace is left.
    async fn remove<F: NorFlash>(&mut self, io: &mut Io<F>) -> Result<CommandOutcome, F::Error> {
        let cut_short = self.filling.take().map(|filling| filling.half);
        if self.kept().is_some_and(|(_, header)| header.total > 0) {
            let Filling { half, header, .. } = self.begin(io, 0, CRC.checksum(&[])).await?;
            (self.stored, self.damaged) = (Some((half, header)), None);
        } else if let Some(half) = cut_short {
            self.erase(io, half).await?;
        }
        if let Some((half, _)) = self.stored
            && !self.is_blank(io, 1 - half, 0).await?
        {
            self.erase(io, 1 - half).await?;
        }
        Ok(CommandOutcome::Done)
    }
}
