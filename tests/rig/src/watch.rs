//! Ends the rig when somebody asks for it, or when it is stuck: an exit is all it takes, the rest is the kernel's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

/// Longest time between two signs of life: several times what the slowest step may take by its own patience.
const STUCK: Duration = Duration::from_secs(300);

/// Exit code of a process that was interrupted, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

static SIGNS: AtomicU64 = AtomicU64::new(0);

/// Ends this process, and with it its world, on SIGINT, on SIGTERM, and when there is no sign of life for too long.
pub(crate) fn begin() {
    let stopped = stopped();
    std::thread::spawn(move || {
        let mut seen = SIGNS.load(Ordering::Relaxed);
        loop {
            match stopped.recv_timeout(STUCK) {
                Ok(()) => exit("interrupted", i32::from(INTERRUPTED)),
                Err(_) => {
                    let now = SIGNS.load(Ordering::Relaxed);
                    if now == seen {
                        exit(&format!("error: nothing has happened for {STUCK:?}"), 1);
                    }
                    seen = now;
                }
            }
        }
    });
}

/// A sign of life.
pub(crate) fn alive() {
    SIGNS.fetch_add(1, Ordering::Relaxed);
}

/// Hears of SIGINT and SIGTERM, which from now on do nothing else.
pub(crate) fn stopped() -> Receiver<()> {
    let (told, stopped) = channel();
    let (ready, listening) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("an event loop of one thread").block_on(async {
            let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be handled");
            let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
            // Nobody waits for it any more when that fails.
            let _ = ready.send(());
            loop {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                if told.send(()).is_err() {
                    return;
                }
            }
        });
    });
    let _ = listening.recv();
    stopped
}

fn exit(why: &str, code: i32) -> ! {
    println!("{why}");
    std::process::exit(code)
}
