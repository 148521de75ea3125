//! The engine through its HTTP face: real sockets, a real journal in a temporary directory.

#![expect(clippy::unwrap_used, reason = "a test may panic: that is its report")]

mod boto3;
mod cbor;
mod connections;
mod consumers;
mod encryption;
mod events;
mod face;
mod fanout;
mod http2;
mod model;
mod queues;
mod reading;
mod records;
mod refusals;
mod restart;
mod support;
mod throttling;
