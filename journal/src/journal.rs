//! The threads around a [`Core`]: one that commits for event loops, one for upkeep.
//!
//! In: appends from any thread. Out: commits without anybody waiting, segments made ready ahead, data that is too old let go.
//! Invariant: all state is the core's; a thread that dies costs speed, never data.
//! Not here: anything about files or formats.

mod bell;
mod patience;

use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use self::bell::Bell;
use crate::clock::{Clock, Moment};
use crate::config::Config;
use crate::core::Core;
use crate::error::{AppendError, Failed, OpenError};
use crate::set::AppendSet;
use crate::storage::{FileStorage, Storage};
use crate::types::{Appended, Recovery, Ticket};

/// How often upkeep looks for old data when nobody rings. A tick of an idle journal reads a clock and writes nothing.
const UPKEEP_PERIOD: Duration = Duration::from_secs(1);

/// Directory of the lane that is always there. A second retention class would be `lane-1` beside it, a journal of its own format.
pub(crate) const LANE_DIR: &str = "lane-0";

/// A journal with its threads. Cheap to clone; everything of [`Core`] can be called on it.
pub struct Journal<S: Storage = FileStorage> {
    shared: Arc<Shared<S>>,
}

struct Shared<S: Storage> {
    core: Arc<Core<S>>,
    commit: Arc<Bell>,
    upkeep: Arc<Bell>,
    clock: Clock,
    threads: Mutex<Vec<JoinHandle<()>>>,
    // Whether somebody relies on the commit thread; without, a lone caller of `wait` is spared the wake-up of a second thread.
    listening: AtomicBool,
}

impl Journal<FileStorage> {
    /// Opens the journal in `dir`, made when missing, recovers what is there and starts the threads.
    ///
    /// Damage never stops an open: it is named in the [`Recovery`]. Where the disk does not give back acknowledged records this blocks,
    /// tries again for the patience of [`Config::unread`], and then takes them for damaged. `now_ms` is the time in ms since 1970; upkeep reads the
    /// machine's clocks from then on.
    ///
    /// # Errors
    /// [`OpenError`]: a setting out of range, a directory that cannot be used or is in use, files of a newer format.
    pub fn open(dir: &Path, config: Config, now_ms: u64) -> Result<(Self, Recovery), OpenError> {
        Self::open_at(dir, config, now_ms, Clock::system())
    }

    /// As [`open`](Self::open), with upkeep on a clock of the opener's: for whoever stamps records with another than the machine's.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(dir: &Path, config: Config, clock: Clock) -> Result<(Self, Recovery), OpenError> {
        let now_ms = clock.now_ms();
        Self::open_at(dir, config, now_ms, clock)
    }

    fn open_at(dir: &Path, config: Config, now_ms: u64, clock: Clock) -> Result<(Self, Recovery), OpenError> {
        let (core, recovery) = patience::open(&config, std::thread::sleep, |config, waited| {
            let storage = FileStorage::open(&dir.join(LANE_DIR), config.io)
                .map_err(|source| OpenError::Io { doing: format!("opening {}", dir.display()), source })?;
            let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            let moment = Moment { wall_ms: now_ms.saturating_add(waited_ms), ..clock.moment() };
            Core::open_at(storage, config, moment, random_seed()?)
        })?;
        Ok((Self::start_with(core, clock), recovery))
    }

    /// Opens a journal on any storage without threads: the caller drives [`Core::commit`] and [`Core::maintain`].
    ///
    /// # Errors
    /// As [`Core::open_on`].
    pub fn open_on<S: Storage>(
        storage: S,
        config: Config,
        now_ms: u64,
        seed: u64,
    ) -> Result<(Core<S>, Recovery), OpenError> {
        Core::open_on(storage, config, now_ms, seed)
    }
}

impl<S: Storage> Journal<S> {
    /// Starts the threads around an open core; makes the first segment's file before, unless one is left from an earlier life. Time
    /// goes on from the newest that the core was told.
    #[must_use]
    pub fn start(core: Core<S>) -> Self {
        let clock = Clock::going_on(core.newest_ms());
        Self::start_with(core, clock)
    }

    /// A journal without threads, otherwise as [`start`](Self::start) gives one: whoever holds it calls [`Core::commit`] and
    /// [`Core::maintain`] in their place, when it likes. For a process with one thread whose time is not the machine's.
    #[must_use]
    pub fn unattended(core: Core<S>) -> Self {
        // Closing is told no time of its own: the newest that appends and upkeep were told counts.
        Self::around(core, Clock::new(|| 0))
    }

    fn start_with(core: Core<S>, clock: Clock) -> Self {
        // Before the first record: what the next life must know of this one's clock.
        core.look(clock.moment());
        let journal = Self::around(core, clock);
        let Shared { core, commit, upkeep, clock, .. } = &*journal.shared;
        let threads = [
            spawn("journal-commit", commit_loop(Arc::clone(core), Arc::clone(commit), Arc::clone(upkeep))),
            spawn(
                "journal-upkeep",
                upkeep_loop(Arc::clone(core), clock.clone(), Arc::clone(upkeep), Arc::clone(commit)),
            ),
        ];
        journal.shared.threads().extend(threads.into_iter().flatten());
        // The first segment gets its name while the caller is still setting up.
        upkeep.ring();
        journal
    }

    fn around(core: Core<S>, clock: Clock) -> Self {
        core.attend();
        Self {
            shared: Arc::new(Shared {
                core: Arc::new(core),
                commit: Arc::default(),
                upkeep: Arc::default(),
                clock,
                threads: Mutex::default(),
                listening: AtomicBool::new(false),
            }),
        }
    }

    /// Whether threads of its own flush and keep it. Without them ([`unattended`](Self::unattended)) there is nobody whose work a read
    /// could hold up.
    #[must_use]
    pub fn is_attended(&self) -> bool {
        !self.shared.threads().is_empty()
    }

    /// Stages everything in `set` into one group; see [`Core::append`].
    ///
    /// The group is flushed by whoever [waits](Self::wait), by the commit thread once [`on_commit`](Self::on_commit) was called, and
    /// by upkeep within a second in any case, or when it has lingered.
    ///
    /// # Errors
    /// [`AppendError`]; nothing is staged then.
    pub fn append(&self, set: &AppendSet, now_ms: u64) -> Result<Appended, AppendError> {
        let appended = self.shared.core.append_looking(set, now_ms);
        match &appended {
            Ok((_, group_is_full)) if self.shared.relies_on_commit_thread() => {
                self.shared.commit.ring();
                if *group_is_full {
                    self.shared.commit.hurry();
                }
            }
            Err(AppendError::Busy { .. }) => {
                self.shared.commit.ring();
                self.shared.commit.hurry();
                if self.shared.core.wants_upkeep() {
                    self.shared.upkeep.ring();
                }
            }
            Err(AppendError::Full) => self.shared.upkeep.ring(),
            _ => {}
        }
        appended.map(|(appended, _)| appended)
    }

    /// As [`append`](Self::append), for one of few changes that somebody waits for: its group does not linger, nor do those before it. What it
    /// writes counts for a write budget, so that others linger longer; called all the time, it would leave a budget that nothing holds.
    ///
    /// # Errors
    /// [`AppendError`]; nothing is staged then.
    pub fn append_at_once(&self, set: &AppendSet, now_ms: u64) -> Result<Appended, AppendError> {
        let appended = self.append(set, now_ms)?;
        self.hurry();
        Ok(appended)
    }

    /// What is staged becomes durable without lingering; see [`append_at_once`](Self::append_at_once).
    pub fn hurry(&self) {
        if self.shared.relies_on_commit_thread() {
            self.shared.commit.ring();
            self.shared.commit.hurry();
        }
    }

    /// Calls `listener` after every commit with the newest durable ticket, in rising order, from the thread that committed, and
    /// once with the error when the journal stops. It must return quickly and must neither call nor own the journal.
    ///
    /// From now on the commit thread flushes whatever is appended.
    pub fn on_commit(&self, listener: Box<dyn Fn(Result<Ticket, Failed>) + Send + Sync>) {
        self.shared.core.on_commit(listener);
        self.shared.listening.store(true, Ordering::Relaxed);
        self.shared.commit.ring();
    }

    /// Blocks until `ticket` is durable. When no flush is running the caller does it itself: the fastest way for one thread.
    ///
    /// # Errors
    /// [`Failed`] when the ticket will never be durable.
    pub fn wait(&self, ticket: Ticket) -> Result<(), Failed> {
        // The budget of a journal without threads may want lingering that nobody does.
        if self.shared.core.linger().is_zero() || !self.is_attended() {
            self.shared.core.wait(ticket)?;
        } else {
            self.shared.commit.ring();
            self.shared.core.wait_for_others(ticket)?;
        }
        if self.shared.core.wants_upkeep() {
            self.shared.upkeep.ring();
        }
        Ok(())
    }

    /// Does one step of housekeeping by this journal's own clock, as its upkeep does; see [`Core::maintain`].
    pub fn keep_house(&self) -> bool {
        self.shared.core.maintain_at(self.shared.clock.moment())
    }

    /// Flushes what is staged, writes footer and snapshot so that the next open is quick, and stops the threads. Other clones
    /// of this journal get [`Failed`] from then on. The directory is free then, whoever still has a clone.
    pub fn close(self) {
        self.shared.stop();
        self.shared.core.close(self.shared.clock.now_ms());
        self.shared.core.leave();
    }
}

impl<S: Storage> Deref for Journal<S> {
    type Target = Core<S>;

    fn deref(&self) -> &Core<S> {
        &self.shared.core
    }
}

impl<S: Storage> Clone for Journal<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S: Storage> std::fmt::Debug for Journal<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("durable", &self.durable()).finish_non_exhaustive()
    }
}

impl<S: Storage> Shared<S> {
    fn relies_on_commit_thread(&self) -> bool {
        self.listening.load(Ordering::Relaxed) || !self.core.linger().is_zero()
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.commit.stop();
        self.upkeep.stop();
        let threads = std::mem::take(&mut *self.threads());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a journal thread panicked");
            }
        }
    }
}

impl<S: Storage> Drop for Shared<S> {
    fn drop(&mut self) {
        self.stop();
    }
}

fn commit_loop<S: Storage>(core: Arc<Core<S>>, bell: Arc<Bell>, upkeep: Arc<Bell>) -> impl FnOnce() + Send {
    move || {
        while !bell.stopped() {
            bell.sleep(None);
            let linger = core.linger();
            if !linger.is_zero() && !core.group_waits() {
                bell.linger(linger);
            }
            bell.calm();
            // An error reached everybody through the listeners and `wait`; this thread has nobody else to tell.
            if core.commit().is_err() {
                return;
            }
            if core.wants_upkeep() {
                upkeep.ring();
            }
        }
    }
}

fn upkeep_loop<S: Storage>(
    core: Arc<Core<S>>,
    clock: Clock,
    bell: Arc<Bell>,
    commit: Arc<Bell>,
) -> impl FnOnce() + Send {
    move || {
        while !bell.stopped() {
            bell.sleep(Some(UPKEEP_PERIOD));
            // What nobody waits for: appends without a listener, and upkeep's own changes. They wait for company like all others.
            let waits = core.durable() < core.barrier();
            match core.linger().is_zero() {
                _ if !waits => {}
                true if core.commit().is_err() => return,
                true => {}
                false => commit.ring(),
            }
            while !bell.stopped() && core.maintain_at(clock.moment()) {}
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    match std::thread::Builder::new().name(name.into()).spawn(run) {
        Ok(thread) => Some(thread),
        Err(error) => {
            tracing::error!(thread = name, %error, "cannot start a journal thread");
            None
        }
    }
}

/// Chance for salts and identities, from the operating system. Sealed runs stay secret only while no salt comes twice, so nothing
/// weaker will do, not even early after a board's power-on.
fn random_seed() -> Result<u64, OpenError> {
    use ring::rand::SecureRandom;
    let mut seed = [0; 8];
    ring::rand::SystemRandom::new().fill(&mut seed).map_err(|_| OpenError::Io {
        doing: "drawing random numbers".into(),
        source: std::io::Error::other("the operating system gave none"),
    })?;
    Ok(u64::from_le_bytes(seed))
}
