//! Streams and their shards over time: crashes between any two steps of a change, reshards under load, states, retention.

#![expect(clippy::unwrap_used, reason = "a test may panic: that is its report")]

mod clocks;
mod crash;
mod crashing;
mod load;
mod states;
mod support;
