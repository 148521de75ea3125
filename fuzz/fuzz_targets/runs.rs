//! Bodies of runs, as they are, compressed and sealed: nothing comes out of one that is not in it, what was coded comes back,
//! what was sealed shows every change. Input: one byte (the door), its input.
#![no_main]

use headwater_fuzz::{bounded, decoder_bytes};
use libfuzzer_sys::fuzz_target;

/// What a run may unpack to, twice: sealed and compressed.
const UNPACKED: usize = 2 * headwater_journal::limits::RUN_BYTES_MAX;

fuzz_target!(|input: &[u8]| {
    let Some((&door, body)) = input.split_first() else { return };
    bounded(decoder_bytes(input) + UNPACKED, || match door & 1 {
        0 => headwater_journal::fuzzing::run(body),
        _ => headwater_journal::fuzzing::coder(body),
    });
});
