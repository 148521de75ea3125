//! What the router counts beside single calls.

use super::{RouteCommit, Router};
use crate::ingest::{Inbound, Ingested, Verdict};
use crate::route::counters::{Noticed, RouteCounters};
use headwater_engine::StreamNumber;

impl Router {
    pub(crate) fn noticed(&self, stream: StreamNumber) -> Noticed {
        self.totals.noticed(stream)
    }

    /// A single publish that can never be stored.
    pub(super) fn too_large(&self, publishes: &[Inbound<'_>]) -> Ingested<RouteCommit> {
        let received_bytes = publishes.iter().map(|publish| publish.payload.len() as u64).sum();
        let counts = RouteCounters { received: 1, received_bytes, rejected: 1, ..RouteCounters::default() };
        self.totals.add(&counts, std::iter::empty());
        Ingested {
            commit: RouteCommit(None),
            verdicts: vec![Verdict::Rejected("its records are larger than the journal takes at once")],
            downlink: vec![false],
            said: Vec::new(),
        }
    }
}
