//! A TCP link that can be cut, slow, silent or half closed: connections to `address()` go to the target until somebody pulls the plug.
//! Invariants: after `cut` every connection of that moment is closed at both ends; bytes on the way may or may not have arrived. What
//! arrives of a connection is always a beginning of what was sent.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes moved at once: one batch frame and more, so that a cut falls inside frames as well as between them.
const CHUNK_BYTES: usize = 4096;

/// Bytes kept of the beginning of a connection: enough for the line and the headers of an HTTP/1.1 request.
const HEAD_BYTES: usize = 1024;

/// A cuttable link to one target.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ends: Mutex<Vec<TcpStream>>,
    down: AtomicBool,
    silent: AtomicBool,
    delay_ms: AtomicU64,
    stop: AtomicBool,
    carried: AtomicU64,
    heads: Mutex<Vec<Vec<u8>>>,
}

impl Proxy {
    /// Listens on a free loopback port and connects each caller to `target`.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let listener = std::thread::spawn(move || accept(&listener, target, &theirs));
        Self { address, shared, listener: Some(listener) }
    }

    /// Where to connect instead of the target.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection of this moment. New ones are carried at once. Returns how many were cut.
    ///
    /// # Panics
    /// Never, short of a poisoned lock.
    pub fn cut(&self) -> usize {
        let mut ends = self.shared.ends.lock().expect("no thread panics with this lock");
        let cut = ends.len() / 2;
        for end in ends.drain(..) {
            // It may be closed already; that is what we want.
            let _ = end.shutdown(Shutdown::Both);
        }
        cut
    }

    /// While down, callers are accepted and closed at once, like a router without an uplink.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
        if down {
            self.cut();
        }
    }

    /// While silent, bytes vanish and connections stay open, like behind a router that forgot them. A connection that lost bytes stays
    /// silent for ever, new ones are carried once this is over.
    pub fn set_silent(&self, silent: bool) {
        self.shared.silent.store(silent, Ordering::SeqCst);
    }

    /// Every chunk of up to 4 KiB waits so long before it goes on, each way.
    pub fn set_delay(&self, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_ms.store(delay_ms, Ordering::SeqCst);
    }

    /// Ends the way to the target of every connection of this moment: the target has read to the end and may still answer, the caller
    /// notices when it writes on. Returns how many connections there were.
    ///
    /// # Panics
    /// Never, short of a poisoned lock.
    pub fn half_close(&self) -> usize {
        let ends = self.shared.ends.lock().expect("no thread panics with this lock");
        // Callers and targets by turns.
        let far = ends.iter().skip(1).step_by(2);
        far.filter(|far| far.shutdown(Shutdown::Write).is_ok()).count()
    }

    /// Bytes carried so far, both ways. A test that cuts a link nobody uses proves nothing.
    #[must_use]
    pub fn carried_bytes(&self) -> u64 {
        self.shared.carried.load(Ordering::Relaxed)
    }

    /// What each caller so far said first, up to 1 KiB: which protocol it really speaks.
    ///
    /// # Panics
    /// Never, short of a poisoned lock.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        let heads = self.shared.heads.lock().expect("no thread panics with this lock");
        heads.iter().map(|head| String::from_utf8_lossy(head).into_owned()).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the accept loop so that it sees the flag.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        self.cut();
    }
}

fn accept(listener: &TcpListener, target: SocketAddr, shared: &Arc<Shared>) {
    for near in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(near) = near else { continue };
        if shared.down.load(Ordering::SeqCst) {
            continue;
        }
        // The target may be dead on purpose: then the caller sees a closed connection, as it would without us.
        if let Ok(far) = TcpStream::connect_timeout(&target, Duration::from_secs(1)) {
            carry(near, far, shared);
        }
    }
}

fn carry(near: TcpStream, far: TcpStream, shared: &Arc<Shared>) {
    let _ = near.set_nodelay(true);
    let _ = far.set_nodelay(true);
    let clones = [near.try_clone(), far.try_clone(), near.try_clone(), far.try_clone()];
    let [Ok(near_kept), Ok(far_kept), Ok(near_in), Ok(far_out)] = clones else { return };
    shared.ends.lock().expect("no thread panics with this lock").extend([near_kept, far_kept]);
    let (up, down) = (Arc::clone(shared), Arc::clone(shared));
    std::thread::spawn(move || pump(near_in, far_out, &up, true));
    std::thread::spawn(move || pump(far, near, &down, false));
}

/// Carries one way until either end closes; of callers the beginning is kept.
fn pump(mut from: TcpStream, mut to: TcpStream, shared: &Shared, is_caller: bool) {
    let mut chunk = [0; CHUNK_BYTES];
    let (mut is_first, mut has_lost) = (is_caller, false);
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        let bytes = &chunk[..count];
        if is_first {
            let head = bytes[..count.min(HEAD_BYTES)].to_vec();
            shared.heads.lock().expect("no thread panics with this lock").push(head);
            is_first = false;
        }
        std::thread::sleep(Duration::from_millis(shared.delay_ms.load(Ordering::Relaxed)));
        has_lost |= shared.silent.load(Ordering::SeqCst);
        if has_lost {
            continue;
        }
        shared.carried.fetch_add(count as u64, Ordering::Relaxed);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_link_is_closed_at_both_ends_and_carries_again() {
        let target = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let proxy = Proxy::start(target.local_addr().unwrap());
        for round in 1..=3 {
            let mut near = TcpStream::connect(proxy.address()).unwrap();
            let (mut far, _) = target.accept().unwrap();
            near.write_all(b"reading").unwrap();
            let mut seven = [0; 7];
            far.read_exact(&mut seven).unwrap();
            assert_eq!((&seven, proxy.carried_bytes()), (b"reading", 7 * round));
            assert_eq!(proxy.heads().last().unwrap(), "reading");
            assert_eq!(proxy.cut(), 1);
            assert!(matches!(near.read(&mut seven), Ok(0) | Err(_)), "the near end is closed");
            assert!(matches!(far.read(&mut seven), Ok(0) | Err(_)), "the far end is closed");
        }
    }

    #[test]
    fn a_link_that_is_down_refuses_and_comes_back() {
        let target = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let proxy = Proxy::start(target.local_addr().unwrap());
        proxy.set_down(true);
        let mut near = TcpStream::connect(proxy.address()).unwrap();
        assert!(matches!(near.read(&mut [0]), Ok(0) | Err(_)), "closed at once");
        proxy.set_down(false);
        let mut near = TcpStream::connect(proxy.address()).unwrap();
        near.write_all(b"x").unwrap();
        let (mut far, _) = target.accept().unwrap();
        far.read_exact(&mut [0]).unwrap();
    }

    /// A connection over a link, and its far end.
    fn connected(proxy: &Proxy, target: &TcpListener) -> (TcpStream, TcpStream) {
        let mut near = TcpStream::connect(proxy.address()).unwrap();
        near.write_all(b"hello").unwrap();
        let (mut far, _) = target.accept().unwrap();
        far.read_exact(&mut [0; 5]).unwrap();
        (near, far)
    }

    #[test]
    fn a_silent_link_loses_the_rest_of_its_connections_and_closes_none() {
        let target = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let proxy = Proxy::start(target.local_addr().unwrap());
        let (mut near, mut far) = connected(&proxy, &target);
        proxy.set_silent(true);
        near.write_all(b"lost").unwrap();
        far.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(far.read(&mut [0]).is_err(), "nothing arrives, and nothing ends");
        proxy.set_silent(false);
        near.write_all(b"after").unwrap();
        assert!(far.read(&mut [0]).is_err(), "what follows lost bytes means nothing");
        far.write_all(b"y").unwrap();
        near.read_exact(&mut [0]).unwrap();
        connected(&proxy, &target);
    }

    #[test]
    fn a_slow_link_delays_and_a_half_closed_one_still_answers() {
        let target = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let proxy = Proxy::start(target.local_addr().unwrap());
        let (mut near, mut far) = connected(&proxy, &target);
        proxy.set_delay(Duration::from_millis(150));
        let started = std::time::Instant::now();
        near.write_all(b"x").unwrap();
        far.read_exact(&mut [0]).unwrap();
        assert!(started.elapsed() >= Duration::from_millis(150));
        proxy.set_delay(Duration::ZERO);
        assert_eq!(proxy.half_close(), 1);
        assert_eq!(far.read(&mut [0]).unwrap(), 0, "the target has read to the end");
        far.write_all(b"z").unwrap();
        near.read_exact(&mut [0]).unwrap();
    }
}
