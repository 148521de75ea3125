//! The other end of the serial line, in the hands of the test: hears frames, and says what it is told.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use headwater_telemetry::limits::FRAME_BYTES_MAX;
use headwater_telemetry::{
    Deframer, Down, Hello, TimeQuality, Timestamp, Up, UtcTime, decode_body, encode_frame,
};

/// One read; the test looks at its watch in between.
const LOOK: Duration = Duration::from_millis(50);

/// A listener that the machine connects to, and the connection when there is one.
pub(crate) struct Peer {
    listener: TcpListener,
    stream: Option<TcpStream>,
    deframer: Deframer,
    /// Read, and not yet heard: one read may bring more than what is looked for.
    heard: VecDeque<Up>,
}

impl Peer {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener can be told so");
        Self { listener, stream: None, deframer: Deframer::new(), heard: VecDeque::new() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it listens")
    }

    /// Sends a message, if somebody is there.
    pub(crate) fn say(&mut self, message: &Down) {
        let mut frame = [0; FRAME_BYTES_MAX];
        let frame = encode_frame(message, &mut frame).expect("a message fits a frame");
        if let Some(stream) = &mut self.stream {
            // A machine that resets takes its end away.
            let _ = stream.write_all(frame);
        }
    }

    /// Hears messages, telling the time and acknowledging batches as an agent does, until `wanted` finds what it looks for.
    pub(crate) fn hear<T>(
        &mut self,
        patience: Duration,
        mut wanted: impl FnMut(&Up) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            while let Some(message) = self.heard.pop_front() {
                self.answer(&message);
                if let Some(found) = wanted(&message) {
                    return Some(found);
                }
            }
            self.read();
        }
        None
    }

    /// The next hello that `wanted` accepts.
    pub(crate) fn hello(&mut self, patience: Duration, wanted: impl Fn(&Hello) -> bool) -> Option<Hello> {
        self.hear(patience, |message| match message {
            Up::Hello(hello) if wanted(hello) => Some(hello.clone()),
            _ => None,
        })
    }

    fn read(&mut self) {
        if let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(false).expect("a socket can be told so");
            stream.set_read_timeout(Some(LOOK)).expect("a socket can be told so");
            (self.stream, self.deframer) = (Some(stream), Deframer::new());
        }
        let Some(stream) = &mut self.stream else {
            std::thread::sleep(LOOK);
            return;
        };
        let mut bytes = [0; 1024];
        let count = match stream.read(&mut bytes) {
            Ok(0) => {
                self.stream = None;
                return;
            }
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
            Err(_) => {
                self.stream = None;
                return;
            }
        };
        for &byte in &bytes[..count] {
            if let Some(Ok(body)) = self.deframer.push(byte) {
                self.heard.extend(decode_body::<Up>(body));
            }
        }
    }

    fn answer(&mut self, message: &Up) {
        match message {
            Up::TimeRequest { nonce } => {
                let utc = UtcTime { at: Timestamp(1_790_000_000_000), quality: TimeQuality::Synced };
                self.say(&Down::Time { nonce: *nonce, utc });
            }
            Up::Batch(batch) => {
                let through = batch.through().expect("a device sends good batches");
                self.say(&Down::Ack { boot: batch.boot, through });
            }
            _ => {}
        }
    }
}
