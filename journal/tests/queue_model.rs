//! The commit queue under a model checker: every interleaving that shuttle draws keeps the queue's invariants.
//!
//! The queue's own source is compiled here with shuttle's locks in the place of std's.

mod sync {
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};
}

mod error {
    pub(crate) use headwater_journal::Failed;
}

#[path = "../src/queue.rs"]
#[allow(dead_code, reason = "the model does not call everything")]
mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use headwater_journal::Failed;
use queue::{Lead, Queue, Stage};

/// Groups that hold the numbers of the appends in them.
#[derive(Default)]
struct Groups {
    filling: Vec<u64>,
    taken: u64,
}

impl Stage for Groups {
    type Group = Vec<u64>;

    fn take(&mut self) -> Option<(u64, Vec<u64>)> {
        if self.filling.is_empty() {
            return None;
        }
        self.taken += 1;
        Some((self.taken, std::mem::take(&mut self.filling)))
    }

    fn newest(&self) -> u64 {
        self.taken + u64::from(!self.filling.is_empty())
    }
}

/// The device: counts who is flushing, remembers what it got.
#[derive(Default)]
struct Device {
    busy: AtomicBool,
    // Two: appends are numbers below 64, one bit each.
    stored: AtomicU64,
    flushes: AtomicU64,
    fails_from: u64,
}

impl Device {
    fn flush(&self, lead: &Lead<Vec<u64>>) -> Result<(), Failed> {
        assert!(!self.busy.swap(true, Ordering::SeqCst), "two flushes at once");
        assert_eq!(
            self.flushes.fetch_add(1, Ordering::SeqCst) + 1,
            lead.number,
            "groups in order, none twice"
        );
        shuttle::thread::yield_now();
        let outcome = if lead.number >= self.fails_from && self.fails_from > 0 {
            Err(Failed { reason: "the device is gone".into() })
        } else {
            for append in &lead.group {
                self.stored.fetch_or(1 << append, Ordering::SeqCst);
            }
            Ok(())
        };
        self.busy.store(false, Ordering::SeqCst);
        outcome
    }

    fn holds(&self, append: u64) -> bool {
        self.stored.load(Ordering::SeqCst) & (1 << append) != 0
    }
}

fn wait(queue: &Queue<Groups>, device: &Device, ticket: u64) -> Result<(), Failed> {
    while let Some(lead) = queue.wait(ticket, true)? {
        let outcome = device.flush(&lead);
        queue.finish(lead.number, outcome);
    }
    Ok(())
}

/// `appends` by three threads, of which one never leads, and a thread that commits whatever there is.
fn run(fails_from: u64) {
    let queue = Arc::new(Queue::new(Groups::default(), 0));
    let device = Arc::new(Device { fails_from, ..Device::default() });
    let mut threads = Vec::new();
    for writer in 0..3u64 {
        let (queue, device) = (Arc::clone(&queue), Arc::clone(&device));
        threads.push(shuttle::thread::spawn(move || {
            for round in 0..2 {
                let append = writer * 2 + round;
                let staged = queue.stage(|groups| {
                    groups.filling.push(append);
                    groups.newest()
                });
                let Ok(ticket) = staged else {
                    assert!(fails_from > 0, "refused without a failure");
                    return;
                };
                match wait(&queue, &device, ticket) {
                    // The one promise: acknowledged means on the device.
                    Ok(()) => {
                        assert!(device.holds(append), "acknowledged append {append} is not on the device")
                    }
                    Err(_) => assert!(fails_from > 0, "failed without a failure"),
                }
                assert!(queue.durable() <= queue.newest());
            }
        }));
    }
    let (committer, disk) = (Arc::clone(&queue), Arc::clone(&device));
    threads.push(shuttle::thread::spawn(move || {
        for _ in 0..2 {
            let newest = committer.newest();
            if wait(&committer, &disk, newest).is_err() {
                assert!(fails_from > 0);
            }
        }
    }));
    for thread in threads {
        thread.join().expect("no thread panics, none waits for ever");
    }
    if fails_from == 0 {
        assert_eq!(queue.durable(), queue.newest(), "every writer waited");
        assert_eq!(device.stored.load(Ordering::SeqCst), 0b11_1111);
    } else if let Some(failed) = queue.failed() {
        assert_eq!(&*failed.reason, "the device is gone");
        assert!(queue.durable() < fails_from, "nothing is durable after a failure");
        assert_eq!(device.flushes.load(Ordering::SeqCst), fails_from, "a failed flush is never tried again");
    }
}

#[test]
fn acknowledged_appends_are_on_the_device_whoever_leads() {
    shuttle::check_random(|| run(0), 3_000);
}

#[test]
fn rare_schedules_too() {
    shuttle::check_pct(|| run(0), 2_000, 3);
}

#[test]
fn after_a_failed_flush_nothing_is_flushed_or_acknowledged() {
    shuttle::check_random(|| run(2), 3_000);
    shuttle::check_random(|| run(1), 1_000);
}
