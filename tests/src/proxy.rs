//! A TCP link that can be cut: connections to `address()` go to the target until somebody pulls the plug.
//! Invariant: after `cut` every connection of that moment is closed at both ends; bytes on the way may or may not have arrived.

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
    std::thread::spawn(move || {
        if let Some(near) = keep_head(near_in, &far_out, &up) {
            pump(near, far_out, &up);
        }
    });
    std::thread::spawn(move || pump(far, near, &down));
}

/// Carries what the caller says first and keeps it. Nothing when the caller said nothing.
fn keep_head(mut near: TcpStream, mut far: &TcpStream, shared: &Shared) -> Option<TcpStream> {
    let mut head = vec![0; HEAD_BYTES];
    let count = near.read(&mut head).unwrap_or(0);
    head.truncate(count);
    shared.carried.fetch_add(count as u64, Ordering::Relaxed);
    if count > 0 {
        shared.heads.lock().expect("no thread panics with this lock").push(head.clone());
    }
    if count == 0 || far.write_all(&head).is_err() {
        let _ = near.shutdown(Shutdown::Both);
        let _ = far.shutdown(Shutdown::Both);
        return None;
    }
    Some(near)
}

fn pump(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut chunk = [0; CHUNK_BYTES];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        shared.carried.fetch_add(count as u64, Ordering::Relaxed);
        if to.write_all(&chunk[..count]).is_err() {
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
}
