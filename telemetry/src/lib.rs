//! What a device says: readings, entries, batches, frames, ids and limits. No std, no allocation.
