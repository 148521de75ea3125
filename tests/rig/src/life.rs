//! One life of a machine: from a new disk over some cuts to a clean stop, with load while it runs and a check after each start.
//!
//! Always: every start is followed by a reading of all shards before anything is written by the load. A life ends with the first
//! promise that is broken; the error says which and shows the gateway's log.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use system_tests::wait_until;

use crate::disk::{Fates, Honours, Mode, Toll};
use crate::ledger::{Ledger, Report};
use crate::load::{Load, STREAM};
use crate::machine::{Machine, Medium};
use crate::power::{Aim, Moment, Phase, Plan};

/// How long load may take to be acknowledged on a slow machine.
const LOAD_PATIENCE: Duration = Duration::from_secs(60);

/// A machine and what it has promised.
pub(crate) struct Life {
    machine: Machine,
    ledger: Ledger,
    name: String,
    loads: u32,
    /// Steps of the disk in the last start that was not cut.
    start_steps: u64,
}

/// One cut, for the line about it.
pub(crate) struct Cut {
    pub(crate) toll: Toll,
    /// Whether the moment came, or patience ended.
    pub(crate) met: bool,
}

impl Life {
    /// A new machine, off.
    pub(crate) fn new(medium: Medium, home: &Path, name: &str, segment: &str) -> Result<Self, String> {
        let machine = Machine::new(medium, home, segment)?;
        Ok(Self { machine, ledger: Ledger::default(), name: name.to_owned(), loads: 0, start_steps: 0 })
    }

    /// Acknowledged so far.
    pub(crate) fn acked(&self) -> usize {
        self.ledger.count()
    }

    /// One cut as planned, from a machine that is off to a machine that is off.
    pub(crate) fn cut(&mut self, plan: Plan) -> Result<Cut, String> {
        self.machine.switch_on()?;
        match plan.phase {
            Phase::Load => {
                self.start()?;
                let load = self.load(plan.acked)?;
                self.machine.arm(plan.moment, plan.fates);
                self.finish(Some(load))
            }
            Phase::StartAfterKill => {
                self.start()?;
                let load = self.load(plan.acked)?;
                self.machine.gateway.signal_kill();
                self.machine.gateway.reap();
                self.ledger.acked(load.finish());
                self.cut_start(plan)
            }
            Phase::StartAfterCut => self.cut_start(plan),
        }
    }

    /// A start, a last check, and a clean stop.
    pub(crate) fn end(&mut self) -> Result<Report, String> {
        self.machine.switch_on()?;
        let report = self.start()?;
        self.machine.gateway.stop()?;
        self.machine.switch_off()?;
        Ok(report)
    }

    /// The cut of a disk that does not honour all syncs, after so much was acknowledged, and what is missing then.
    pub(crate) fn control(mut self, honours: Honours, acked: u64) -> Result<Report, String> {
        self.machine.switch_on()?;
        self.start()?;
        self.machine.honour(honours);
        let load = self.load(acked)?;
        self.machine.arm(Moment { aim: Aim::Any, skip: 0, done: false }, Fates::new(Mode::Nothing, 0));
        self.finish(Some(load))?;
        self.machine.switch_on()?;
        // It may well alarm; it must start.
        self.machine.start()?;
        self.read()
    }

    /// Keeps what is needed to find out why a life went wrong.
    pub(crate) fn save(&self, home: &Path, to: &Path) -> Result<(), String> {
        self.machine.save(home, to)
    }

    /// Starts the gateway on a disk that is not armed, and checks everything it has promised.
    fn start(&mut self) -> Result<Report, String> {
        let before = self.machine.steps();
        let recovery = self.machine.start()?.ok_or("power went without being cut")?;
        self.start_steps = self.machine.steps() - before;
        let report = self.read()?;
        if recovery.alarm() || !report.clean() {
            return Err(format!("{report:?}\n{recovery:?}\n{}", self.machine.gateway.tail()));
        }
        Ok(report)
    }

    fn read(&mut self) -> Result<Report, String> {
        let mut kinesis = self.machine.gateway.kinesis();
        // The client panics when a call fails. Here that is a failure like another, with a disk that is worth keeping.
        let records = catch_unwind(AssertUnwindSafe(|| kinesis.read_all(STREAM)));
        let records = records
            .map_err(|_| format!("the shards cannot be read, see above\n{}", self.machine.gateway.tail()))?;
        Ok(self.ledger.check(&records))
    }

    /// A start with power about to go. When it is quicker, load follows until power goes.
    fn cut_start(&mut self, plan: Plan) -> Result<Cut, String> {
        self.machine.arm(plan.moment, plan.fates);
        let load = match self.machine.start()? {
            None => None,
            Some(recovery) if recovery.alarm() => {
                return Err(format!("{recovery:?}\n{}", self.machine.gateway.tail()));
            }
            Some(_) => Some(self.flood()),
        };
        self.finish(load)
    }

    /// Waits for the cut, and for the load that it ends.
    fn finish(&mut self, load: Option<Load>) -> Result<Cut, String> {
        let (toll, met) = self.machine.cut()?;
        if let Some(load) = load {
            self.ledger.acked(load.finish());
        }
        Ok(Cut { toll, met })
    }

    fn flood(&mut self) -> Load {
        self.loads += 1;
        let gateway = &self.machine.gateway;
        Load::new(gateway.mqtt, gateway.kinesis, &format!("{}-{:03}", self.name, self.loads))
    }

    /// Load of which so much has been acknowledged, and some by each door.
    fn load(&mut self, acked: u64) -> Result<Load, String> {
        let load = self.flood();
        let flowing = wait_until(LOAD_PATIENCE, || {
            let (mqtt, kinesis) = load.acked();
            mqtt > 0 && kinesis > 0 && mqtt + kinesis >= acked
        });
        if flowing {
            return Ok(load);
        }
        let counts = load.acked();
        self.machine.gateway.signal_kill();
        Err(format!("acknowledged in {LOAD_PATIENCE:?}: {counts:?}\n{}", self.machine.gateway.tail()))
    }

    /// Steps of the disk in the last start that was not cut.
    pub(crate) fn start_steps(&self) -> u64 {
        self.start_steps
    }
}
