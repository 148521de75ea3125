//! What clients hand back unread, and what they name: sequence numbers, shard iterators, paging tokens, receipt handles,
//! names and ARNs; also behind a check that is made right. Input: text, or what is in a token.
#![no_main]

use headwater_fuzz::{bounded, decoder_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| bounded(decoder_bytes(input), || headwater_engine::fuzzing::tokens(input)));
