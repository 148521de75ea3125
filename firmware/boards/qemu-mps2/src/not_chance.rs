//! What stands for a source of chance on a machine that has none. FOR TESTS ONLY: whoever knows the boot number and the time
//! of a start can foretell it, and with it every key of TLS. Real boards use their hardware's source.

use embassy_time::Instant;
use rand_core::{CryptoRng, RngCore};

/// Numbers that anybody can foretell.
pub(crate) struct NotChance(u64);

impl NotChance {
    pub(crate) fn new(seed: u64) -> Self {
        // A xorshift never leaves zero.
        Self(seed | 1)
    }
}

impl RngCore for NotChance {
    fn next_u32(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.next_u64().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ Instant::now().as_ticks()
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        for byte in out {
            [.., *byte] = self.next_u64().to_le_bytes();
        }
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

/// Not true, which is what this file is about: TLS asks for it.
impl CryptoRng for NotChance {}
