//! The disk where the kernel can see it: FUSE requests in, answers out, and the cut.
//!
//! Always: every request goes to the disk at once and none is answered from a cache of the kernel, so the disk's own cache is the only
//! volatile one. At a cut the disk is copied as the cut leaves it. From then on no change is answered until [`Mounted::release`], so a
//! process can be killed before it learns of anything that came after. What still comes goes to the old disk, which nobody will see
//! again: file systems above can be unmounted in peace.
//! Not here: what survives (`disk`), who is killed when (`machine`).

mod requests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use rustix::mount::UnmountFlags;
use system_tests::wait_until;

use crate::disk::{Disk, Fates, Honours, Refusal, Toll};
use crate::power::{Moment, Step};

/// How long the kernel may take to let go of a file system whose processes are gone.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(10);

/// A mounted disk. Dropping it unmounts.
pub(crate) struct Mounted {
    server: Arc<Server>,
    session: BackgroundSession,
    at: PathBuf,
}

/// What the kernel's requests and the rig share.
#[derive(Clone)]
struct Face {
    server: Arc<Server>,
}

struct Server {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    disk: Disk,
    power: Power,
    /// Changes asked for so far.
    steps: u64,
    /// What the cut left.
    left: Option<(Disk, Toll)>,
}

enum Power {
    On(Option<(Moment, Fates)>),
    /// Off, and what was asked since: to be done on the old disk and answered when the killed are dead.
    Cut(Vec<Parked>),
    /// Off, and requests are answered again.
    Gone,
}

type Parked = Box<dyn FnOnce(&mut Disk) + Send>;

impl Mounted {
    /// Mounts a disk at an existing directory.
    pub(crate) fn new(disk: Disk, at: &Path) -> io::Result<Self> {
        let state = State { disk, power: Power::On(None), steps: 0, left: None };
        let server = Arc::new(Server { state: Mutex::new(state), changed: Condvar::new() });
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("power-rig".into()), MountOption::NoAtime];
        config.acl = SessionACL::All;
        let session = Session::new(Face { server: Arc::clone(&server) }, at, &config)?.spawn()?;
        Ok(Self { server, session, at: at.to_owned() })
    }

    /// Which syncs the disk honours from now on.
    pub(crate) fn honour(&self, honours: Honours) {
        self.server.lock().disk.honours = honours;
    }

    /// Does not read the sector of these bytes from now on, and says where it is; as [`Disk::spoil`].
    pub(crate) fn spoil(&self, bytes: &[u8]) -> Option<u64> {
        self.server.lock().disk.spoil(bytes)
    }

    /// Reads everything again.
    pub(crate) fn heal(&self) {
        self.server.lock().disk.heal();
    }

    /// Changes asked for so far.
    pub(crate) fn steps(&self) -> u64 {
        self.server.lock().steps
    }

    /// Will cut at this moment.
    pub(crate) fn arm(&self, moment: Moment, fates: Fates) {
        self.server.lock().power = Power::On(Some((moment, fates)));
    }

    /// Whether power went within `patience`.
    pub(crate) fn goes_off(&self, patience: Duration) -> bool {
        let state = self.server.lock();
        let waited = self
            .server
            .changed
            .wait_timeout_while(state, patience, |state| matches!(state.power, Power::On(_)));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Cuts now, with the fates it was armed with, unless power has gone already.
    pub(crate) fn cut(&self) {
        let mut state = self.server.lock();
        if let Power::On(armed) = &mut state.power {
            let (_, fates) = armed.take().expect("armed before it is cut");
            state.cut(fates);
        }
    }

    /// Answers what has waited since the cut. Whoever must not see the answers has been sent SIGKILL before.
    pub(crate) fn release(&self) {
        let state = &mut *self.server.lock();
        if let Power::Cut(parked) = std::mem::replace(&mut state.power, Power::Gone) {
            for parked in parked {
                parked(&mut state.disk);
            }
        }
    }

    /// Unmounts. The disk as the cut left it, or as it is when there was none.
    pub(crate) fn unmount(self) -> io::Result<(Disk, Toll)> {
        let mut said = Ok(());
        let gone = wait_until(UNMOUNT_PATIENCE, || {
            said = rustix::mount::unmount(&self.at, UnmountFlags::empty());
            said.is_ok()
        });
        if !gone {
            let found = format!("{}: cannot unmount: {:?}", self.at.display(), said.err());
            return Err(io::Error::other(found));
        }
        // Not the session's own unmounting: it would report that there is nothing left to unmount.
        match self.session.join() {
            // A request nobody waited for (a forgotten name) was on its way when the kernel hung up.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            ended => ended?,
        }
        let state = &mut *self.server.lock();
        let left = state.left.take();
        Ok(left.unwrap_or_else(|| (std::mem::replace(&mut state.disk, Disk::new()), Toll::default())))
    }
}

impl Server {
    // The state stays usable: a panic with the lock held ends the rig anyway.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a change and answers it, unless this is where power goes or it has gone.
    fn change<T: Send + 'static>(
        &self,
        step: Step,
        work: impl FnOnce(&mut Disk) -> Result<T, Refusal> + Send + 'static,
        reply: impl FnOnce(Result<T, Refusal>) + Send + 'static,
    ) {
        let state = &mut *self.lock();
        state.steps += 1;
        if let Power::On(Some((moment, _))) = &mut state.power
            && moment.meets(step)
        {
            let Power::On(Some((moment, fates))) = std::mem::replace(&mut state.power, Power::Gone) else {
                unreachable!("matched above")
            };
            if moment.done {
                let result = work(&mut state.disk);
                state.cut(fates);
                state.park(move |_| reply(result));
            } else {
                state.cut(fates);
                state.park(move |disk| reply(work(disk)));
            }
            self.changed.notify_all();
        } else if matches!(state.power, Power::Cut(_)) {
            state.park(move |disk| reply(work(disk)));
        } else {
            reply(work(&mut state.disk));
        }
    }
}

impl State {
    fn cut(&mut self, mut fates: Fates) {
        self.left = Some(self.disk.cut(&mut fates));
        self.power = Power::Cut(Vec::new());
    }

    fn park(&mut self, parked: impl FnOnce(&mut Disk) + Send + 'static) {
        if let Power::Cut(waiting) = &mut self.power {
            waiting.push(Box::new(parked));
        }
    }
}
