//! What a device said, as a receiver has it, and what it must have said, as the model has it.

use headwater_device::Item;
use headwater_device::time::TimeMark;
use headwater_telemetry::{
    Batch, BootId, Entry, Seq, Text, TimeQuality, Timestamp, Up, Uptime, UtcTime, Value, decode_body,
};
use std::collections::BTreeMap;

/// The value at a place, so that content is checked without remembering it.
pub(crate) fn value(boot: u32, seq: u32) -> Value {
    let hash = boot.wrapping_mul(0x9e37_79b9) ^ seq.wrapping_mul(0x85eb_ca6b);
    match hash % 5 {
        0 => Value::Boolean(hash & 64 != 0),
        1 => Value::Text(Text::truncated(&format!("{boot}/{seq}/{hash:x}")[..])),
        2 => Value::Integer(i64::from(hash) << 20),
        _ => Value::Fixed(i32::try_from(hash >> 8).unwrap()),
    }
}

/// What a boot learns: its own epoch, so that a date from another boot's shows.
pub(crate) fn mark(boot: BootId, quality: TimeQuality) -> TimeMark {
    let epoch = Timestamp(1_000_000_000_000 + u64::from(boot.0) * 1_000_000_000);
    TimeMark { boot, learned: Uptime(5), epoch, quality }
}

/// What a receiver knows of a boot.
#[derive(Clone, Copy, Default)]
pub(crate) struct Known {
    pub(crate) next: u32,
    pub(crate) readings: u32,
    pub(crate) lost: u32,
}

#[derive(Default)]
pub(crate) struct Receiver {
    pub(crate) boots: BTreeMap<u32, Known>,
    pub(crate) repeats: u64,
    pub(crate) dated: u32,
    pub(crate) dated_later: u32,
    pub(crate) undated: u32,
}

#[derive(Default)]
pub(crate) struct Model {
    /// For each boot: entries that are surely stored, and more whose push was cut.
    pub(crate) boots: BTreeMap<u32, (u32, u32)>,
    /// An ack or a mark may have been lost, so repeats are allowed until something new comes.
    pub(crate) repeats_allowed: bool,
    /// Boots told under an older one.
    pub(crate) merged: u32,
    /// The same, in this life.
    pub(crate) merging: u32,
    /// Boots that learned the time: how well, and at which place first.
    pub(crate) learned: BTreeMap<u32, (TimeQuality, u32)>,
    /// The boot of this life, if it learned the time in it: nothing of it is undated any more.
    pub(crate) dated: Option<BootId>,
    /// What the stored configuration may be.
    pub(crate) configs: Vec<u32>,
}

impl Receiver {
    pub(crate) fn take(&mut self, model: &mut Model, item: &Item, body: &[u8]) {
        let Up::Batch(batch) = decode_body(body).unwrap() else { panic!("not a batch") };
        assert_eq!((batch.boot, batch.first, batch.through()), (item.boot, item.first, Some(item.through)));
        self.check_time(model, &batch);
        let boot = batch.boot.0;
        let newest = self.boots.last_key_value().map_or(0, |(&boot, _)| boot);
        let known = self.boots.entry(boot).or_default();
        assert!(batch.first.0 <= known.next, "hole in boot {boot}: {} follows {}", batch.first.0, known.next);
        if batch.first.0 < known.next || boot < newest {
            self.repeats += 1;
            // A merged gap is new in front of younger gaps that were told before.
            let behind_merged = item.gap && model.merged + model.merging > 0;
            assert!(model.repeats_allowed || behind_merged, "a repeat without a cut or a lost ack");
        }
        for (seq, entry) in batch.after(Seq(known.next)) {
            assert_eq!(seq.0, known.next, "hole in boot {boot}");
            match &entry {
                Entry::Reading(reading) => {
                    assert_eq!(reading.value, value(boot, seq.0), "content of {boot}/{}", seq.0);
                    assert_eq!(batch.base.0 + u64::from(reading.dt_ms), u64::from(seq.0) * 10);
                    assert!(boot >= newest, "a reading of boot {boot} came after boot {newest}");
                    known.readings += 1;
                }
                Entry::Gap(gap) => known.lost += gap.count,
            }
            known.next = seq.0 + entry.count();
            model.repeats_allowed = false;
        }
    }

    /// Batches were stored with their time since their boot learned it, and without before.
    fn check_time(&mut self, model: &Model, batch: &Batch) {
        let boot = batch.boot;
        let alive = model.dated == Some(boot);
        let learned = model.learned.get(&boot.0);
        let before = learned.is_some_and(|&(_, at)| batch.first.0 < at);
        let Some(UtcTime { at, quality }) = batch.utc else {
            assert!(!alive, "boot {} knows the time and hands out {} undated", boot.0, batch.first.0);
            self.undated += u32::from(before);
            return;
        };
        let &(known, _) = learned.expect("a boot that never learned the time has none");
        assert_eq!(at.0, mark(boot, known).epoch.0 + batch.base.0, "of boot {}", boot.0);
        // What was stored with a guess keeps it; a cut may have taken the better mark.
        let kept = quality == TimeQuality::Estimated && !(alive && before);
        assert!(quality == known || kept, "{quality:?}, and {known:?} is known");
        if before {
            *(if alive { &mut self.dated } else { &mut self.dated_later }) += 1;
        }
    }

    /// With everything delivered: what was stored was told, as reading or gap, and nothing else was.
    pub(crate) fn check(&self, model: &Model) {
        let (mut surplus, mut surely) = (0i64, 0i64);
        for (boot, &(stored, maybe)) in &model.boots {
            let known = self.boots.get(boot).copied().unwrap_or_default();
            let told = i64::from(known.readings) + i64::from(known.lost);
            let (least, most) = (i64::from(stored), i64::from(stored + maybe));
            if model.merged == 0 {
                assert!(told == least || told == most, "boot {boot}: {told} told, {least} or {most} stored");
            }
            // The gap of an older boot may tell for a younger one, never the other way round.
            surplus += told - least;
            surely += told - most;
            assert!(
                surplus >= 0,
                "boot {boot}: {told} told, {least} stored, and no older gap tells the rest"
            );
        }
        assert!(surely <= 0 || model.merged > 0, "{surely} entries were told that never were");
        assert!(self.boots.keys().all(|boot| model.boots.contains_key(boot)), "a boot that never was");
    }
}
