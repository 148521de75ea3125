//! What stands on a page of the ring.
//!
//! ```text
//! page   | RingHeader | record | record | ...                                | erased |
//! header = number, oldest, pages, boot, read cursor, losses, time marks      one a page, its number is never reused
//! record = Data: boot, first, count, base + the encoded batch                or Mark: read cursor, a time mark if any
//! ```
//! Time marks were added behind what was there: older pages have none, and older firmware does not see them.
//!
//! In: a header, a batch with its place on the line. Out: the same as records, and back. Invariant: a record read back
//! holds at least one entry and a batch that fits a frame's body. Not here: checksums (`record`), which page is next.

use crate::Line;
use crate::item::Cursor;
use crate::line::Losses;
use crate::record::{Found, Io, Kind};
use crate::time::{Marks, TimeMark};
use embedded_storage_async::nor_flash::NorFlash;
use headwater_telemetry::limits::BODY_BYTES_MAX;
use headwater_telemetry::{Batch, BootId, Seq, Uptime, encode_batch};
use serde::{Deserialize, Serialize};

/// Opens a page: the newest one decides what the ring is.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) number: u32,
    pub(super) oldest: u32,
    pub(super) pages: u32,
    pub(super) boot: BootId,
    pub(super) read: Cursor,
    pub(super) losses: Losses,
}

/// Seals a header into the scratch and returns its size.
pub(super) fn seal_header<F: NorFlash>(io: &mut Io<F>, header: &Header, marks: &Marks) -> u32 {
    io.seal_value(Kind::RingHeader, &(header, marks)).expect("HEADER_BYTES_MAX fits the scratch")
}

/// The header that was found, if it is one, and the time marks in it.
pub(super) fn header<F: NorFlash>(io: &Io<F>, found: Found) -> Option<(Header, Marks)> {
    if found.kind != Kind::RingHeader {
        return None;
    }
    let (header, marks) = postcard::take_from_bytes(io.payload(found)).ok()?;
    Some((header, postcard::from_bytes(marks).unwrap_or_default()))
}

/// Whether what was found opens page `number`: what a slot holds may be an older page that could not be erased.
pub(super) fn opens<F: NorFlash>(io: &Io<F>, found: Found, number: u32) -> bool {
    found.kind == Kind::RingHeader && postcard::from_bytes(io.payload(found)) == Ok(number)
}

/// Seals a mark into the scratch and returns its size.
pub(super) fn seal_mark<F: NorFlash>(io: &mut Io<F>, read: Cursor, time: Option<TimeMark>) -> u32 {
    let sealed = match time {
        Some(time) => io.seal_value(Kind::Mark, &(read, time)),
        None => io.seal_value(Kind::Mark, &read),
    };
    sealed.expect("a cursor and a time mark fit the scratch")
}

/// The mark that was found, if it is one.
pub(super) fn mark<F: NorFlash>(io: &Io<F>, found: Found) -> Option<(Cursor, Option<TimeMark>)> {
    if found.kind != Kind::Mark {
        return None;
    }
    let (read, time) = postcard::take_from_bytes(io.payload(found)).ok()?;
    Some((read, postcard::from_bytes(time).ok()))
}

/// Opens a data record; the encoded batch follows.
#[derive(Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) boot: BootId,
    pub(super) first: Seq,
    pub(super) count: u32,
    pub(super) base: Uptime,
}

impl Meta {
    pub(super) fn end(&self) -> Line {
        Line { boot: self.boot, next: Seq(self.first.0.saturating_add(self.count)) }
    }
}

/// Seals a data record into the scratch and returns its size; none when it does not fit.
pub(super) fn seal<F: NorFlash>(io: &mut Io<F>, meta: &Meta, batch: &Batch) -> Option<u32> {
    io.seal(Kind::Data, |room| {
        let head = postcard::to_slice(meta, room).ok()?.len();
        Some(head + encode_batch(batch, &mut room[head..]).ok()?.len())
    })
}

/// The data record that was found, if it is one and whole.
pub(super) fn data<F: NorFlash>(io: &Io<F>, found: Found) -> Option<(Meta, &[u8])> {
    if found.kind != Kind::Data {
        return None;
    }
    let (meta, body) = postcard::take_from_bytes::<Meta>(io.payload(found)).ok()?;
    (meta.count > 0 && body.len() <= BODY_BYTES_MAX).then_some((meta, body))
}
