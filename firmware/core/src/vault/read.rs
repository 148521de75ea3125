//! What a half holds, read record by record.
//!
//! In: a half. Out: whether it is whole, and its bytes. Invariant: only reads; what comes out was checked on the way. Not
//! here: which half counts (`vault`).

use super::shape::Shape;
use super::{Header, Place, Vault};
use crate::item::FlashError;
use crate::record::{CRC, Found, Io, Kind};
use embedded_storage_async::nor_flash::NorFlash;
use headwater_telemetry::limits::CREDENTIALS_BYTES_MAX;

/// What stands in a half.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    pub(super) header: Option<Header>,
    pub(super) ended: bool,
    /// Every piece is there, in order, and fits the checksum; it has the shape of credentials, or is nothing at all.
    pub(super) right: bool,
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
        let (mut scan, mut place, mut len) = (Scan::default(), Place::default(), 0);
        let (mut digest, mut shape) = (CRC.digest(), Shape::default());
        let Some(found) = self.walk(io, half, &mut place).await? else { return Ok(scan) };
        let Some(header) = header(io, found, Kind::VaultHeader) else { return Ok(scan) };
        if place.page > 0 {
            return Ok(scan);
        }
        scan.header = Some(header);
        while let Some(found) = self.walk(io, half, &mut place).await? {
            if let Some((offset, bytes)) = part(io, found) {
                if offset != len {
                    break;
                }
                len += bytes.len();
                digest.update(bytes);
                bytes.iter().for_each(|&byte| shape.push(byte));
            } else {
                scan.ended = self::header(io, found, Kind::VaultEnd) == Some(header);
                break;
            }
        }
        let whole = len == usize::from(header.total) && (header.total == 0 || shape.is_whole());
        scan.right = whole && digest.finalize() == header.checksum;
        Ok(scan)
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

fn header<F: NorFlash>(io: &Io<F>, found: Found, kind: Kind) -> Option<Header> {
    if found.kind != kind {
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
