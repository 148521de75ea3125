//! A machine that power can be cut from: a disk, what is mounted from it, and `headwater run` on top.
//!
//! In: a disk, plans. Out: the gateway's addresses while it runs, and what each cut took. Always: between the cut and the SIGKILL the
//! gateway gets no answer from the disk, so nothing it acknowledges can rest on what came after.
//! Not here: load and checks (`life`).

mod gateway;
mod medium;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) use self::gateway::{Gateway, Recovery, recovery};
use self::medium::Held;
pub(crate) use self::medium::Medium;
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
}

enum Power {
    On(Mounted, Option<Held>),
    Off(Disk),
}

impl Machine {
    /// A new machine that is off, its disk formatted, with all that belongs to it below `home`.
    pub(crate) fn new(medium: Medium, home: &Path, segment: &str) -> Result<Self, String> {
        let at = |name: &str| -> Result<PathBuf, String> {
            let path = home.join(name);
            std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(path)
        };
        let (disk_at, mut files_at) = (at("disk")?, at("files")?);
        if medium == Medium::Files {
            files_at.clone_from(&disk_at);
        }
        let gateway = Gateway::new(home, &files_at.join("state"), segment)?;
        let disk = mount(Disk::new(), &disk_at)?;
        medium.format(&disk_at)?;
        let (disk, _) = unmount(disk)?;
        Ok(Self { medium, disk_at, files_at, found: disk.clone(), power: Power::Off(disk), gateway })
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

    /// Starts the gateway. What it found, or nothing when power went before it was ready.
    pub(crate) fn start(&mut self) -> Result<Option<Recovery>, String> {
        let Self { gateway, power: Power::On(disk, held), .. } = self else {
            unreachable!("started with power on")
        };
        gateway.spawn(held.as_ref().map(Held::namespace).as_deref())?;
        gateway.healthy(|| disk.goes_off(Duration::ZERO))
    }

    /// Which syncs the disk honours until the next cut.
    pub(crate) fn honour(&self, honours: Honours) {
        self.disk().honour(honours);
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
        self.gateway.signal_kill();
        self.disk().release();
        self.gateway.reap();
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
        let files = ["headwater.log", "headwater.toml", "found"].map(|name| home.join(name));
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
