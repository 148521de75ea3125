//! What a half holds, read record by record.
//!
//! In: a half. Out: whether it is whole, and its bytes. Invariant: only reads; what comes out was checked on the way. Not
//! here: which half counts (`vault`).

use super::shape::Shape;
use super::{Header, Place, Vault};
use crate::item::FlashError;
use crate::record::{CRC, Found, Io, Kind};
use embedded_storage_async::nor_flash::NorFlash;
use headwater_telemetry::limits::{CREDENTIALS_BYTES_MAX, CREDENTIALS_PART_BYTES_MAX};

/// What stands in a half.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan {
    pub(super) header: Option<Header>,
    pub(super) state: State,
}

/// How far the pieces of a half make a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// All pieces are there, in order, fit total and checksum and have the shape of credentials; or it is nothing at all.
    Right,
    /// Pieces are missing, or do not fit together.
    Unfinished,
    /// Pieces are missing, and there is something behind.
    Decayed,
}

impl Vault {
    /// The record at `place` or, where none is, at the next page; moves on.
    async fn walk<F: NorFlash>(
        &self,
        io: &mut Io<F>,
        half: u32,
        place: &mut Place,
    ) -> Result<Option<Found>, F::Error> {
        while place.page < self.half_pages {
            if let Some(found) = io.read(self.address::<F>(half, place.page), place.offset).await? {
                place.offset = found.next;
                return Ok(Some(found));
            }
            *place = Place { page: place.page + 1, offset: 0 };
        }
        Ok(None)
    }

    pub(super) async fn scan<F: NorFlash>(&self, io: &mut Io<F>, half: u32) -> Result<Scan, F::Error> {
        let mut scan = Scan { header: None, state: State::Unfinished };
        let (mut place, mut len) = (Place::default(), 0);
        let (mut digest, mut shape) = (CRC.digest(), Shape::default());
        let Some(found) = self.walk(io, half, &mut place).await? else { return Ok(scan) };
        let Some(header) = header(io, found).filter(|_| place.page == 0) else { return Ok(scan) };
        scan.header = Some(header);
        let mut last = place;
        while let Some(found) = self.walk(io, half, &mut place).await? {
            let Some((_, bytes)) = part(io, found).filter(|&(offset, _)| offset == len) else { break };
            len += bytes.len();
            digest.update(bytes);
            bytes.iter().for_each(|&byte| shape.push(byte));
            last = place;
        }
        let total = usize::from(header.total);
        let whole = len == total && (total == 0 || shape.is_whole());
        if whole && digest.finalize() == header.checksum {
            scan.state = State::Right;
        } else if len < total && !self.ends_at(io, half, last, total - len).await? {
            scan.state = State::Decayed;
        }
        Ok(scan)
    }

    /// Whether nothing stands behind the piece that begins at `last`, or on the next page where it does not fit.
    async fn ends_at<F: NorFlash>(
        &self,
        io: &mut Io<F>,
        half: u32,
        last: Place,
        missing: usize,
    ) -> Result<bool, F::Error> {
        let size = Io::<F>::padded(3 + missing.min(CREDENTIALS_PART_BYTES_MAX));
        let fits = last.offset + size <= Io::<F>::PAGE;
        for page in last.page..self.half_pages {
            let from = match page - last.page {
                0 if fits => last.offset + size,
                0 => last.offset,
                1 if !fits => size,
                _ => 0,
            };
            if !io.blank_from(self.address::<F>(half, page), from).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The encoded credentials, in `out`; none when there are none.
    pub(crate) async fn read<'b, F: NorFlash>(
        &self,
        io: &mut Io<F>,
        out: &'b mut [u8; CREDENTIALS_BYTES_MAX],
    ) -> Result<Option<&'b [u8]>, FlashError<F::Error>> {
        if self.damaged.is_some() {
            return Err(FlashError::Damaged);
        }
        let Some((half, header)) = self.stored.filter(|(_, header)| header.total > 0) else {
            return Ok(None);
        };
        let (mut place, mut len) = (Place::default(), 0);
        while let Some(found) = self.walk(io, half, &mut place).await? {
            let Some((offset, bytes)) = part(io, found) else { continue };
            let room = out.get_mut(len..len + bytes.len()).filter(|_| offset == len);
            room.ok_or(FlashError::Damaged)?.copy_from_slice(bytes);
            len += bytes.len();
        }
        let whole = &out[..len];
        let right = len == usize::from(header.total) && CRC.checksum(whole) == header.checksum;
        if right { Ok(Some(whole)) } else { Err(FlashError::Damaged) }
    }
}

fn header<F: NorFlash>(io: &Io<F>, found: Found) -> Option<Header> {
    if found.kind != Kind::VaultHeader {
        return None;
    }
    postcard::from_bytes(io.payload(found)).ok()
}

/// A piece and where it begins.
fn part<F: NorFlash>(io: &Io<F>, found: Found) -> Option<(usize, &[u8])> {
    if found.kind != Kind::VaultPart {
        return None;
    }
    let (offset, bytes) = postcard::take_from_bytes::<u16>(io.payload(found)).ok()?;
    Some((offset.into(), bytes))
}
