//! One life of a machine: from a new disk over some cuts to a clean stop, with load while it runs and a check after each start.
//!
//! Always: every start is followed by a reading of all shards before anything is written by the load. A life ends with the first
//! promise that is broken; the error says which and shows the gateway's log.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use system_tests::chance::Chance;
use system_tests::wait_until;

use crate::companions::{Companion, Company, Target};
use crate::disk::{Fates, Honours, Mode, Toll};
use crate::ledger::{Ledger, Report};
use crate::load::{self, Load, STREAM};
use crate::machine::{Machine, Medium, Setup};
use crate::power::{Aim, Moment, Phase, Plan};

/// How long load may take to be acknowledged on a slow machine.
const LOAD_PATIENCE: Duration = Duration::from_secs(60);

/// The journal of a machine on which streams are deleted: the load takes some 30 MiB in a life, and streams of 6 MiB come and go.
const JOURNAL_FREED: &str = "segment = \"4MiB\"\nmax = \"96MiB\"\n";

/// A machine and what it has promised.
pub(crate) struct Life {
    machine: Machine,
    ledger: Ledger,
    companions: Vec<Box<dyn Companion>>,
    /// Whether companions were asked after this start: a start that was to be cut and was quicker is followed by plain load.
    checked: bool,
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
    /// A new machine, off; `chance` is that of its companions.
    pub(crate) fn new(
        medium: Medium,
        home: &Path,
        name: &str,
        segment: &str,
        company: Company,
        chance: Chance,
    ) -> Result<Self, String> {
        let target = company.sink.then(|| Target::start(&home.join("target"))).transpose()?;
        // Little enough that it is full after some deleted streams.
        let journal =
            if company.freed { JOURNAL_FREED.to_owned() } else { format!("segment = \"{segment}\"\n") };
        let setup = Setup {
            journal,
            more: load::config() + &target.as_ref().map(Target::config).unwrap_or_default(),
            agent: company.agent,
        };
        let machine = Machine::new(medium, home, &setup)?;
        let companions = company.gather(chance, home, name, machine.agent.as_ref(), target);
        let ledger = Ledger::default();
        Ok(Self {
            machine,
            ledger,
            companions,
            checked: false,
            name: name.to_owned(),
            loads: 0,
            start_steps: 0,
        })
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
                self.machine.crash();
                self.finished(load);
                self.cut_start(plan)
            }
            Phase::StartAfterCut => self.cut_start(plan),
        }
    }

    /// A start, a last check, and a clean stop. What the companions did, too.
    pub(crate) fn end(&mut self) -> Result<(Report, Vec<String>), String> {
        self.machine.switch_on()?;
        let report = self.start()?;
        let ended: Result<Vec<String>, String> =
            self.companions.iter_mut().map(|companion| companion.end(&self.machine.gateway)).collect();
        let ended = ended.map_err(|why| format!("{why}\n{}", self.machine.tail()))?;
        self.machine.stop()?;
        self.machine.switch_off()?;
        Ok((report, ended))
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
            return Err(format!("{report:?}\n{recovery:?}\n{}", self.machine.tail()));
        }
        self.check_companions()?;
        Ok(report)
    }

    fn check_companions(&mut self) -> Result<(), String> {
        let Self { companions, machine, .. } = self;
        if let Some(agent) = &mut machine.agent {
            agent.answers()?;
        }
        // As with the reading of the shards, a call that fails panics.
        let checked = catch_unwind(AssertUnwindSafe(|| {
            companions.iter_mut().try_for_each(|companion| companion.check(&machine.gateway))
        }));
        let checked = checked.unwrap_or_else(|_| Err("a companion cannot ask, see above".to_owned()));
        self.checked = true;
        checked.map_err(|why| format!("{why}\n{}", self.machine.tail()))
    }

    fn read(&mut self) -> Result<Report, String> {
        let mut kinesis = self.machine.gateway.kinesis();
        // The client panics when a call fails. Here that is a failure like another, with a disk that is worth keeping.
        let records = catch_unwind(AssertUnwindSafe(|| kinesis.read_all(STREAM)));
        let records =
            records.map_err(|_| format!("the shards cannot be read, see above\n{}", self.machine.tail()))?;
        Ok(self.ledger.check(&records))
    }

    /// A start with power about to go. When it is quicker, load follows until power goes.
    fn cut_start(&mut self, plan: Plan) -> Result<Cut, String> {
        self.checked = false;
        self.machine.arm(plan.moment, plan.fates);
        let load = match self.machine.start()? {
            None => None,
            Some(recovery) if recovery.alarm() => {
                return Err(format!("{recovery:?}\n{}", self.machine.tail()));
            }
            Some(_) => Some(self.flood()?),
        };
        self.finish(load)
    }

    /// Waits for the cut, and for the load that it ends.
    fn finish(&mut self, load: Option<Load>) -> Result<Cut, String> {
        let (toll, met) = self.machine.cut()?;
        if let Some(load) = load {
            self.finished(load);
        }
        Ok(Cut { toll, met })
    }

    /// Everybody's connections are broken: what was acknowledged meanwhile.
    fn finished(&mut self, load: Load) {
        self.ledger.acked(load.finish());
        self.companions.iter_mut().for_each(|companion| companion.finish());
    }

    fn flood(&mut self) -> Result<Load, String> {
        self.loads += 1;
        let gateway = &self.machine.gateway;
        if self.checked {
            self.companions.iter_mut().try_for_each(|companion| companion.begin(gateway))?;
        }
        Ok(Load::new(gateway.mqtt, gateway.kinesis, &format!("{}-{:03}", self.name, self.loads)))
    }

    /// Load of which so much has been acknowledged, and some by each door.
    fn load(&mut self, acked: u64) -> Result<Load, String> {
        let load = self.flood()?;
        let flowing = wait_until(LOAD_PATIENCE, || {
            let (mqtt, kinesis) = load.acked();
            mqtt > 0 && kinesis > 0 && mqtt + kinesis >= acked
        });
        if flowing {
            return Ok(load);
        }
        let counts = load.acked();
        self.machine.crash();
        Err(format!("acknowledged in {LOAD_PATIENCE:?}: {counts:?}\n{}", self.machine.tail()))
    }

    /// Steps of the disk in the last start that was not cut.
    pub(crate) fn start_steps(&self) -> u64 {
        self.start_steps
    }
}
