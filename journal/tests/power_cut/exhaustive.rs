//! A short script, the power cut at each of its steps, and every legal state of the disk after that.

use headwater_journal::storage::{Fate, Fault, Operation, Pending, SimDisk};
use headwater_journal::{AppendSet, Compression, Config, Core, ReadLimits, ShardKey};

use crate::coding::set_keys;
use crate::model::{Model, Record, Staged};
use crate::world::config;

const NOW_MS: u64 = 1_790_000_000_000;
const LIMITS: ReadLimits = ReadLimits { records: 100, bytes: 1 << 20 };
/// Two to the eighth states of a cut are tried; a step that leaves more pending would need a shorter script.
const PENDING_MAX: u64 = 8;

#[test]
fn every_state_after_a_cut_at_every_step_recovers() {
    println!("{}", cut_everywhere(false));
}

#[test]
fn every_state_of_a_sealed_and_compressed_journal_recovers() {
    println!("{}", cut_everywhere(true));
}

/// Says how much was tried.
fn cut_everywhere(coded: bool) -> String {
    let (mut states, mut steps) = (0, 0);
    loop {
        let disk = SimDisk::new(steps);
        let mut model = Model::default();
        disk.fail_step(steps, Fault::PowerOff);
        play(&disk, &mut model, coded);
        if disk.is_powered() {
            break;
        }
        states += try_all(&disk, &model, steps);
        steps += 1;
    }
    assert!(states > 200 && steps > 60, "{states} states after {steps} steps");
    format!("{states} states after {steps} steps")
}

trait Powered {
    fn is_powered(&self) -> bool;
}

impl Powered for SimDisk {
    fn is_powered(&self) -> bool {
        headwater_journal::Storage::list(self).is_ok()
    }
}

/// Sets over two shards and metadata in three groups a life, with upkeep between them. The first life ends by a kill, the second
/// by closing; the third lets go of what the first wrote, so that a segment is recycled.
fn play(disk: &SimDisk, model: &mut Model, coded: bool) {
    for life in 0..4_u64 {
        let compression = if coded { Compression::Lz4 } else { Compression::None };
        let config = Config { compression, ..config() };
        let Ok((core, _)) = Core::open_on(disk.clone(), config, NOW_MS, life) else { return };
        if coded {
            set_keys(&core);
            core.keys().seal_with(1, Some(u16::from(life >= 2)));
        }
        for group in 0..3_u64 {
            for part in 0..2 {
                append(&core, model, &format!("{life}.{group}.{part}"));
            }
            let _ = core.commit();
            model.acknowledge(core.durable().0);
            if life >= 2 {
                for shard in 0..2 {
                    let shard = ShardKey { stream: 1, shard };
                    let before = (life - 1) * 6 + 1;
                    model.trim(shard, before);
                    core.trim(shard, before);
                }
            }
            while core.maintain(NOW_MS) && disk.is_powered() {}
            model.acknowledge(core.durable().0);
        }
        if life % 2 == 1 {
            core.close(NOW_MS);
        }
    }
}

fn append(core: &Core<SimDisk>, model: &mut Model, text: &str) {
    let mut set = AppendSet::new();
    let mut staged = Staged { ticket: 0, records: Vec::new(), meta: Vec::new() };
    for shard in 0..2 {
        let shard = ShardKey { stream: 1, shard };
        set.batch(shard);
        set.record(text.as_bytes(), b"data");
        let record =
            Record { time_ms: NOW_MS, key: text.as_bytes().to_vec(), data: b"data".to_vec(), ticket: 0 };
        staged.records.push((shard, record));
    }
    set.put(b"cursor", text.as_bytes(), None);
    staged.meta.push((b"cursor".to_vec(), Some(text.as_bytes().to_vec())));
    if let Ok(appended) = core.append(&set, NOW_MS) {
        staged.ticket = appended.ticket.0;
        model.stage(staged);
    }
}

/// Every state the disk may be in; how many there were.
fn try_all(disk: &SimDisk, model: &Model, step: u64) -> u64 {
    assert!(disk.pending() <= PENDING_MAX, "{} changes pending at step {step}", disk.pending());
    let mut choices = Choices::default();
    let mut states = 0;
    loop {
        let few = disk.pending() <= 3;
        let after = disk.fork().power_cut_with(|pending| fate(&pending, few, &mut choices));
        check(&after, model.clone())
            .unwrap_or_else(|reason| panic!("cut at step {step}, fates {:?}: {reason}", choices.path));
        states += 1;
        if !choices.advance() {
            return states;
        }
    }
}

/// Opens and checks; then once more after a cut that loses what recovery did not sync: what a start has shown must stay.
fn check(disk: &SimDisk, mut model: Model) -> Result<(), String> {
    for seed in 0..2 {
        let disk = if seed == 0 { disk.clone() } else { disk.power_cut_with(|_| Fate::Lost) };
        let opened = Core::open_on(disk, config(), NOW_MS, 100 + seed);
        let (core, recovery) = opened.map_err(|error| format!("does not open: {error:?}"))?;
        set_keys(&core);
        if !recovery.is_clean() {
            return Err(format!("false alarm: {recovery:?}"));
        }
        model.adopt(&core)?;
        model.check(&core, LIMITS)?;
    }
    Ok(())
}

fn fate(pending: &Pending<'_>, few: bool, choices: &mut Choices) -> Fate {
    let sectors = pending.len / 512;
    let torn = [
        Fate::Lost,
        Fate::Kept,
        Fate::Head { sectors: 1 },
        Fate::Head { sectors: sectors.saturating_sub(1) },
        Fate::Sectors { mask: !1 },
        Fate::Sectors { mask: 0x5555_5555_5555_5555 },
    ];
    let count = if few && pending.operation == Operation::Write { torn.len() } else { 2 };
    torn[choices.choose(count)]
}

/// Walks a tree of choices whose shape is known only by walking it.
#[derive(Default)]
struct Choices {
    path: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    fn choose(&mut self, count: usize) -> usize {
        if self.at == self.path.len() {
            self.path.push((0, count));
        }
        self.at += 1;
        self.path[self.at - 1].0
    }

    /// To the next leaf; false after the last.
    fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, count)) = self.path.pop() {
            if chosen + 1 < count {
                self.path.push((chosen + 1, count));
                return true;
            }
        }
        false
    }
}
