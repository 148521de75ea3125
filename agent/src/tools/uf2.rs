//! UF2, the files that boot loaders take as if they were drives (github.com/microsoft/uf2).
//!
//! In: bytes and their address. Out: blocks of 512 bytes, each with 256 of them. Pure.

const BLOCK_BYTES: usize = 512;
const PAYLOAD_BYTES: usize = 256;
const MAGIC: [u32; 2] = [0x0a32_4655, 0x9e5d_5157];
const MAGIC_END: u32 = 0x0ab1_6f30;
const FAMILY_PRESENT: u32 = 0x2000;

/// The file that puts `bytes` at `address` on chips of `family`. What does not fill a block is as erased flash.
pub fn uf2(bytes: &[u8], address: u32, family: u32) -> Vec<u8> {
    let count = word(bytes.len().div_ceil(PAYLOAD_BYTES));
    let mut file = Vec::with_capacity(bytes.len() * 2);
    for (number, payload) in bytes.chunks(PAYLOAD_BYTES).enumerate() {
        let number = word(number);
        let at = address + number * word(PAYLOAD_BYTES);
        let head = [MAGIC[0], MAGIC[1], FAMILY_PRESENT, at, word(PAYLOAD_BYTES), number, count, family];
        file.extend(head.iter().flat_map(|word| word.to_le_bytes()));
        file.extend(payload.iter().copied().chain(std::iter::repeat(0xff)).take(PAYLOAD_BYTES));
        file.resize(file.len().next_multiple_of(BLOCK_BYTES) - 4, 0);
        file.extend(MAGIC_END.to_le_bytes());
    }
    file
}

/// Flash is smaller than 4 GiB.
fn word(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_as_the_format_says() {
        let bytes: Vec<u8> = (0..=255).chain(0..44).collect();
        let file = uf2(&bytes, 0x101c_0000, 0xe48b_ff56);
        assert_eq!(file.len(), 2 * BLOCK_BYTES);
        let word = |at: usize| u32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]);
        for (block, at) in [(0, 0), (1, BLOCK_BYTES)] {
            let head: Vec<u32> = (0..8).map(|place| word(at + 4 * place)).collect();
            let address = 0x101c_0000 + 256 * block;
            assert_eq!(head, [0x0a32_4655, 0x9e5d_5157, 0x2000, address, 256, block, 2, 0xe48b_ff56]);
            assert_eq!(word(at + 508), 0x0ab1_6f30);
            assert!(file[at + 288..at + 508].iter().all(|&byte| byte == 0));
        }
        assert_eq!(file[32..288], bytes[..256]);
        assert_eq!(file[544..588], bytes[256..]);
        assert!(file[588..800].iter().all(|&byte| byte == 0xff));
    }
}
