//! Clients that mean harm, against a server in a process of its own: each gets a clear error or the end of its connection,
//! others are served meanwhile, and the process stays within its memory and panics nowhere. HTTP/2 peers that break the rules
//! frame by frame are in the tests of the API (`api/http2.rs`).

#![expect(clippy::unwrap_used, reason = "a test may panic: that is its report")]

mod bodies;
mod crowd;
mod server;
mod slow;
mod takers;
