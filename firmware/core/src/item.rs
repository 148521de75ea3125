//! What a ring hands out: items, and the cursors that move past them.
//!
//! In: places of batches and gaps. Out: their description, with the body beside it. Not here: flash.

use crate::Line;
use headwater_telemetry::limits::BODY_BYTES_MAX;
use headwater_telemetry::{BatchBuilder, BootId, Schema, Seq, Uptime, UtcTime, encode_batch};
use serde::{Deserialize, Serialize};

/// A place in the ring. Pages are numbered without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) page: u32,
    pub(crate) offset: u32,
}

/// How far something has come in the ring. Moves on by what [`Item::after`] gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub(crate) line: Line,
    pub(crate) position: Position,
}

impl Cursor {
    /// The place in the line of entries.
    pub fn line(&self) -> Line {
        self.line
    }

    pub(crate) fn max(self, other: Self) -> Self {
        Self { line: self.line.max(other.line), position: self.position.max(other.position) }
    }
}

/// What is to be sent next, its encoded [`Up::Batch`](headwater_telemetry::Up::Batch) being in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its boot.
    pub boot: BootId,
    /// Its first place.
    pub first: Seq,
    /// Its last place.
    pub through: Seq,
    /// Whether it is a gap that the ring counted, instead of a stored batch.
    pub gap: bool,
    /// Bytes of the body in the buffer.
    pub len: usize,
    /// Where to go on, once this is delivered.
    pub after: Cursor,
}

/// Flash went wrong, or was asked for what it cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashError<E> {
    /// The flash driver failed.
    Driver(E),
    /// A batch or configuration does not fit its limit; nothing was written.
    TooLong,
    /// A device could not use it; nothing was written.
    Refused,
    /// What is stored was whole once and decayed. Store it anew.
    Damaged,
}

impl<E> From<E> for FlashError<E> {
    fn from(error: E) -> Self {
        Self::Driver(error)
    }
}

/// Losses since a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Entries lost because the ring was full.
    pub entries: u32,
    /// Boots whose losses are told under an older boot, because there were more than
    /// [`LOSSES_MAX`](crate::limits::LOSSES_MAX).
    pub merged: u32,
}

/// The item that tells of `count` lost entries, with its batch in `out`.
pub(crate) fn gap(
    (boot, first, count): (BootId, Seq, u32),
    (at, utc): (Uptime, Option<UtcTime>),
    schema: Schema,
    after: Cursor,
    out: &mut [u8; BODY_BYTES_MAX],
) -> Item {
    let mut builder = BatchBuilder::new(boot, first, schema, at);
    builder.gap(at, count).expect("a gap of at least one, at the base, inside the line");
    let batch = builder.finish(utc);
    let len = encode_batch(&batch, out).expect("one entry fits a body").len();
    Item { boot, first, through: Seq(first.0 + (count - 1)), gap: true, len, after }
}
