//! Numbers to bytes and back: little-endian fields, varints, CRC-32C.
//!
//! In: numbers or untrusted bytes. Out: bytes or numbers. Always: reading never panics, whatever the bytes.
//! Not here: what a field means (`format`).

/// CRC-32C (Castagnoli, as in iSCSI): the checksum that processors compute.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// Longest varint of a 64-bit number.
pub(crate) const VARINT_BYTES_MAX: usize = 10;

/// Appends `value` in 1 to 10 bytes, 7 bits each, low bits first.
#[expect(clippy::cast_possible_truncation, reason = "the value is masked to 7 bits or was found below 128")]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Fields read one after the other from bytes that may be anything. `None` when the bytes end too early.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let (&first, rest) = self.rest.split_first()?;
        if first < 0x80 {
            self.rest = rest;
            return Some(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for (index, &byte) in rest.iter().enumerate().take(VARINT_BYTES_MAX - 1) {
            value |= u64::from(byte & 0x7f).checked_shl(7 * (u32::try_from(index).ok()? + 1))?;
            if byte < 0x80 {
                self.rest = &rest[index + 1..];
                return Some(value);
            }
        }
        None
    }

    /// A varint that counts bytes in memory.
    pub(crate) fn varint_usize(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok()
    }
}

/// The next number of a fixed sequence that looks random (splitmix64): salts and identities from a seed.
pub(crate) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_survive_the_round_trip_and_never_read_past_the_end() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                put_varint(&mut bytes, value);
                assert!(bytes.len() <= VARINT_BYTES_MAX);
                assert_eq!(Fields::new(&bytes).varint(), Some(value));
                assert_eq!(Fields::new(&bytes[..bytes.len() - 1]).varint(), None);
            }
        }
        assert_eq!(Fields::new(&[0xff; 20]).varint(), None);
    }

    #[test]
    fn checksum_is_castagnoli() {
        // The check value of the CRC catalogue.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
