//! Bodies of `PutRecord` and `PutRecords`, in JSON and CBOR: the scanner takes nothing that the general way does not, with
//! the same meaning. Input: one byte (1 CBOR, 2 `PutRecords`), body.
#![no_main]

use headwater_fuzz::{bounded, decoder_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&how, body)) = input.split_first() else { return };
    bounded(decoder_bytes(input), || headwater_engine::fuzzing::records(body, how & 1 == 1, how & 2 == 2));
});
