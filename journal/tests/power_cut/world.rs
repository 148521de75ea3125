//! One journal on one simulated disk through several lives, beside the model.
//!
//! In: a seed. Out: nothing, or the first difference between journal and model with the steps that led to it.
//! Not here: what is right (`model`), damage by flipped bits (`damage`).

use headwater_journal::storage::{Fault, Operation, SimDisk};
use headwater_journal::{Config, Core, ReadLimits, ShardKey, State, Storage};

use crate::actions::End;
use crate::chance::Chance;
use crate::coding::Coding;
use crate::model::Model;

/// Puts a storage over the disk: the disk itself, or one that breaks a promise on purpose.
pub(crate) trait Over {
    type Storage: Storage;
    fn over(disk: SimDisk) -> Self::Storage;
}

pub(crate) struct Honest;

impl Over for Honest {
    type Storage = SimDisk;
    fn over(disk: SimDisk) -> SimDisk {
        disk
    }
}

/// Small segments, so that a few appends fill one; a small limit, so that the journal runs full and recycles.
pub(crate) fn config() -> Config {
    Config {
        segment_bytes: 64 << 10,
        pool_segments: 2,
        size_bytes_max: 24 * (64 << 10),
        reserve_bytes: 0,
        group_bytes_max: 12 << 10,
        staged_bytes_max: 48 << 10,
        tail_cache_bytes: 16 << 10,
        ..Config::default()
    }
}

/// How lives end, by weight: whether the journal is closed, and whether the power is cut or the process killed.
const ENDS: [(bool, bool); 8] = [
    (false, true),
    (false, true),
    (false, true),
    (false, true),
    (false, true),
    (true, true),
    (true, false),
    (false, false),
];

pub(crate) struct World<O: Over> {
    pub(crate) chance: Chance,
    pub(crate) disk: SimDisk,
    pub(crate) model: Model,
    pub(crate) now_ms: u64,
    pub(crate) cuts: u64,
    /// What was done in this life, printed when a check fails.
    pub(crate) log: Vec<String>,
    pub(crate) shards: Vec<ShardKey>,
    pub(crate) made: u64,
    pub(crate) coding: Coding,
    over: std::marker::PhantomData<O>,
}

impl<O: Over> World<O> {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let disk = SimDisk::new(chance.next());
        if chance.percent(20) {
            disk.limit_bytes((6 + chance.below(14)) * config().segment_bytes);
        }
        let shard = |index: u32| ShardKey { stream: 1 + index / 3, shard: index % 3 };
        let shards = (0..=u32::try_from(chance.below(6)).unwrap()).map(shard).collect();
        let now_ms = 1_790_000_000_000;
        let model = Model::default();
        Self {
            chance,
            disk,
            model,
            now_ms,
            cuts: 0,
            log: Vec::new(),
            shards,
            made: 0,
            coding: Coding::new(seed),
            over: std::marker::PhantomData,
        }
    }

    /// Lives until `cuts` power cuts have happened.
    pub(crate) fn run(&mut self, cuts: u64) -> Result<(), String> {
        while self.cuts < cuts {
            self.live(25)?;
        }
        Ok(())
    }

    /// One life: open, check, act, end.
    fn live(&mut self, actions_max: u64) -> Result<(), String> {
        self.log.push(format!("-- life after {} cuts", self.cuts));
        if self.chance.percent(25) {
            self.plan_fault(12);
        }
        let Some(core) = self.open()? else { return Ok(()) };
        if !self.running(&core) {
            self.end(core);
            return Ok(());
        }
        self.model.adopt(&core)?;
        let limits = self.read_limits();
        self.model.check(&core, limits)?;
        if self.chance.percent(70) {
            self.plan_fault(40);
        }
        for _ in 0..self.chance.below(actions_max) {
            let end = self.act(&core)?;
            self.model.acknowledge(core.durable().0);
            if end == End::Stopped || !self.running(&core) {
                break;
            }
        }
        self.end(core);
        Ok(())
    }

    fn running(&self, core: &Core<O::Storage>) -> bool {
        self.powered() && !matches!(core.state(), State::Failed { .. })
    }

    /// Opens; a planned fault may prevent that, and then the power is cut.
    pub(crate) fn open(&mut self) -> Result<Option<Core<O::Storage>>, String> {
        let before = self.disk.fork();
        let seed = self.chance.next();
        let config = self.coding.config();
        match Core::open_on(O::over(self.disk.clone()), config.clone(), self.now_ms, seed) {
            Ok((core, recovery)) => {
                self.log.push(format!("open: {recovery:?}"));
                // Without power it cannot read what it then reports lost.
                if recovery.is_clean() || !self.powered() {
                    if self.powered() {
                        self.coding.equip(&core)?;
                    }
                    Ok(Some(core))
                } else {
                    Err(format!("false alarm: {recovery:?}"))
                }
            }
            Err(error) => {
                self.log.push(format!("open: {error:?}"));
                // Without the planned fault the same disk must open.
                let unharmed = Core::open_on(O::over(before.kill()), config, self.now_ms, seed);
                unharmed.map_err(|error| format!("does not open: {error:?}"))?;
                self.cut();
                Ok(None)
            }
        }
    }

    /// One more life without faults, after which everything is acknowledged; says whether it was closed.
    pub(crate) fn settle(&mut self) -> Result<bool, String> {
        self.log.push(format!("-- life after {} cuts", self.cuts));
        self.disk = self.disk.kill();
        let core = self.open()?.ok_or("does not open without faults")?;
        self.model.adopt(&core)?;
        for _ in 0..5 + self.chance.below(30) {
            self.act(&core)?;
            core.commit().map_err(|error| error.to_string())?;
            self.model.acknowledge(core.durable().0);
        }
        let close = self.chance.percent(50);
        if close {
            core.close(self.now_ms);
        }
        drop(core);
        self.disk = self.disk.power_cut(self.chance.next());
        Ok(close)
    }

    fn plan_fault(&mut self, steps: u64) {
        let skip = self.chance.below(steps);
        let fault = match self.chance.weighted(&[70, 15, 5, 5, 5]) {
            0 => Fault::PowerOff,
            1 => Fault::Error,
            2 => Fault::ShortWrite,
            3 => Fault::NoSpace,
            _ => {
                self.log.push("faults at 1 in 30".into());
                return self.disk.fail_rate(30);
            }
        };
        if self.chance.percent(15) {
            let operation = self.chance.pick(&[
                Operation::Sync,
                Operation::Write,
                Operation::Create,
                Operation::Rename,
                Operation::SyncDir,
                Operation::Remove,
            ]);
            self.log.push(format!("plan {fault:?} at {operation:?} {}", skip / 4));
            return self.disk.fail_operation(operation, skip / 4, fault);
        }
        self.log.push(format!("plan {fault:?} at step {skip}"));
        self.disk.fail_step(skip, fault);
    }

    /// Ends a life: by a cut mostly, else by a kill, or by closing with or without a cut after it.
    fn end(&mut self, core: Core<O::Storage>) {
        let (close, mut cut) = self.chance.pick(&ENDS);
        if close {
            core.close(self.now_ms);
            self.model.acknowledge(core.durable().0);
        }
        drop(core);
        cut |= !self.powered();
        self.log.push(format!("end: close {close}, cut {cut}"));
        // A reader that wants its place held says so again after a start.
        for shard in self.model.shards.values_mut() {
            shard.held = None;
        }
        if cut {
            self.cut();
        } else {
            self.disk = self.disk.kill();
        }
    }

    fn powered(&self) -> bool {
        self.disk.free_bytes().is_ok()
    }

    pub(crate) fn cut(&mut self) {
        self.cuts += 1;
        self.disk = self.disk.power_cut(self.chance.next());
    }

    pub(crate) fn read_limits(&mut self) -> ReadLimits {
        let records = usize::try_from(1 + self.chance.below(20)).unwrap();
        ReadLimits { records, bytes: usize::try_from(1 + self.chance.below(20_000)).unwrap() }
    }
}
