//! How many bytes things take, known before they are written.

/// Bytes of an aggregate beside what its records add: magic and checksum.
pub const FRAME_BYTES: usize = 4 + 16;

/// The most a record can add to an aggregate, wherever it comes and whatever is there already: for a packer that knows
/// lengths only. `has_hash`: with an explicit hash key. What it really adds is less where its key is there already.
#[must_use]
pub fn record_bytes_max(key_bytes: usize, data_bytes: usize, has_hash: bool) -> usize {
    let index = varint_bytes(crate::limits::AGGREGATE_RECORDS_MAX as u64);
    let hash = if has_hash { (field_bytes(DECIMAL_BYTES_MAX), 1 + index) } else { (0, 0) };
    field_bytes(key_bytes) + hash.0 + field_bytes(1 + index + hash.1 + field_bytes(data_bytes))
}

/// Digits of 2^128 - 1.
const DECIMAL_BYTES_MAX: usize = 39;

/// A field with a length: one byte says which, then the length, then what is in it.
pub(super) fn field_bytes(length: usize) -> usize {
    1 + varint_bytes(length as u64) + length
}

/// Seven bits a byte.
pub(super) fn varint_bytes(number: u64) -> usize {
    number.checked_ilog2().map_or(1, |log| log as usize / 7 + 1)
}

pub(super) fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    loop {
        let low = number.to_le_bytes()[0] & 0x7f;
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}
