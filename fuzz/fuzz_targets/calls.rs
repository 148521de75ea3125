//! Whole requests, of every operation, on an engine of their own: no panic, an answer that the model lets the operation give,
//! bounded memory. Input: see `headwater_fuzz::calls`; half of the mutations keep it well-formed.
#![no_main]

use headwater_fuzz::world::World;
use headwater_fuzz::{bounded, calls};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

/// What an engine with a journal of small settings and one request takes.
const MEMORY: usize = 96 << 20;

fuzz_target!(|input: &[u8]| {
    bounded(MEMORY, || calls::run(&World::new(), input));
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 2 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let changed = calls::mutate(&data[..size], seed);
    if changed.len() > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    data[..changed.len()].copy_from_slice(&changed);
    changed.len()
});
