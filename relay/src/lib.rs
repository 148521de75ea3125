//! Store-and-forward without IO or clock: what may be in flight, how far it is done, when to try again.
//!
//! In: offsets and sizes of records that lie in a durable log, outcomes of sending them, the time. Out: which offset to
//! read next, the [`Window::checkpoint`] behind which the log may be trimmed, and when to connect again.
//!
//! Always true: a checkpoint never moves back and never passes a record that has no final outcome; what is in flight is
//! bounded by count and by bytes; the same seed and the same calls give the same delays.
//!
//! Not here: payloads, sockets, threads, clocks, logging. Also not here yet: lanes (at most one record of a key in
//! flight). MQTT delivers one connection in order, so the uplink does not need them; a sink that fails record by record
//! does, and they belong beside [`Window`].
//!
//! # The loop of a sender
//! ```
//! use headwater_relay::{Backoff, Delays, Offset, Outcome, Window, WindowLimits};
//!
//! let log = [(Offset(7), 200), (Offset(8), 300)]; // what a durable log holds: offset and size in bytes
//! let mut window = Window::new(WindowLimits { records_max: 10, bytes_max: 64 * 1024 }, Offset(7));
//! let mut backoff = Backoff::new(Delays { base_ms: 200, max_ms: 60_000, stable_ms: 10_000 }, 42);
//!
//! // Connected: offer while there is room, settle what comes back, in any order.
//! backoff.handle_connected(0);
//! for (offset, size_bytes) in log {
//!     assert!(window.has_room(size_bytes));
//!     window.offer(offset, size_bytes).unwrap();
//! }
//! window.handle_outcome(Offset(8), Outcome::Acked).unwrap();
//! assert_eq!(window.checkpoint(), Offset(7), "7 has no outcome yet");
//!
//! // The session is lost: everything from the checkpoint on is offered again, later.
//! let retry_at_ms = backoff.handle_lost(5_000);
//! window.reset();
//! assert_eq!(window.next(), Offset(7));
//! assert!(retry_at_ms <= 5_200);
//! ```

mod backoff;
mod bucket;
mod forwarding;
mod ledger;
pub mod limits;
mod meter;
mod seeded;
mod window;

pub use backoff::{Backoff, Delays};
pub use forwarding::{
    Added, Call, CallFailure, CallId, CallLimits, DeadLetter, DeadReason, Drain, DrainOrder, DrainState,
    Entry, ForwardConfig, ForwardError, Forwarding, Packing, Progress, ProgressDue, Read, Record, RecordRef,
    SendOutcome, SourceId, TargetId, TargetRate, TargetShard, WireCost,
};
pub use ledger::{DropReason, Imbalance, LEDGER_WORDS, Ledger};
pub use seeded::Seeded;
pub use window::{OfferError, Offset, Outcome, Settled, UnknownOffset, Window, WindowLimits};
