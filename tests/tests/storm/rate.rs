//! How fast a gateway lets clients in, by its own count.
//!
//! In: `/metrics`, asked again and again. Out: the most that were let in within any second, and who is in. Invariant: a second that is
//! judged is a second at most: it begins before the first count of it is asked for and ends after the last is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use system_tests::kinesis::get;

/// Between two questions.
const PACE: Duration = Duration::from_millis(25);

/// What a gateway counted between two moments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count {
    asked: Instant,
    answered: Instant,
    /// Connections since its start, refused or not.
    pub(crate) knocked: u64,
    /// Of those, let in.
    pub(crate) admitted: u64,
    /// Clients that are connected.
    pub(crate) inside: u64,
}

impl Count {
    /// Asks; none while nobody answers.
    pub(crate) fn ask(http: SocketAddr) -> Option<Self> {
        let asked = Instant::now();
        let (_, text) = get(http, "/metrics").ok()?;
        let of = |name: &str| {
            let name = format!("headwater_mqtt_{name}_total ");
            let line = text.lines().find_map(|line| line.strip_prefix(&name));
            line.and_then(|value| value.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {name}in {text}"))
        };
        let (knocked, admitted) = (of("connections_accepted"), of("connections_admitted"));
        let inside = of("clients_connected") - of("clients_disconnected");
        Some(Self { asked, answered: Instant::now(), knocked, admitted, inside })
    }
}

/// Counts of one life of a gateway.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Count>>,
}

impl Watch {
    pub(crate) fn start(http: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut counts = Vec::new();
            while !told.load(Ordering::SeqCst) {
                counts.extend(Count::ask(http));
                std::thread::sleep(PACE);
            }
            counts
        });
        Self { stop, thread }
    }

    pub(crate) fn stop(self) -> Vec<Count> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

/// The most that were let in, and the most that knocked, within a second.
pub(crate) fn peak(counts: &[Count]) -> (u64, u64) {
    let (mut admitted, mut knocked) = (0, 0);
    for (at, first) in counts.iter().enumerate() {
        let within =
            counts[at..].iter().take_while(|last| last.answered - first.asked <= Duration::from_secs(1));
        if let Some(last) = within.last() {
            admitted = admitted.max(last.admitted - first.admitted);
            knocked = knocked.max(last.knocked - first.knocked);
        }
    }
    (admitted, knocked)
}
