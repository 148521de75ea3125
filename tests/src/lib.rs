//! The system tests' own workbench: real processes on free ports, small clients, a link that can be cut, a ledger.
//!
//! In: the binaries `headwater` and `headwater-agent` as cargo built them. Out: claims about what was acknowledged and what was found.
//! Invariant: a test that ends, whichever way, leaves no process, no port and no directory behind.
//! Not here: anything a product crate uses; the simulated world on a virtual clock (each room tests its core beside the core).

pub mod agent;
pub mod binaries;
pub mod chance;
pub mod clients;
pub mod fleet;
pub mod flood;
pub mod gateway;
pub mod kinesis;
pub mod ledger;
pub mod netns;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod python;
pub mod resharding;
pub mod target;
pub mod target_http;

use std::time::{Duration, Instant};

/// Asks `ready` every 20 ms until it says yes. `false` when `patience` ran out first.
pub fn wait_until(patience: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if ready() {
            return true;
        }
        if started.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A number from the environment, for tests whose length is a choice (`HEADWATER_FLEET_SECONDS`).
///
/// # Panics
/// When the variable is set and is not a number: a typing error must not silently shorten a test.
#[must_use]
pub fn number_from_env(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, expected a number")),
        Err(_) => otherwise,
    }
}
