//! The time of a batch that was closed before its device knew it.
//!
//! In: the body of a batch without time, and the time of its base. Out: the same body with it: the same place in the line
//! and the same entries. Invariant: what is not a whole batch without time comes out as it went in; what comes out fits
//! [`BODY_BYTES_MAX`], because every batch was closed with room for its time. Not here: what time it is.

use crate::frame::CRC;
use crate::limits::{BODY_BYTES_MAX, CHECKSUM_BYTES};
use crate::{BootId, Schema, Seq, Uptime, UtcTime};

/// Gives the encoded [`Up::Batch`](crate::Up::Batch) in the first `len` bytes of `body` its time, if it has none and
/// `utc_of` its base is known; returns the new length. The batch is not decoded: that would take a kilobyte of stack.
pub fn date_batch(
    body: &mut [u8; BODY_BYTES_MAX],
    len: usize,
    utc_of: impl FnOnce(Uptime) -> Option<UtcTime>,
) -> usize {
    dated(body, len, utc_of).unwrap_or(len)
}

fn dated(
    body: &mut [u8; BODY_BYTES_MAX],
    len: usize,
    utc_of: impl FnOnce(Uptime) -> Option<UtcTime>,
) -> Option<usize> {
    /// Up to the time of a batch: number of the message, boot, first, schema, base, whether there is a time.
    type Head = (u32, BootId, Seq, Schema, Uptime, bool);
    const BATCH: u32 = 1;
    let (message, checksum) = body.get(..len)?.split_last_chunk::<CHECKSUM_BYTES>()?;
    let ((BATCH, _, _, _, base, false), rest) = postcard::take_from_bytes::<Head>(message).ok()? else {
        return None;
    };
    // Damage keeps its wrong checksum: a new one would make it look whole.
    if CRC.checksum(message).to_le_bytes() != *checksum {
        return None;
    }
    let (at, end) = (message.len() - rest.len(), message.len());
    let mut time = [0u8; UTC_BYTES_MAX];
    let time = postcard::to_slice(&utc_of(base)?, &mut time).ok()?;
    let new_end = end + time.len();
    if new_end + CHECKSUM_BYTES > BODY_BYTES_MAX {
        return None;
    }
    body.copy_within(at..end, at + time.len());
    body[at - 1] = 1;
    body[at..at + time.len()].copy_from_slice(time);
    let checksum = CRC.checksum(&body[..new_end]).to_le_bytes();
    body[new_end..new_end + CHECKSUM_BYTES].copy_from_slice(&checksum);
    Some(new_end + CHECKSUM_BYTES)
}

/// A 64-bit varint and the quality.
const UTC_BYTES_MAX: usize = 10 + 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, BatchBuilder, ChannelId, Text, TimeQuality, Timestamp, Up, Value};
    use crate::{decode_body, encode_batch};

    const UTC: UtcTime = UtcTime { at: Timestamp(1_790_000_000_000), quality: TimeQuality::Estimated };

    fn batch(boot: u32, entries: u32, value: &Value) -> Batch {
        let base = Uptime(u64::from(boot) * 7);
        let mut builder = BatchBuilder::new(BootId(boot), Seq(boot / 3), Schema(9), base);
        for n in 0..entries {
            if builder.reading(Uptime(base.0 + u64::from(n)), ChannelId(1), value.clone()).is_err() {
                break;
            }
        }
        builder.finish(None)
    }

    #[test]
    fn a_dated_batch_is_the_batch_with_its_time() {
        let text = Value::Text(Text::truncated("123456789012345678901234"));
        for boot in [0, 1, 127, 128, 70_000, u32::MAX] {
            for (entries, value) in
                [(1, Value::Boolean(true)), (24, Value::Integer(i64::MIN)), (24, text.clone())]
            {
                let batch = batch(boot, entries, &value);
                for at in [0, UTC.at.0, u64::MAX] {
                    let utc = UtcTime { at: Timestamp(at), ..UTC };
                    let mut body = [0u8; BODY_BYTES_MAX];
                    let len = encode_batch(&batch, &mut body).unwrap().len();
                    let len = date_batch(&mut body, len, |base| {
                        assert_eq!(base, batch.base);
                        Some(utc)
                    });
                    let expected = Batch { utc: Some(utc), ..batch.clone() };
                    assert_eq!(decode_body::<Up>(&body[..len]), Ok(Up::Batch(expected.clone())));
                    let mut again = [0u8; BODY_BYTES_MAX];
                    assert_eq!(encode_batch(&expected, &mut again).unwrap(), &body[..len]);
                }
            }
        }
    }

    #[test]
    fn what_is_no_whole_batch_without_time_stays_as_it_is() {
        let unchanged = |body: [u8; BODY_BYTES_MAX], len: usize| {
            let mut after = body;
            assert_eq!(date_batch(&mut after, len, |_| Some(UTC)), len);
            assert_eq!(after, body);
        };
        let undated = batch(300, 4, &Value::Fixed(7));
        let mut body = [0u8; BODY_BYTES_MAX];
        let len = encode_batch(&Batch { utc: Some(UTC), ..undated.clone() }, &mut body).unwrap().len();
        unchanged(body, len);
        let len = crate::encode_body(&Up::TimeRequest { nonce: 1 }, &mut body).unwrap().len();
        unchanged(body, len);
        unchanged(body, BODY_BYTES_MAX + 1);
        unchanged(body, 3);
        let len = encode_batch(&undated, &mut body).unwrap().len();
        for bit in 0..len * 8 {
            let mut damaged = body;
            damaged[bit / 8] ^= 1 << (bit % 8);
            unchanged(damaged, len);
        }
        let mut same = body;
        assert_eq!(date_batch(&mut same, len, |_| None), len);
        assert_eq!(same, body);
    }
}
