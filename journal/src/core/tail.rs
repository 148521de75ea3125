//! Recent groups in memory, for readers that follow the end.
//!
//! In: every group as it was written, compressed and sealed where it was: a key that is forgotten closes these bytes too. Out: the buffer that holds a place in a segment, while it is recent.
//! Invariant: buffers held here are at most `limit` bytes (readers may keep an old one alive longer).
//! Not here: checksums; these bytes never left memory.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::blocks::Blocks;

/// From this capacity on a buffer less than half full is copied rather than kept: small groups must not pin big buffers.
const COPY_CAPACITY: usize = 16 << 10;

pub(super) struct Tail {
    groups: VecDeque<TailGroup>,
    bytes: usize,
    limit: usize,
    // Emptied buffer for the next group: writing reuses memory instead of faulting in new pages.
    spare: Option<Blocks>,
}

struct TailGroup {
    segment: u64,
    start: u32,
    buffer: Arc<Blocks>,
}

impl Tail {
    pub(super) fn new(limit: usize) -> Self {
        Self { groups: VecDeque::new(), bytes: 0, limit, spare: None }
    }

    /// An empty buffer to write a group in.
    pub(super) fn buffer(&mut self) -> Blocks {
        self.spare.take().unwrap_or_default()
    }

    /// Takes what was written at `start` of `segment`; calls come in order of places.
    pub(super) fn push(&mut self, segment: u64, start: u32, mut buffer: Blocks) {
        let held = if buffer.capacity() > COPY_CAPACITY && buffer.len() < buffer.capacity() / 2 {
            let held = Blocks::from(buffer.as_slice());
            buffer.clear();
            self.spare = Some(buffer);
            held
        } else {
            buffer
        };
        self.bytes += held.capacity();
        self.groups.push_back(TailGroup { segment, start, buffer: Arc::new(held) });
        while self.bytes > self.limit {
            let Some(oldest) = self.groups.pop_front() else { break };
            self.bytes -= oldest.buffer.capacity();
            if self.spare.is_none()
                && let Ok(mut buffer) = Arc::try_unwrap(oldest.buffer)
            {
                buffer.clear();
                self.spare = Some(buffer);
            }
        }
    }

    /// The buffer that holds `offset` of `segment`, and the offset at which it begins.
    pub(super) fn find(&self, segment: u64, offset: u32) -> Option<(Arc<Blocks>, u32)> {
        let after = self.groups.partition_point(|group| (group.segment, group.start) <= (segment, offset));
        let group = self.groups.get(after.checked_sub(1)?)?;
        let inside = group.segment == segment && ((offset - group.start) as usize) < group.buffer.len();
        inside.then(|| (Arc::clone(&group.buffer), group.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_groups_make_room_and_places_are_found_exactly() {
        let mut tail = Tail::new(3 * 4096);
        for number in 0..5u32 {
            let mut buffer = tail.buffer();
            buffer.resize(4096);
            tail.push(7, 4096 * number, buffer);
        }
        assert!(tail.find(7, 4096).is_none(), "evicted");
        assert_eq!(tail.find(7, 2 * 4096 + 5).map(|(_, start)| start), Some(2 * 4096));
        assert!(tail.find(7, 5 * 4096).is_none(), "past the end");
        assert!(tail.find(8, 4 * 4096).is_none(), "another segment");
        assert!(tail.bytes <= 3 * 4096);
    }
}
