//! Buffers that reads filled, used again when their page is gone.
//!
//! In: buffers that pages hold. Out: one that nobody holds any more, or an empty one.
//! Invariant: at most `BUFFERS_KEPT` are kept, none above `BUFFER_KEPT_BYTES`; one that is given out has no other holder.
//! Not here: groups that were just written (`tail`).

use std::sync::{Arc, Mutex};

use crate::blocks::Blocks;
use crate::core::lock;
use crate::limits::READ_BYTES_MAX;

/// Read buffers kept for reuse, and the largest that is.
const BUFFERS_KEPT: usize = 4;
const BUFFER_KEPT_BYTES: usize = 2 * READ_BYTES_MAX;

/// A small stock, shared by all readers.
#[derive(Default)]
pub(in crate::core) struct Buffers(Mutex<Vec<Arc<Blocks>>>);

impl Buffers {
    pub(super) fn take(&self) -> Arc<Blocks> {
        let mut kept = lock(&self.0);
        let free = kept.iter().position(|buffer| Arc::strong_count(buffer) == 1);
        // `get_mut` needs the only handle, so the buffer leaves the list.
        free.map(|at| kept.swap_remove(at))
            .filter(|buffer| Arc::strong_count(buffer) == 1)
            .unwrap_or_default()
    }

    pub(super) fn keep(&self, buffer: &Arc<Blocks>) {
        let mut kept = lock(&self.0);
        if kept.len() < BUFFERS_KEPT && buffer.capacity() <= BUFFER_KEPT_BYTES {
            kept.push(Arc::clone(buffer));
        }
    }
}
