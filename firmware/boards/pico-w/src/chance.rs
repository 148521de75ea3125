//! Chance from the ring oscillator, for want of a generator made for it.
//!
//! In: the oscillator's bit, which its drift against the crystal makes random. Out: numbers. Invariant: bits are taken apart from each other
//! and in pairs that differ (von Neumann), so a constant bias does not show. Quality: enough for the start of a counter and the
//! seed of a network stack. Nobody vouches for it: the data sheet (2.17.5) says that it does not meet standards for security. For
//! TLS it is what this chip has, so a key stream is seeded with a digest of far more of it than the seed has room for.

use embassy_rp::pac::ROSC;

/// Cycles between two bits: some ten turns of the oscillator.
const APART_CYCLES: u32 = 200;

/// Pairs to look at for one bit before it is taken as it is; half of all pairs differ, so this is a stuck oscillator.
const PAIRS_MAX: usize = 64;

/// 32 bits.
pub(crate) fn word() -> u32 {
    (0..u32::BITS).fold(0, |word, _| word << 1 | u32::from(bit()))
}

fn bit() -> bool {
    let raw = || {
        cortex_m::asm::delay(APART_CYCLES);
        ROSC.randombit().read().randombit()
    };
    let mut last = raw();
    for _ in 0..PAIRS_MAX {
        let (first, second) = (raw(), raw());
        if first != second {
            return first;
        }
        last ^= first;
    }
    last
}

/// The key stream for TLS, different at every start. `unique` sets devices apart whose oscillators fail.
#[cfg(feature = "tls")]
pub(crate) fn key_stream(unique: &[u8]) -> rand_chacha::ChaCha20Rng {
    use headwater_device::Clock;
    use rand_chacha::rand_core::SeedableRng;
    use sha2::{Digest, Sha256};

    /// Eight times as many bits as the seed has.
    const WORDS: usize = 64;
    let mut digest = Sha256::new();
    for _ in 0..WORDS {
        digest.update(word().to_le_bytes());
    }
    digest.update(unique);
    digest.update(crate::clock::BoardClock.now().0.to_le_bytes());
    rand_chacha::ChaCha20Rng::from_seed(digest.finalize().into())
}
