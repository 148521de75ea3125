//! One stream of the target, as far as it is durable there.

use crate::identity::{Identity, Names};
use crate::inhabitant::Broken;
use crate::reading;
use crate::trace::Trace;
use headwater_aws::kpl;
use headwater_engine::Engine;
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Arrived {
    /// Whether the first arrivals of a key must be in order.
    is_ordered: bool,
    next: BTreeMap<u32, u64>,
    seen: BTreeSet<Identity>,
    last: BTreeMap<u32, Identity>,
}

impl Arrived {
    pub(super) fn new(is_ordered: bool) -> Self {
        Self { is_ordered, next: BTreeMap::new(), seen: BTreeSet::new(), last: BTreeMap::new() }
    }

    /// Reads what is new: shards by their numbers, which is parents first.
    pub(super) fn read(
        &mut self,
        stream: &str,
        engine: &Engine,
        names: &mut Names,
        trace: &mut Trace,
    ) -> Result<(), Broken> {
        let Some(handle) = reading::stream(engine, stream) else { return Ok(()) };
        for id in reading::shards(&handle) {
            let next = self.next.entry(id.0).or_default();
            if reading::end(engine, &handle, id).is_none_or(|end| end <= *next) {
                continue;
            }
            let mut found = Vec::new();
            // What cannot be read now is read after the next start.
            let Some(read) = reading::read(engine, &handle, id, *next, &mut found) else { continue };
            *next = read;
            for record in found {
                trace.fold(format_args!("target {stream} {id}"), &record.data);
                if !kpl::is_aggregate(&record.data) {
                    self.take(stream, &record.data, names)?;
                    continue;
                }
                let inner = kpl::deaggregate(&record.data);
                let Some(inner) = inner else {
                    return Err(Broken(format!("an aggregate in {stream} cannot be taken apart")));
                };
                for record in inner {
                    self.take(stream, record.data, names)?;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, stream: &str, data: &[u8], names: &mut Names) -> Result<(), Broken> {
        let Some(identity) = names.identify(data) else { return Ok(()) };
        // What comes again after a lost answer is no first arrival.
        if !self.seen.insert(identity) {
            return Ok(());
        }
        let last = self.last.entry(identity.device).or_insert(identity);
        if self.is_ordered && *last > identity {
            return Err(Broken(format!(
                "{} arrived at {stream} before {}",
                names.show(*last),
                names.show(identity)
            )));
        }
        *last = (*last).max(identity);
        Ok(())
    }

    pub(super) fn has(&self, id: Identity) -> bool {
        self.seen.contains(&id)
    }

    pub(super) fn count(&self) -> usize {
        self.seen.len()
    }
}
