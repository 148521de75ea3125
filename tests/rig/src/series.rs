//! Lives one after the other, each with a few cuts, and the controls.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use system_tests::chance::Chance;

use crate::companions::Company;
use crate::disk::Honours;
use crate::ledger::Report;
use crate::life::Life;
use crate::machine::Medium;
use crate::power::{self, Plan};
use crate::watch;

/// Cuts in one life: enough that recoveries recover what recoveries have left, few enough that reading everything stays quick.
const CUTS_PER_LIFE: usize = 8;

/// A life below a file system is half as long, so that both are under test in a short series.
const CUTS_PER_BLOCK_LIFE: usize = 5;

/// Segment sizes, one for each life: the smallest that is allowed, so that names change often, and a larger one.
const SEGMENTS: [&str; 3] = ["4MiB", "4MiB", "8MiB"];

/// Everything that runs from one seed.
pub(crate) struct Series {
    /// A directory of the rig's own.
    pub(crate) home: PathBuf,
    /// What decides about the cuts.
    pub(crate) seed: u64,
}

impl Series {
    /// Cuts of these numbers, in lives on these media in turn.
    pub(crate) fn cuts(&self, media: &[Medium], cuts: Range<u64>) -> Result<String, String> {
        let started = Instant::now();
        let numbers: Vec<u64> = cuts.collect();
        let files = media == [Medium::Files];
        let per_life = if files { CUTS_PER_LIFE } else { CUTS_PER_BLOCK_LIFE };
        let (mut acked, mut found) = (0, 0);
        for (numbers, medium) in numbers.chunks(per_life).zip(media.iter().cycle()) {
            let report = self.life(*medium, numbers)?;
            acked += report.acked;
            found += report.found;
        }
        let seconds = started.elapsed().as_secs();
        Ok(format!("{} cuts: {acked} acknowledged, {found} found, 0 missing, in {seconds} s", numbers.len()))
    }

    /// A control: the disk ignores syncs of files. Below a file system that is a device which ignores FLUSH.
    pub(crate) fn lying_about_files(&self, medium: Medium) -> Result<String, String> {
        self.control(medium, Honours { files: false, names: true }, "files", 4_000)
    }

    /// A control: the disk ignores syncs of directories, and of nothing else. It takes load for several segments: the first ones were
    /// made while the disk was honest.
    pub(crate) fn lying_about_names(&self) -> Result<String, String> {
        self.control(Medium::Files, Honours { files: true, names: false }, "names", 100_000)
    }

    fn control(&self, medium: Medium, honours: Honours, what: &str, load: u64) -> Result<String, String> {
        let name = format!("control-{}-{what}", medium.name());
        let life =
            self.new_life(medium, &name, SEGMENTS[0], Company::default(), power::chance(self.seed, 0))?;
        watch::alive();
        let report = life.control(honours, load)?;
        let Report { acked, missing, .. } = report;
        let said = format!("control on {}: {acked} acknowledged, {missing} missing", medium.name());
        if missing > 0 { Ok(said) } else { Err(format!("{said}: a disk that lies was not caught")) }
    }

    fn life(&self, medium: Medium, cuts: &[u64]) -> Result<Report, String> {
        let name = format!("{}-{}", medium.name(), cuts[0]);
        let mut chance = power::chance(self.seed ^ 1, cuts[0]);
        let segment = SEGMENTS[usize::try_from(chance.between(0, 2)).expect("below 3")];
        let company = Company::seeded(&mut chance);
        println!("life {name} with {}", company.names());
        let mut life = self.new_life(medium, &name, segment, company, chance)?;
        let mut last = String::from("nothing");
        for cut in cuts {
            watch::alive();
            let mut plan = Plan::new(self.seed, *cut, medium == Medium::Files);
            plan.fates = plan.fates.with_sectors(medium.sector_bytes());
            let planned = format!(
                "cut {cut} on {}, {:?}, {:?}, {:?}",
                medium.name(),
                plan.phase,
                plan.moment,
                plan.fates.mode()
            );
            let done = life.cut(plan).map_err(|why| self.failed(&life, &name, &last, &why))?;
            let (toll, met) = (done.toll, if done.met { "" } else { ", the moment did not come" });
            last = format!(
                "{planned}{met}: {} of {} sectors and {} of {} names dropped; {} acknowledged so far; {} steps in a start",
                toll.sectors_lost,
                toll.sectors,
                toll.names_lost,
                toll.names,
                life.acked(),
                life.start_steps()
            );
            println!("{last}");
        }
        watch::alive();
        let (report, ended) = life.end().map_err(|why| self.failed(&life, &name, &last, &why))?;
        ended.iter().for_each(|done| println!("life {name}: {done}"));
        Ok(report)
    }

    fn new_life(
        &self,
        medium: Medium,
        name: &str,
        segment: &str,
        company: Company,
        chance: Chance,
    ) -> Result<Life, String> {
        let home = self.home.join(name);
        std::fs::create_dir(&home).map_err(|error| format!("{}: {error}", home.display()))?;
        Life::new(medium, &home, name, segment, company, chance)
    }

    /// What went wrong, where, and where its traces are.
    fn failed(&self, life: &Life, name: &str, last: &str, why: &str) -> String {
        let program = std::env::current_exe().unwrap_or_default();
        let target = program.ancestors().nth(2).unwrap_or(&self.home);
        let to = target.join(format!("power-failures/seed-{}-{name}", self.seed));
        let saved = match life.save(&self.home.join(name), &to) {
            Ok(()) => format!("log and disk are in {}", to.display()),
            Err(error) => format!("log and disk are not saved: {error}"),
        };
        format!("seed {}, life {name}, after {last}\n{why}\n{saved}", self.seed)
    }
}
