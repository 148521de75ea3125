//! What one event of a subscription says.
//!
//! In: a page of records and where it ends. Out: a message. Invariant: the continuation number lies between the last
//! record given and the next one, so a client that goes on AT or AFTER it misses nothing and sees nothing twice.

use crate::api::eventstream::{FRAME_BYTES_MAX, Message};
use crate::api::{Format, Writer};
use crate::definition::{Shard, StreamState};
use crate::limits;
use crate::names::{ShardId, StreamNumber};
use crate::operations::get_records::{behind_ms, write_children, write_records};
use crate::sequence::SequenceNumber;
use crate::storage::{Page, Position};

/// What a page holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) records: usize,
    pub(super) data_bytes: usize,
    pub(super) key_bytes: usize,
    last_ms: Option<u64>,
}

impl Content {
    pub(super) fn of(page: &Page) -> Self {
        let mut content = Content::default();
        for run in &page.runs {
            run.visit(&mut |record| {
                content.records += 1;
                content.data_bytes += record.data.len();
                content.key_bytes += record.key.len();
                content.last_ms = Some(record.time_ms);
            });
        }
        content
    }

    /// How far behind the end of the shard who was given this page is.
    pub(super) fn behind_ms(&self, page: &Page, now_ms: u64) -> u64 {
        behind_ms(page, self.last_ms, now_ms)
    }

    /// About how many bytes the event takes: what is set aside for it. Escapes in keys can make it larger.
    pub(super) fn event_bytes(&self) -> usize {
        FRAME_BYTES_MAX
            + 512
            + self.data_bytes.div_ceil(3) * 4
            + self.key_bytes
            + self.records * limits::RECORD_REPLY_BYTES
    }
}

/// What events of one subscription have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) stream: StreamNumber,
    pub(super) shard: ShardId,
    pub(super) generation: u32,
    pub(super) format: Format,
}

impl Source {
    fn number(&self, position: Position) -> SequenceNumber {
        SequenceNumber { generation: self.generation, position, stream: self.stream, shard: self.shard }
    }

    /// Records, and where to go on.
    pub(super) fn records(&self, page: &Page, content: &Content, behind_ms: u64) -> Vec<u8> {
        self.event(content.event_bytes(), |event| {
            event.key("Records").open_array();
            let first = self.number(page.next);
            write_records(event, page, first);
            event.close_array();
            event.key("ContinuationSequenceNumber").text(&self.number(page.next.before()).to_string());
            event.key("MillisBehindLatest").integer(behind_ms);
        })
    }

    /// Nothing new: the subscription is alive and at the end of the shard, `next`.
    pub(super) fn nothing(&self, next: Position) -> Vec<u8> {
        self.event(512, |event| {
            event.key("Records").open_array();
            event.close_array();
            event.key("ContinuationSequenceNumber").text(&self.number(next.before()).to_string());
            event.key("MillisBehindLatest").integer(0_u64);
        })
    }

    /// The end of a closed shard: its children, and nothing to continue from.
    pub(super) fn end(&self, state: &StreamState, shard: &Shard) -> Vec<u8> {
        self.event(1_024, |event| {
            event.key("Records").open_array();
            event.close_array();
            event.key("MillisBehindLatest").integer(0_u64);
            write_children(event, state, shard);
        })
    }

    fn event(&self, bytes: usize, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut payload = Writer::new(self.format).with_capacity(bytes);
        payload.open_object();
        write(&mut payload);
        payload.close_object();
        let payload = payload.into_bytes();
        Message::event("SubscribeToShardEvent", self.format, payload.len()).seal(&payload)
    }
}
