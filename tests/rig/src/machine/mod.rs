//! A machine that power can be cut from: a disk, what is mounted from it, `headwater run` on top, and an agent beside it if wanted.
//!
//! In: a disk, plans. Out: the programs' addresses while they run, and what each cut took. Always: between the cut and the SIGKILL no
//! program gets an answer from the disk, so nothing it acknowledges can rest on what came after.
//! Not here: load and checks (`life`).

mod agent;
mod gateway;
mod medium;
mod program;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) use self::agent::Agent;
pub(crate) use self::gateway::{Gateway, Recovery, recovery};
use self::medium::Held;
pub(crate) use self::medium::Medium;
pub(crate) use self::program::Program;
use crate::disk::{Disk, Fates, Honours, Toll};
use crate::mount::Mounted;
use crate::power::Moment;

/// A moment that does not come within this is not waited for: power goes then, whatever the machine is doing.
const MOMENT_PATIENCE: Duration = Duration::from_secs(2);

/// A machine, on or off.
pub(crate) struct Machine {
    medium: Medium,
    disk_at: PathBuf,
    files_at: PathBuf,
    power: Power,
    /// The disk as it was when power came back: what a start that went wrong had to work with.
    found: Disk,
    /// The gateway; it has its ports over all its starts.
    pub(crate) gateway: Gateway,
    /// The agent, if there is one.
    pub(crate) agent: Option<Agent>,
}

/// What a new machine is told.
pub(crate) struct Setup {
    /// Inside of `[journal]`.
    pub(crate) journal: String,
    /// Behind it.
    pub(crate) more: String,
    /// Whether an agent runs beside the gateway.
    pub(crate) agent: bool,
}

enum Power {
    On(Mounted, Option<Held>),
    Off(Disk),
}

impl Machine {
    /// A new machine that is off, its disk formatted, with all that belongs to it below `home`.
    pub(crate) fn new(medium: Medium, home: &Path, setup: &Setup) -> Result<Self, String> {
        let at = |name: &str| -> Result<PathBuf, String> {
            let path = home.join(name);
            std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(path)
        };
        let (disk_at, mut files_at) = (at("disk")?, at("files")?);
        if medium == Medium::Files {
            files_at.clone_from(&disk_at);
        }
        let gateway = Gateway::new(home, &files_at.join("state"), &setup.journal, &setup.more)?;
        let agent = || Agent::new(home, &files_at.join("agent"), gateway.mqtt);
        let agent = setup.agent.then(agent).transpose()?;
        let disk = mount(Disk::new(), &disk_at)?;
        medium.format(&disk_at)?;
        let (disk, _) = unmount(disk)?;
        Ok(Self { medium, disk_at, files_at, found: disk.clone(), power: Power::Off(disk), gateway, agent })
    }

    /// Power on, up to the mounted file system.
    pub(crate) fn switch_on(&mut self) -> Result<(), String> {
        if let Power::Off(disk) = &mut self.power {
            let disk = std::mem::replace(disk, Disk::new());
            self.found = disk.clone();
            let disk = mount(disk, &self.disk_at)?;
            self.power = Power::On(disk, self.medium.mount(&self.disk_at, &self.files_at)?);
        }
        Ok(())
    }

    /// Starts gateway and agent. What the gateway found, or nothing when power went before it was ready.
    pub(crate) fn start(&mut self) -> Result<Option<Recovery>, String> {
        let Self { gateway, agent, power: Power::On(disk, held), .. } = self else {
            unreachable!("started with power on")
        };
        let namespace = held.as_ref().map(Held::namespace);
        gateway.program.spawn(namespace.as_deref())?;
        if let Some(agent) = agent {
            agent.program.spawn(namespace.as_deref())?;
        }
        gateway.healthy(|| disk.goes_off(Duration::ZERO))
    }

    /// SIGKILL to every program.
    fn signal_kill(&mut self) {
        self.programs().for_each(Program::signal_kill);
    }

    /// A crash without a cut: every program ends, power stays on.
    pub(crate) fn crash(&mut self) {
        self.signal_kill();
        self.programs().for_each(Program::reap);
    }

    /// SIGTERM to every program, the agent first; all must end well.
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        self.programs().try_for_each(Program::stop)
    }

    /// The ends of the logs.
    pub(crate) fn tail(&mut self) -> String {
        self.programs().map(|program| program.tail()).collect::<Vec<_>>().join("\n---\n")
    }

    fn programs(&mut self) -> impl Iterator<Item = &mut Program> {
        let agent = self.agent.as_mut().map(|agent| &mut agent.program);
        agent.into_iter().chain([&mut self.gateway.program])
    }

    /// Which syncs the disk honours until the next cut.
    pub(crate) fn honour(&self, honours: Honours) {
        self.disk().honour(honours);
    }

    /// The sector that these bytes are in cannot be read from now on; its place in its file.
    pub(crate) fn spoil(&self, bytes: &[u8]) -> Option<u64> {
        self.disk().spoil(bytes)
    }

    /// Everything can be read again.
    pub(crate) fn heal(&self) {
        self.disk().heal();
    }

    /// Changes the disk was asked for since power is on.
    pub(crate) fn steps(&self) -> u64 {
        self.disk().steps()
    }

    /// Power will go at this moment.
    pub(crate) fn arm(&self, moment: Moment, fates: Fates) {
        self.disk().arm(moment, fates);
    }

    /// Waits for the moment it was armed with, then lets everything die that power kept alive. What the cut took, and whether the
    /// moment had come.
    pub(crate) fn cut(&mut self) -> Result<(Toll, bool), String> {
        let met = self.disk().goes_off(MOMENT_PATIENCE);
        self.disk().cut();
        self.signal_kill();
        self.disk().release();
        self.programs().for_each(Program::reap);
        let toll = self.switch_off()?;
        Ok((toll, met))
    }

    /// Unmounts everything. After a cut the disk is what the cut left.
    pub(crate) fn switch_off(&mut self) -> Result<Toll, String> {
        match std::mem::replace(&mut self.power, Power::Off(Disk::new())) {
            Power::Off(_) => unreachable!("only a machine that is on is switched off"),
            Power::On(mounted, held) => {
                held.map_or(Ok(()), Held::unmount)?;
                let (disk, toll) = unmount(mounted)?;
                self.power = Power::Off(disk);
                Ok(toll)
            }
        }
    }

    /// Copies the gateway's log, its configuration, and the disk as it was when power came back the last time, into a new directory.
    pub(crate) fn save(&self, home: &Path, to: &Path) -> Result<(), String> {
        let at = home.join("found");
        let said = |error: std::io::Error| format!("{}: {error}", to.display());
        std::fs::create_dir(&at).map_err(said)?;
        let found = mount(self.found.clone(), &at)?;
        // An earlier failure under this name is of no use any more.
        let _ = std::fs::remove_dir_all(to);
        std::fs::create_dir_all(to).map_err(said)?;
        let files =
            ["headwater.log", "headwater.toml", "headwater-agent.log", "found"].map(|name| home.join(name));
        let files = files.into_iter().filter(|file| file.exists());
        medium::run(Command::new("cp").args(["-r", "--sparse=always"]).args(files).arg(to))?;
        unmount(found).map(drop)
    }

    fn disk(&self) -> &Mounted {
        match &self.power {
            Power::On(mounted, _) => mounted,
            Power::Off(_) => unreachable!("only a machine that is on is asked"),
        }
    }
}

fn mount(disk: Disk, at: &Path) -> Result<Mounted, String> {
    Mounted::new(disk, at).map_err(|error| format!("{}: cannot mount the disk: {error}", at.display()))
}

fn unmount(mounted: Mounted) -> Result<(Disk, Toll), String> {
    mounted.unmount().map_err(|error| error.to_string())
}
