//! What a service manager reads, on real sockets. Time stands still but for the waits of the code under test.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

use headwater_notify::Notify;
use std::ffi::OsStr;
use std::future::{pending, ready};
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::sleep;

const WATCHDOG: Duration = Duration::from_secs(30);
/// A sign every third of it.
const SIGN_EVERY: Duration = Duration::from_secs(10);

struct Listener {
    socket: UnixDatagram,
    // Holds the address.
    _directory: tempfile::TempDir,
    notify: Notify,
}

fn listener(watchdog: Option<Duration>) -> Listener {
    let directory = tempfile::tempdir().unwrap();
    let address = directory.path().join("notify");
    let socket = UnixDatagram::bind(&address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let notify = Notify::to(address.as_os_str(), watchdog).unwrap();
    Listener { socket, _directory: directory, notify }
}

fn read(socket: &UnixDatagram) -> Vec<String> {
    let mut message = [0; 4096];
    let mut messages = Vec::new();
    loop {
        match socket.recv(&mut message) {
            Ok(length) => messages.push(String::from_utf8(message[..length].to_vec()).unwrap()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return messages,
            Err(error) => panic!("{error}"),
        }
    }
}

fn signs(messages: &[String]) -> usize {
    messages.iter().filter(|message| message.starts_with("WATCHDOG=1\n")).count()
}

#[test]
fn a_path_and_an_abstract_name_are_told() {
    let listener = listener(None);
    listener.notify.ready("two\nlines");
    listener.notify.reloading();
    listener.notify.stopping();
    let told = read(&listener.socket);
    assert_eq!(told[0], "READY=1\nSTATUS=two lines");
    let micros: i128 = told[1].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse().unwrap();
    assert!(micros > 0);
    assert_eq!(told[2], "STOPPING=1\nSTATUS=draining");

    let name = format!("headwater-notify-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    Notify::to(OsStr::new(&format!("@{name}")), None).unwrap().ready("here");
    assert_eq!(read(&socket), ["READY=1\nSTATUS=here"]);
}

#[test]
fn an_address_where_nobody_listens_is_an_error_and_a_manager_that_went_stops_nothing() {
    assert!(Notify::to(OsStr::new("/nowhere/notify"), None).is_err());
    let Listener { socket, _directory, notify } = listener(None);
    drop(socket);
    notify.ready("told to nobody");
}

#[test]
fn a_manager_that_does_not_read_delays_and_does_not_block() {
    let listener = listener(None);
    // More than the queue of a socket holds (net.unix.max_dgram_qlen, 10 to 512): the sends above it time out.
    let filled = (0..10_000).take_while(|_| {
        let began = std::time::Instant::now();
        listener.notify.ready("again");
        began.elapsed() < Duration::from_millis(900)
    });
    assert!(filled.count() < 10_000, "the queue was never full");
}

#[tokio::test(start_paused = true)]
async fn an_idle_program_shows_signs_of_life() {
    let listener = listener(Some(WATCHDOG));
    let attend = listener.notify.attend(|| ready(Ok::<_, ()>(())), || "idle".to_owned());
    tokio::select! {
        never = attend => match never {},
        () = sleep(10 * SIGN_EVERY - Duration::from_millis(1)) => {}
    }
    let told = read(&listener.socket);
    assert_eq!(signs(&told), 10, "{told:?}");
    assert!(told.iter().all(|message| message == "WATCHDOG=1\nSTATUS=idle"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_hangs_ends_the_signs_and_is_named() {
    // Commits work for a while, then none comes back.
    let listener = listener(Some(WATCHDOG));
    let hangs = AtomicBool::new(false);
    let barrier = || {
        let hangs = hangs.load(Relaxed);
        async move {
            if hangs {
                pending::<()>().await;
            }
            Ok::<_, ()>(())
        }
    };
    let course = async {
        sleep(2 * SIGN_EVERY + SIGN_EVERY / 2).await;
        assert_eq!(signs(&read(&listener.socket)), 3);
        hangs.store(true, Relaxed);
        let mut told = Vec::new();
        for _ in 0..20 {
            sleep(SIGN_EVERY).await;
            told.extend(read(&listener.socket));
        }
        assert_eq!(signs(&told), 0, "{told:?}");
        assert_eq!(told[0], "STATUS=a commit has been waiting for the disk for 10 s");
    };
    tokio::select! {
        never = listener.notify.attend(barrier, String::new) => match never {},
        () = course => {}
    }
}

#[tokio::test(start_paused = true)]
async fn slow_commits_are_not_hung_ones() {
    // Every commit takes half the watchdog's time, and signs still come in time.
    let listener = listener(Some(WATCHDOG));
    let barrier = || async {
        sleep(WATCHDOG / 2).await;
        Ok::<_, ()>(())
    };
    let course = async {
        let mut silent = Duration::ZERO;
        for _ in 0..1_000 {
            sleep(Duration::from_secs(1)).await;
            silent += Duration::from_secs(1);
            if signs(&read(&listener.socket)) > 0 {
                silent = Duration::ZERO;
            }
            assert!(silent < WATCHDOG);
        }
    };
    tokio::select! {
        never = listener.notify.attend(barrier, String::new) => match never {},
        () = course => {}
    }
}

#[tokio::test(start_paused = true)]
async fn storage_that_stopped_shows_no_signs() {
    let listener = listener(Some(WATCHDOG));
    let attend = listener.notify.attend(|| ready(Err(())), String::new);
    tokio::select! {
        never = attend => match never {},
        () = sleep(10 * WATCHDOG) => {}
    }
    assert!(read(&listener.socket).is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_watchdog_only_the_status_is_told() {
    let listener = listener(None);
    let attend = listener.notify.attend(|| ready(Ok::<_, ()>(())), || "idle".to_owned());
    tokio::select! {
        never = attend => match never {},
        () = sleep(Duration::from_secs(100)) => {}
    }
    let told = read(&listener.socket);
    assert!(told.len() >= 5 && told.iter().all(|message| message == "STATUS=idle"), "{told:?}");
}
