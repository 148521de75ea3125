//! Journals damaged by a disk or by somebody's hand: they open, and give back what was written or nothing. Input: see
//! `headwater_fuzz::recovery`.
#![no_main]

use headwater_fuzz::{bounded, recovery};
use libfuzzer_sys::fuzz_target;

/// The journal has at most 1 MB of files, which the simulated disk holds too; the largest run may claim 32 MB.
const MEMORY: usize = 64 << 20;

fuzz_target!(|input: &[u8]| bounded(MEMORY, || recovery::run(input)));
