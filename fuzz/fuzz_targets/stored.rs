//! Starts of an engine on metadata that may be anything: definitions, layouts, consumers, queues with their pages, wrapped
//! keys, policies, account settings; and calls on what it made of them. Input: see `headwater_fuzz::stored`.
#![no_main]

use headwater_fuzz::world::World;
use headwater_fuzz::{bounded, calls, stored};
use libfuzzer_sys::fuzz_target;

/// As for calls, and shards of a stream that says to have as many as can be.
const MEMORY: usize = 160 << 20;

fuzz_target!(|input: &[u8]| {
    let (calls, entries) = stored::decode(input);
    bounded(MEMORY, || calls::on_damaged(&World::on(|meta| stored::put(meta, &entries)), calls));
});
