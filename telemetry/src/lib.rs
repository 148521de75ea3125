//! What a device says, and what is said to it: ids, values, batches, messages, frames, limits.
//!
//! In: nothing but bytes and plain values. Out: the same. Invariants: no allocation, no `std`, no panic on outside
//! input; everything a sender can build fits [`limits::BODY_BYTES_MAX`]; inside a boot the [`Seq`] line has no holes
//! (a [`Reading`] takes one, a [`Gap`] as many as it counts). Not here: sockets, storage, when to send.
//!
//! # The conversation
//! On a byte stream (serial, TCP) the device sends [`Up::Hello`], then [`Up::TimeRequest`], then [`Up::Batch`]es in
//! order, oldest first. The receiver answers [`Down::Time`] at once and [`Down::Ack`] *after* the entries are durable;
//! acks are cumulative per boot. What is not acknowledged is sent again.
//!
//! A batch that comes again has the same identity (device, boot, seq) and the same entries. Its bytes may differ in one
//! thing: [`Batch::utc`]. A batch that was closed before its boot learned the time goes out with it once the boot has,
//! so a repeat may have a time where the first had none, or a good one where the first had a guess. A device that had to
//! forget what an earlier start learned (the power went in the very writing of it, or more starts wait than it keeps marks
//! for) may send none where the first had one. It never sends a time that contradicts. A gap may come again with a larger
//! count. Receivers know entries by identity and keep what they have; one that wants the time of entries it stored without
//! may take it from the repeat.
//!
//! # Time
//! The device asks, with a nonce, and takes half of the round trip for the way back. What it learned dates everything of
//! that boot, also what was before, by its own clock: [`TimeQuality::Holdover`] where that ran alone for more than an hour
//! between the reading and the answer. Batches of a boot that never learned the time have none.
//!
//! # Commands
//! [`Down::Command`] is answered by one [`Up::CommandResult`] with the same [`CommandId`]. Whoever gets no answer sends the
//! command again, with its id, as often as it likes: the device remembers the last eight ids with their outcomes, over
//! restarts as well, and answers what it remembers without doing it again. Only pieces of credentials are not remembered
//! so: they know by their offset whether they came. The outcome is durable before it is answered; a restart is remembered
//! before it happens, and its answer has a second to leave. Anything that carries a secret goes down only.
//!
//! # Over MQTT
//! A body is the payload; PUBACK is the ack of a batch.
//!
//! | topic | direction | body |
//! |---|---|---|
//! | `headwater/{device}/birth`, retained | up | [`Up::Hello`] |
//! | `headwater/{device}/batch` | up | [`Up::Batch`] |
//! | `headwater/{device}/log` | up | [`Up::Log`] |
//! | `headwater/{device}/time` | up | [`Up::TimeRequest`], answered on `command` |
//! | `headwater/{device}/result` | up | [`Up::CommandResult`] |
//! | `headwater/{device}/command` | down | [`Down::Command`], [`Down::Time`] |
//!
//! # Sizes
//! A frame with 1 reading takes 31 bytes, with 8 readings 80, with 24 readings 199 (fixed point, seconds apart, with
//! time): 8.3 bytes a reading in a full batch. Booleans take 72 bytes for 8, floats 96, texts of 11 characters 160. A
//! command and its result take 13 bytes each, a sampling period 17, a full piece of credentials 281; the largest
//! credentials are eight of them. The test `sizes_on_the_wire` measures these.
//!
//! # Versions
//! Postcard has no field tags, so growth follows rules instead:
//! 1. enums only grow at the end; no variant is ever removed, moved or changed,
//! 2. a released struct is frozen; a changed one is a new variant beside the old,
//! 3. a receiver skips and counts what it does not know ([`FrameError::Unknown`]),
//! 4. [`limits::WIRE_VERSION`] grows only when an old peer would misread, and a golden file holds each version's bytes.
//!
//! # Example
//! ```
//! use headwater_telemetry::*;
//!
//! let channels = [Channel::new("temperature", "°C", ValueKind::Fixed, -2).unwrap()].into_iter().collect();
//! let device = DeviceId::parse("greenhouse-7").unwrap();
//! let hello = Hello::new(device, BootId(3), "demo 0.1.0", ResetReason::Power, channels);
//!
//! let mut builder = BatchBuilder::new(hello.boot, Seq(0), hello.schema, Uptime(1_000));
//! builder.reading(Uptime(1_000), ChannelId(0), Value::Fixed(2_150)).unwrap(); // 21.50 °C
//! let batch = builder.finish(None);
//! assert_eq!(batch.through(), Some(Seq(0)));
//!
//! let mut buf = [0u8; limits::FRAME_BYTES_MAX];
//! let frame = encode_frame(&Up::Batch(batch.clone()), &mut buf).unwrap();
//! let mut deframer = Deframer::new();
//! for &byte in frame {
//!     if let Some(body) = deframer.push(byte) {
//!         assert_eq!(decode_body::<Up>(body.unwrap()), Ok(Up::Batch(batch.clone())));
//!     }
//! }
//! ```
#![no_std]

#[cfg(test)]
extern crate std;

mod batch;
mod command;
mod config;
mod credentials;
mod date;
mod frame;
mod hello;
mod id;
pub mod limits;
mod message;
mod value;

pub use batch::{Batch, BatchBuilder, Entry, Gap, Reading, Refused, TimeQuality, UtcTime};
pub use command::{Command, CommandId, CommandOutcome, CommandResult, Order};
pub use config::{Config, ConfigOutcome, ConfigRef, Network, Secret, Uplink};
pub use credentials::{Credentials, CredentialsPart};
pub use date::date_batch;
pub use frame::{Deframer, FrameError, decode_body, encode_body, encode_frame, frame_body};
pub use hello::{Hello, ResetReason, schema_of};
pub use id::{BootId, ChannelId, DeviceId, DeviceIdError, Schema, Seq, Timestamp, Uptime};
pub use message::{Down, Log, LogLevel, Up, encode_batch};
pub use value::{Channel, Text, TooLong, Value, ValueKind, bounded, truncated};

/// The bounded containers that the messages are made of.
pub use heapless;
