//! Ends the rig when somebody asks for it, or when it is stuck: an exit is all it takes, the rest is the kernel's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Longest time between two signs of life: several times what the slowest step may take by its own patience.
const STUCK: Duration = Duration::from_secs(180);

/// Exit code of a process that was interrupted, as shells have it.
const INTERRUPTED: i32 = 130;

static SIGNS: AtomicU64 = AtomicU64::new(0);

/// Begins to watch, in a thread.
pub(crate) fn begin() {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("an event loop of one thread").block_on(watch());
    });
}

/// A sign of life.
pub(crate) fn alive() {
    SIGNS.fetch_add(1, Ordering::Relaxed);
}

async fn watch() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be handled");
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
    let mut seen = SIGNS.load(Ordering::Relaxed);
    loop {
        tokio::select! {
            _ = interrupt.recv() => exit("interrupted", INTERRUPTED),
            _ = terminate.recv() => exit("terminated", INTERRUPTED),
            () = tokio::time::sleep(STUCK) => {
                let now = SIGNS.load(Ordering::Relaxed);
                if now == seen {
                    exit(&format!("error: nothing has happened for {STUCK:?}"), 1);
                }
                seen = now;
            }
        }
    }
}

fn exit(why: &str, code: i32) -> ! {
    println!("{why}");
    std::process::exit(code)
}
