//! Routes: from a topic and a payload to records on shards.
//!
//! In: publishes, as batches. Out: records staged in the engine, one verdict per publish, counters.
//! Invariants: the first route that matches takes a publish; what cannot be read goes to the dead letters, never
//! away; a repeat by (device, boot, seq) is stored once; marks move in the same commit as the data they speak of.
//! Not here: sockets (`mqtt`), the shards themselves (the engine).

mod codec;
mod counters;
mod creation;
mod dating;
mod dead_letter;
mod devices;
mod explain;
mod face;
mod filter;
mod json;
pub mod limits;
mod render;
mod repeats;
mod router;
mod rule;
mod take;
mod template;
pub(crate) mod time;

#[cfg(test)]
mod testing;

pub use codec::Codec;
pub(crate) use counters::Noticed;
pub use counters::RouteCounters;
pub use explain::{ExplainedRecord, Explanation, explain};
pub use filter::{FilterError, TopicFilter};
pub(crate) use json::is_json;
pub use router::{RouteCommit, Router, RouterError, RouterSettings};
pub use rule::{DEVICE_LEVEL, Route, Target, first_match};
pub use template::{RenderError, Scope, Template, TemplateError};
