//! The simulated world: a gateway with its disk, its forwarder and a target Kinesis, and whoever else lives there, in one process, on one
//! thread, in virtual time, from one seed.
//!
//! In: a seed. Out: nothing, or the first broken promise with the trace that led there. Always: time moves only by
//! [`World::advance`]; chance comes from [`Chance`] alone, so the same seed gives the same trace to the digest; what runs is the product's
//! own code on simulated disks, ways and clocks.
//! Not here: threads, sockets, files, the machine's clock.
//!
//! # Who lives here
//! - [`Host`]: a machine: a runtime of one thread whose time stands until the world moves it. Killing it drops every task on it at once.
//! - the gateway: a host with a [`SimDisk`](headwater_journal::storage::SimDisk), the engine, the routes and the sinks.
//! - the target: another host with an engine of its own.
//! - everybody else is an [`Inhabitant`]: told once a tick, handed the [`Front`], asked for broken promises. Fleets of devices, links and
//!   agents are inhabitants ([`edge`]); so is the synthetic publisher.
//!
//! # The seam of publishers
//! [`Front::publish`] is one PUBLISH with QoS 1 to the gateway, and its answer. It may be awaited on any executor of this thread: the
//! gateway works on it when the world moves on, and wakes the waiter. [`Verdict::Stored`] is a promise: the record is durable and must be
//! found. [`Verdict::Unknown`] says that the connection broke before an answer came: the record may be stored or not, and the publisher
//! sends it again, as it does after [`Verdict::Refused`].

mod appends;
mod books;
mod chance;
mod clock;
pub mod edge;
mod front;
mod gateway;
mod host;
mod identity;
mod inhabitant;
mod kind;
mod logs;
mod plan;
mod planted;
mod promises;
mod publisher;
mod reading;
mod run;
mod stage;
mod station;
mod storm;
mod target;
mod trace;
mod twins;
mod way;
mod world;

pub use chance::Chance;
pub use clock::{EPOCH_MS, WorldClock};
pub use front::{Front, Verdict};
pub use host::Host;
pub use inhabitant::{Broken, Inhabitant, Moment, Phase, Stored};
pub use kind::Kind;
pub use logs::Logs;
pub use planted::{Bug, run_planted};
pub use promises::Promises;
pub use run::{Failure, run, run_whole, run_with};
pub use stage::{Stage, run_many};
pub use trace::{Marks, Step, Trace};
pub use twins::{Alike, Difference, Twin, compare, tell};
pub use world::World;
