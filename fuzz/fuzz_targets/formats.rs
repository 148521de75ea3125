//! What is on disk, piece by piece: segment headers, trailers, groups, footers, snapshots and names of files; checksums as
//! they came and made right. Input: the bytes.
#![no_main]

use headwater_fuzz::{bounded, decoder_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| bounded(decoder_bytes(input), || headwater_journal::fuzzing::formats(input)));
