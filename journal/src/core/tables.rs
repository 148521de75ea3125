//! Run tables of sealed segments that were needed lately.
//!
//! In: tables read from footers. Out: the same again without reading. Invariant: at most `TABLE_CACHE_BYTES` are held, or one table.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::format::footer::RunRef;
use crate::limits::TABLE_CACHE_BYTES;

/// Segment and first index in its run table.
pub(super) type TableKey = (u64, u32);

#[derive(Default)]
pub(super) struct TableCache {
    tables: BTreeMap<TableKey, (u64, Arc<[RunRef]>)>,
    by_use: BTreeMap<u64, TableKey>,
    uses: u64,
    bytes: usize,
}

impl TableCache {
    pub(super) fn get(&mut self, key: TableKey) -> Option<Arc<[RunRef]>> {
        let (used, table) = self.tables.get_mut(&key)?;
        self.uses += 1;
        self.by_use.remove(used);
        self.by_use.insert(self.uses, key);
        *used = self.uses;
        Some(Arc::clone(table))
    }

    pub(super) fn put(&mut self, key: TableKey, table: &Arc<[RunRef]>) {
        self.remove(key);
        self.uses += 1;
        self.bytes += size_of_val(&**table);
        self.tables.insert(key, (self.uses, Arc::clone(table)));
        self.by_use.insert(self.uses, key);
        while self.bytes > TABLE_CACHE_BYTES && self.tables.len() > 1 {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.forget(oldest);
        }
    }

    /// Forgets the tables of a segment whose file is used again.
    pub(super) fn remove_segment(&mut self, segment: u64) {
        let keys: Vec<TableKey> =
            self.tables.range((segment, 0)..=(segment, u32::MAX)).map(|(&key, _)| key).collect();
        for key in keys {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: TableKey) {
        if let Some((used, _)) = self.tables.get(&key) {
            self.by_use.remove(used);
            self.forget(key);
        }
    }

    fn forget(&mut self, key: TableKey) {
        if let Some((_, table)) = self.tables.remove(&key) {
            self.bytes -= size_of_val(&*table);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_stays_below_its_limit_and_keeps_what_is_used() {
        let run = RunRef {
            first: 1,
            base_ms: 0,
            offset: 0,
            stored: 1,
            count: 1,
            crc: 0,
            flags: 0,
            key_id: 0,
            span_ms: 0,
        };
        let table: Arc<[RunRef]> = vec![run; TABLE_CACHE_BYTES / size_of::<RunRef>() / 4].into();
        let mut cache = TableCache::default();
        for segment in 0..20 {
            cache.put((segment, 0), &table);
            assert!(cache.get((0, 0)).is_some(), "used after every put, so never the oldest");
            assert!(cache.bytes <= TABLE_CACHE_BYTES);
        }
        assert!(cache.get((5, 0)).is_none());
        cache.remove_segment(0);
        assert!(cache.get((0, 0)).is_none());
    }
}
