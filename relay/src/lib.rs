//! Store-and-forward without IO or clock: what may be in flight, how far it is done, when to try again.
//!
//! Two senders are served. [`Window`] and [`Backoff`] are for one connection that delivers in order, as MQTT does: the uplink of the
//! agent. [`Forwarding`] is for a target with shards that answers record by record and promises no order, as Kinesis does: the
//! forwarder of the gateway. [`Ledger`] is the arithmetic by which both can be checked.
//!
//! In: offsets and sizes of records that lie in a durable log, outcomes of sending them, the time. Out: which offset to
//! read next, what to send now, the checkpoint behind which the log may be trimmed, and when to try again.
//!
//! Always true: a checkpoint never moves back and never passes a record that has no final outcome; what is in memory is
//! bounded by count and by bytes; the same seed and the same calls give the same answers.
//!
//! Not here: payloads, sockets, threads, clocks, logging.
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
//!
//! # The loop of a forwarder
//! The shell tells what happened, then asks until nothing comes, then sleeps until [`Forwarding::poll_timeout`] or until something
//! happens: a tail moved, a call was answered, the map changed. It keeps what is in a record from the read until it is acked or set
//! aside.
//! ```
//! use headwater_relay::{
//!     ForwardConfig, Forwarding, Offset, Progress, Record, SendOutcome, SourceId, TargetId, TargetShard,
//! };
//!
//! // A source shard of four records in three lanes; the record at 2 is one the target will not take.
//! let lanes = [11, 22, 11, 33];
//! let log: Vec<Record> = (0..4)
//!     .zip(lanes)
//!     .map(|(offset, lane)| Record {
//!         offset: Offset(offset),
//!         data_bytes: 200,
//!         key_bytes: 8,
//!         lane,
//!         arrival_ms: 1_000,
//!         is_packed: false,
//!     })
//!     .collect();
//! let mut now_ms = 1_000;
//! let source = SourceId(1);
//! let mut stored = Progress::new(Offset(0)); // what the last run stored
//! let (mut sent, mut dead_letters) = (Vec::new(), Vec::new());
//!
//! let mut forwarding = Forwarding::new(ForwardConfig { seed: 42, ..ForwardConfig::default() });
//! forwarding.handle_targets(&[TargetShard { id: TargetId(1), first: 0, last: u128::MAX }], now_ms)?;
//! forwarding.handle_source(source, &[], &stored)?;
//! forwarding.handle_tail(source, Offset(4), now_ms)?;
//!
//! while stored.checkpoint < Offset(4) {
//!     while let Some(read) = forwarding.poll_read() {
//!         let from = read.from.0 as usize;
//!         let page = &log[from..log.len().min(from + read.records_max)];
//!         forwarding.handle_records(&read, page, Offset((from + page.len()) as u64), now_ms)?;
//!     }
//!     while let Some(call) = forwarding.poll_call(now_ms) {
//!         // PutRecords with these entries; its answer has an outcome for each. A call without an answer goes to
//!         // `handle_call_failed`.
//!         let outcomes: Vec<SendOutcome> = call
//!             .entries
//!             .iter()
//!             .map(|entry| match &call.records[entry.records.clone()] {
//!                 [record] if record.offset == Offset(2) => SendOutcome::Rejected,
//!                 records => {
//!                     sent.extend(records.iter().map(|record| record.offset.0));
//!                     SendOutcome::Acked
//!                 }
//!             })
//!             .collect();
//!         forwarding.handle_outcomes(call.id, &outcomes, now_ms)?;
//!     }
//!     while let Some(dead) = forwarding.poll_dead_letter() {
//!         dead_letters.push(dead.record.offset.0); // append to the dead-letter stream, sync, and then:
//!         forwarding.handle_dead_letter_stored(dead.record)?;
//!     }
//!     while let Some(due) = forwarding.poll_progress(now_ms) {
//!         stored = due.progress; // put, sync, and then:
//!         forwarding.handle_progress_stored(due.source, due.version, now_ms)?;
//!     }
//!     now_ms = now_ms.max(forwarding.poll_timeout().unwrap_or(now_ms)); // sleep until then
//! }
//! assert_eq!((sent, dead_letters), (vec![0, 1, 3], vec![2]));
//!
//! // Everything that was stored is somewhere.
//! let (ledger, waiting) = forwarding.ledger(source).ok_or("known")?;
//! ledger.check(waiting)?;
//! assert_eq!((ledger.stored, ledger.delivered, ledger.dead_lettered, waiting), (4, 3, 1, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
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
