//! What becomes of a device's message: records, channel tables, and what the gateway says to it.
//!
//! Invariant: entries are put once, whatever comes again.

use super::{Address, Failure, Shelf, Taker};
use crate::ingest::Inbound;
use crate::route::counters::{Noticed, RouteCounters};
use crate::route::dating::Dating;
use crate::route::face;
use crate::route::render::{self, Origin, Place};
use crate::route::repeats::SeqRange;
use crate::route::rule::Route;
use headwater_telemetry::{Batch, DeviceId, Entry, Hello, Seq, Up, schema_of};

impl<S: Shelf> Taker<'_, S> {
    pub(super) fn store_message(
        &mut self,
        publish: &Inbound<'_>,
        place: usize,
        route: &Route,
        device: &DeviceId,
        up: Up,
    ) -> Result<bool, Failure> {
        let origin = Origin { device: device.as_str(), received_ms: self.now_ms };
        let batch = match up {
            Up::Hello(hello) => {
                let said = face::birth(publish.topic, &hello, self.now_ms);
                let stored = self.store_hello(device, hello, publish.client_id == device.as_str())?;
                self.said.push(said);
                return Ok(stored);
            }
            Up::TimeRequest { nonce } => {
                self.said.push(face::time(publish.topic, nonce, self.now_ms, self.time_quality));
                self.counts.ignored += 1;
                return Ok(false);
            }
            Up::Batch(batch) => batch,
            Up::Log(log) => {
                self.text.clear();
                render::log(&mut self.text, origin, &log);
                return self.store_text(publish, place, route);
            }
            Up::ConfigResult(outcome) => {
                self.text.clear();
                render::config_result(&mut self.text, origin, outcome);
                return self.store_text(publish, place, route);
            }
            Up::CommandResult(result) => {
                self.text.clear();
                render::command_result(&mut self.text, origin, result);
                self.said.push(face::result(publish.topic, &self.text));
                return self.store_text(publish, place, route);
            }
        };
        let Some(target) = &route.target else {
            self.counts.downlink_only += 1;
            return Ok(true);
        };
        let address = self.address(publish, place, target)?;
        self.store_batch(&address, device, &batch)
    }

    /// `is_own`: the device itself is connected and says it now. An agent says what it has in its spool, and again
    /// after every lost connection.
    fn store_hello(&mut self, device: &DeviceId, hello: Hello, is_own: bool) -> Result<bool, Failure> {
        if hello.device != *device {
            let reason = format!("the hello is of device {}, the topic of {device}", hello.device);
            return Err(Failure::DeadLetter(reason));
        }
        let computed = schema_of(&hello.channels);
        if computed != hello.schema {
            let reason = format!("the hello says schema {}, its channels make {computed}", hello.schema);
            return Err(Failure::DeadLetter(reason));
        }
        let known = self.desk.device(device);
        if is_own {
            self.counts.boots_forgotten += known.seen.handle_boot(hello.boot);
        }
        if known.learn(hello) {
            self.counts.stored += 1;
        } else {
            self.counts.repeated += 1;
            self.leans_on_earlier = true;
        }
        // Subscribers get every hello: it also says that the device is back.
        Ok(true)
    }

    /// Puts the entries of `batch` that are new, each as one record.
    fn store_batch(
        &mut self,
        address: &Address<'_>,
        device: &DeviceId,
        batch: &Batch,
    ) -> Result<bool, Failure> {
        let Some(through) = batch.through() else {
            return Err(Failure::DeadLetter(
                "the batch is empty, has a gap of nothing or runs past 2^32".to_owned(),
            ));
        };
        let origin = Origin { device: device.as_str(), received_ms: self.now_ms };
        let (mut counts, mut fresh) = (RouteCounters::default(), false);
        let known = self.desk.device(device);
        let hello = known.hello(batch.schema);
        let dating = Dating::of(batch, self.now_ms);
        for (seq, entry) in batch.sequenced() {
            // `through` is some: every entry has at least one number and the last one fits.
            let asked = SeqRange::new(seq, Seq(seq.0 + (entry.count() - 1)));
            let mut stored = 0;
            for new in known.seen.fresh(batch.boot, asked) {
                self.text.clear();
                match entry {
                    Entry::Reading(reading) => {
                        let dated = dating.at(entry);
                        let place = Place { batch, seq, entry, dated };
                        render::reading(&mut self.text, origin, place, hello.as_deref(), reading);
                        counts.readings += 1;
                        counts.readings_without_channels += u64::from(hello.is_none());
                    }
                    Entry::Gap(_) => {
                        let place = Place { batch, seq, entry, dated: dating.at(entry) };
                        render::gap(&mut self.text, origin, place, new);
                        counts.lost_at_devices += u64::from(new.last.0 - new.first.0) + 1;
                    }
                }
                self.shelf.put(&address.stream, &address.key, self.text.as_bytes())?;
                counts.records += 1;
                stored += u64::from(new.last.0 - new.first.0) + 1;
            }
            counts.repeated_entries += u64::from(entry.count()) - stored;
            fresh |= stored > 0;
        }
        if fresh {
            let forgotten = known.seen.cover(batch.boot, SeqRange::new(batch.first, through));
            counts.boots_forgotten += forgotten.boots;
            counts.ranges_forgotten += forgotten.ranges;
            counts.stored += 1;
        } else {
            counts.repeated += 1;
            self.leans_on_earlier = true;
        }
        let noticed = Noticed { repeated: counts.repeated_entries, lost_at_devices: counts.lost_at_devices };
        if noticed != Noticed::default() {
            self.noticed.push((address.stream.clone(), noticed));
        }
        self.counts.add(&counts);
        Ok(fresh)
    }
}
