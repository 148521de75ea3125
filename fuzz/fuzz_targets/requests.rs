//! Bodies of all operations, in JSON and CBOR: the same meaning, or the same error, in both. Input: operation, one byte (1
//! CBOR), body.
#![no_main]

use headwater_fuzz::{bounded, decoder_bytes};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static OPERATIONS: LazyLock<Vec<&'static str>> = LazyLock::new(headwater_engine::fuzzing::operations);

fuzz_target!(|input: &[u8]| {
    let Some((&[operation, how], body)) = input.split_first_chunk() else { return };
    let operation = OPERATIONS[usize::from(operation) % OPERATIONS.len()];
    bounded(decoder_bytes(input), || headwater_engine::fuzzing::request(operation, body, how & 1 == 1));
});
