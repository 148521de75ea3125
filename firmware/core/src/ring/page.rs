//! What stands on a page of the ring.
//!
//! ```text
//! page   | RingHeader | record | record | ...                    | erased |
//! header = number, oldest, pages, boot, read cursor, losses      one a page, its number is never reused
//! record = Data: boot, first, count, base + the encoded batch    or Mark: read cursor
//! ```
//! In: a header, a batch with its place on the line. Out: the same as records, and back. Invariant: a record read back
//! holds at least one entry and a batch that fits a frame's body. Not here: checksums (`record`), which page is next.

use crate::Line;
use crate::item::Cursor;
use crate::line::Losses;
use crate::record::{Found, Io, Kind};
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
