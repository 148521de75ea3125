//! A device on a serial port, played over a pseudo terminal: unplugged, replugged, and restarted agents.

mod support;

use headwater_agent::{Agent, LinkConfig};
use headwater_telemetry::{BootId, Deframer, Down, Seq, Up, decode_body};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use support::broker::Broker;
use support::device::{batch, frame, hello};
use support::{PATIENCE, config, until};

/// The far end of a serial cable. Dropping it pulls the plug.
struct Cable {
    writer: File,
    downs: mpsc::Receiver<Down>,
    is_pulled: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.is_pulled.store(true, Ordering::Relaxed);
        // The thread holds the other handle; the plug is pulled when both are gone.
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Cable {
    /// Plugs in: `port` becomes a link to the new terminal.
    fn plug_in(port: &Path) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("terminals work here");
        grantpt(&controller).expect("terminals work here");
        unlockpt(&controller).expect("terminals work here");
        fcntl_setfl(&controller, OFlags::NONBLOCK).expect("terminals work here");
        let name = ptsname(&controller, Vec::new()).expect("terminals work here");
        let _ = std::fs::remove_file(port);
        std::os::unix::fs::symlink(name.to_str().expect("terminals work here"), port)
            .expect("terminals work here");
        let writer = File::from(controller);
        let mut reader = writer.try_clone().expect("terminals work here");
        let (sender, downs) = mpsc::channel();
        let is_pulled = Arc::new(AtomicBool::new(false));
        let pulled = Arc::clone(&is_pulled);
        let thread = std::thread::spawn(move || {
            let (mut deframer, mut buffer) = (Deframer::new(), [0u8; 256]);
            while !pulled.load(Ordering::Relaxed) {
                // Nothing there yet, or nobody has the port open: both are errors here.
                let Ok(count) = reader.read(&mut buffer) else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                for byte in &buffer[..count] {
                    // Before the agent opens it, a terminal echoes what is written: not frames, skipped as noise is.
                    let Some(Ok(body)) = deframer.push(*byte) else { continue };
                    if let Ok(down) = decode_body(body) {
                        // The test may have heard enough.
                        let _ = sender.send(down);
                    }
                }
            }
        });
        Self { writer, downs, is_pulled, reader: Some(thread) }
    }

    fn send(&mut self, up: &Up) {
        self.writer.write_all(&frame(up)).expect("terminals work here");
    }

    async fn next(&self) -> Down {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            if let Ok(down) = self.downs.try_recv() {
                return down;
            }
            assert!(std::time::Instant::now() < deadline, "nothing comes over the cable");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn ack(through: u32) -> Down {
    Down::Ack { boot: BootId(1), through: Seq(through) }
}

#[tokio::test]
async fn a_serial_port_is_opened_again_and_a_device_is_asked_who_it_is_after_a_restart() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let port = dir.path().join("ttyTEST");
    let mut config = config(dir.path(), broker.addr);
    config.links = vec![LinkConfig::Serial { path: port.clone(), baud: 115_200 }];
    let agent = Agent::start(config.clone()).await.unwrap();
    assert_eq!(agent.counters().links_opened.get(), 0, "not plugged in yet");

    let mut cable = Cable::plug_in(&port);
    until("the port is open", || agent.counters().links_opened.get() == 1).await;
    cable.send(&Up::Hello(hello("d", 1, "C")));
    cable.send(&Up::Batch(batch("d", 1, 0, 5)));
    assert_eq!(cable.next().await, ack(4));

    drop(cable);
    std::fs::remove_file(&port).unwrap();
    let mut cable = Cable::plug_in(&port);
    cable.send(&Up::Hello(hello("d", 1, "C")));
    cable.send(&Up::Batch(batch("d", 1, 5, 5)));
    // What was written before the agent opened the port may be lost, as on a real line; a device sends again.
    until("the port is open again", || agent.counters().links_opened.get() >= 2).await;
    cable.send(&Up::Hello(hello("d", 1, "C")));
    cable.send(&Up::Batch(batch("d", 1, 5, 5)));
    assert_eq!(cable.next().await, ack(9));
    agent.stop().await;

    // The device does not notice the restart and goes on with batches; the agent asks for a hello.
    let agent = Agent::start(config).await.unwrap();
    until("the port is open", || agent.counters().links_opened.get() == 1).await;
    cable.send(&Up::Batch(batch("d", 1, 10, 5)));
    while cable.next().await != Down::Identify {}
    cable.send(&Up::Hello(hello("d", 1, "C")));
    cable.send(&Up::Batch(batch("d", 1, 10, 5)));
    while cable.next().await != ack(14) {}
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    agent.stop().await;
}

#[tokio::test]
async fn ports_that_match_are_links_while_they_are_there() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let port = |name: &str| dir.path().join(name);
    let mut config = config(dir.path(), broker.addr);
    let patterns = vec![port("usb-*").to_str().unwrap().to_owned()];
    let exclude = vec![glob::Pattern::new("*zigbee*").unwrap()];
    config.links = vec![LinkConfig::Ports { patterns, exclude, baud: 115_200 }];
    let agent = Agent::start(config).await.unwrap();

    let mut first = Cable::plug_in(&port("usb-1"));
    let mut second = Cable::plug_in(&port("usb-2"));
    let foreign = Cable::plug_in(&port("usb-zigbee"));
    until("both ports are open", || agent.counters().links_opened.get() == 2).await;
    for (cable, name) in [(&mut first, "a"), (&mut second, "b")] {
        cable.send(&Up::Hello(hello(name, 1, "C")));
        cable.send(&Up::Batch(batch(name, 1, 0, 5)));
        while cable.next().await != ack(4) {}
    }

    // Out, and in again under another name, as a board that moves to another socket.
    drop(first);
    std::fs::remove_file(port("usb-1")).unwrap();
    until("its link is closed", || agent.counters().links_closed.get() == 1).await;
    let mut first = Cable::plug_in(&port("usb-3"));
    until("the new port is open", || agent.counters().links_opened.get() == 3).await;
    first.send(&Up::Hello(hello("a", 1, "C")));
    first.send(&Up::Batch(batch("a", 1, 5, 5)));
    while first.next().await != ack(9) {}
    second.send(&Up::Batch(batch("b", 1, 5, 5)));
    while second.next().await != ack(9) {}
    assert!(foreign.downs.try_recv().is_err(), "nothing was said to what is excluded");
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    agent.stop().await;
}
