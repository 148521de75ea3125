//! Free loopback ports for processes that are told their port before they start.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;

/// Given out once per test process, so that two tests of one binary never share a port while neither has bound it yet.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A loopback address nobody listens on right now. Another process could still take it first; the start then fails and says so.
///
/// # Panics
/// When the machine has no free port.
#[must_use]
pub fn free() -> SocketAddr {
    let mut given = GIVEN.lock().expect("no test panics while it holds this lock");
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        if given.insert(address.port()) {
            return address;
        }
    }
}
