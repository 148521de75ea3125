//! Whoever lives in the world beside the gateway and its target.

use crate::front::Front;
use crate::trace::Trace;
use std::any::Any;

/// Which part of its life a world is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Faults happen, new records come.
    Stormy,
    /// No faults any more and nothing new: what is on its way arrives.
    Calm,
}

/// A tick.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// ms since the world began, at the end of this tick.
    pub world_ms: u64,
    /// How long the tick is, ms.
    pub tick_ms: u64,
    /// What the world is like.
    pub phase: Phase,
}

/// A promise that was broken, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// Somebody who lives in the world. All of it on the world's thread.
pub trait Inhabitant: Any {
    /// Lives through one tick: its own executor runs up to `moment.world_ms`. Faults of its own come while the phase is
    /// [`Phase::Stormy`]; in [`Phase::Calm`] it makes nothing new and lets what it has go.
    ///
    /// # Errors
    /// A promise was broken to it, or by it.
    fn tick(&mut self, moment: Moment, front: &Front, trace: &mut Trace) -> Result<(), Broken>;

    /// Whether it has nothing left to send. Asked in [`Phase::Calm`] only.
    fn is_drained(&self) -> bool;

    /// Looks at everything that the gateway's streams hold at the end, shard by shard in the order of reading, and compares.
    ///
    /// # Errors
    /// What is missing, twice, or out of order.
    fn compare(&mut self, stored: &mut dyn Iterator<Item = Stored>) -> Result<(), Broken>;
}

/// A record that the gateway's or the target's streams hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The stream.
    pub stream: String,
    /// The shard's number.
    pub shard: u32,
    /// Its partition key.
    pub key: Vec<u8>,
    /// Its data.
    pub data: Vec<u8>,
}
