//! What the ring hands out, in order.
//!
//! In: a cursor. Out: the item behind it: a stored batch, or a gap for what is no longer there. Invariant: only reads.
//! Not here: what is written when (`ring`).

use super::Ring;
use super::page::{data, opens};
use crate::Line;
use crate::item::{Cursor, Item, Position, gap};
use crate::record::Io;
use embedded_storage_async::nor_flash::NorFlash;
use headwater_telemetry::limits::BODY_BYTES_MAX;
use headwater_telemetry::{BootId, Schema, Seq, Uptime, UtcTime, date_batch};

impl Ring {
    fn utc(&self, boot: BootId, at: Uptime) -> Option<UtcTime> {
        let now = self.time.filter(|time| time.boot == boot).map(|time| time.utc(at));
        self.marks.utc(boot, at).or(now)
    }

    /// What follows `from`, with its [`Up::Batch`](headwater_telemetry::Up::Batch) in `out`; none when everything is
    /// behind `from`. Only reads.
    ///
    /// `schema` goes into the batch that carries a gap. A batch that was stored without its time has it if its boot
    /// learned it since.
    pub(crate) async fn next<F: NorFlash>(
        &self,
        io: &mut Io<F>,
        from: Cursor,
        schema: Schema,
        out: &mut [u8; BODY_BYTES_MAX],
    ) -> Result<Option<Item>, F::Error> {
        let Some((oldest, newest)) = self.live else { return Ok(None) };
        let mut at = from.max(self.read);
        if let Some(loss) = self.losses.past(at.line) {
            let end = loss.end;
            if let Some((first, count)) = at.line.missing(end.boot, end.next) {
                let after = Cursor { line: end, ..at };
                let time = (loss.at, self.utc(end.boot, loss.at));
                return Ok(Some(gap((end.boot, first, count), time, schema, after, out)));
            }
        }
        at.position = at.position.max(Position { page: oldest, offset: 0 });
        while at.position.page <= newest {
            let page = at.position.page;
            if page == newest && at.position.offset >= self.write {
                break;
            }
            let Some(found) = io.read(self.address::<F>(page), at.position.offset).await? else {
                at.position = Position { page: page + 1, offset: 0 };
                continue;
            };
            if at.position.offset == 0 && !opens(io, found, page) {
                at.position = Position { page: page + 1, offset: 0 };
                continue;
            }
            let here = at.position;
            at.position.offset = found.next;
            let Some((meta, body)) = data(io, found) else { continue };
            if meta.end() <= at.line {
                continue;
            }
            // A hole in front of a record that is there: what was before it became unreadable. Damage hides the rest
            // of its page, and shows when a page after it is read.
            if let Some((first, count)) = at.line.missing(meta.boot, meta.first) {
                let line = Line { boot: meta.boot, next: meta.first };
                let after = Cursor { line, position: here };
                let time = (meta.base, self.utc(meta.boot, meta.base));
                return Ok(Some(gap((meta.boot, first, count), time, schema, after, out)));
            }
            out[..body.len()].copy_from_slice(body);
            let len = date_batch(out, body.len(), |base| self.utc(meta.boot, base));
            at.line = meta.end();
            let through = Seq(meta.end().next.0 - 1);
            let (boot, first) = (meta.boot, meta.first);
            return Ok(Some(Item { boot, first, through, gap: false, len, after: at }));
        }
        Ok(None)
    }
}
