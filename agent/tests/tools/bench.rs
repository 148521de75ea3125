//! A board on the desk: the very device core with flash that outlives it, on a pseudo terminal that can fail as wires do.
//!
//! In: what a tool sends to the port. Out: what the device says and does. Everything that passed is kept, to be looked at.

use headwater_device::testing::{FlashModel, SyncFlash};
use headwater_device::{Clock, Device, Layout, Observer, Reach, Sampler, Settings, Stopped};
use headwater_telemetry::limits::CHANNELS_MAX;
use headwater_telemetry::{
    Channel, ChannelId, Deframer, DeviceId, Down, LogLevel, ResetReason, Up, Uptime, Value, ValueKind,
    decode_body, heapless,
};
use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) const PAGE: usize = 4096;
pub(crate) const WORD: usize = 4;
pub(crate) type Chip = Arc<Mutex<FlashModel<PAGE, WORD>>>;

/// Two pages each for settings and credentials, twelve for batches.
pub(crate) fn layout() -> Layout {
    let page = u32::try_from(PAGE).expect("pages are small");
    Layout { area: 0..2 * page, vault: 2 * page..4 * page, ring: 4 * page..16 * page }
}

pub(crate) fn chip() -> Chip {
    Arc::new(Mutex::new(FlashModel::erased(16, 1)))
}

/// What passed over the wire, and what the device did.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) downs: Vec<Down>,
    /// Bodies of all frames that the device sent, lost ones as well.
    pub(crate) ups: Vec<Vec<u8>>,
    pub(crate) blinks: u32,
    pub(crate) starts: u32,
    pub(crate) delivered: u32,
    /// Results that the wire is still to lose.
    pub(crate) lose_results: u32,
}

/// What a board is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) reach: Reach,
    /// Whether the port goes away with a restart, as the USB of a chip does.
    pub(crate) is_usb: bool,
    /// Milliseconds between two readings.
    pub(crate) period_ms: u32,
}

impl Default for Kind {
    fn default() -> Self {
        Self { reach: Reach::Radio, is_usb: false, period_ms: 100 }
    }
}

/// A board under power. Dropping it takes the power away.
pub(crate) struct Board {
    pub(crate) port: PathBuf,
    record: Arc<Mutex<Record>>,
    power: Option<(tokio::sync::oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Drop for Board {
    fn drop(&mut self) {
        if let Some((off, thread)) = self.power.take() {
            let _ = off.send(());
            let _ = thread.join();
        }
    }
}

impl Board {
    /// Powers a board whose port is a link at `port`.
    pub(crate) fn start(port: &Path, chip: &Chip, kind: Kind) -> Self {
        let record = Arc::new(Mutex::new(Record::default()));
        let (off, is_off) = tokio::sync::oneshot::channel();
        let (path, chip, seen) = (port.to_owned(), chip.clone(), record.clone());
        // There before anybody looks for it.
        let controller = plug_in(port);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = live(&path, controller, &chip, kind, &seen) => {}
                    _ = is_off => {}
                }
            });
        });
        Self { port: port.to_owned(), record, power: Some((off, thread)) }
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no holder of this lock panics")
    }

    /// Waits until something passed.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Record) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds(&self.record()) {
            assert!(Instant::now() < deadline, "waited too long until {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Commands that reached the device.
    pub(crate) fn commands(&self) -> usize {
        self.record().downs.iter().filter(|down| matches!(down, Down::Command(_))).count()
    }
}

/// One start after the other, as a board does it.
async fn live(port: &Path, controller: OwnedFd, chip: &Chip, kind: Kind, record: &Arc<Mutex<Record>>) {
    let (mut reset, mut wire) = (ResetReason::Power, Wire::new(controller, record));
    loop {
        record.lock().expect("no holder of this lock panics").starts += 1;
        let mut settings = Settings::new(DeviceId::parse("fresh-1").expect("a good name"), "bench 1.0");
        (settings.reset, settings.batch_age_ms, settings.reach) = (reset, 400, kind.reach);
        let (clock, mut sensors) = (Since(Instant::now()), Sensors { period_ms: kind.period_ms, reads: 0 });
        let watch = Watch(record.clone());
        let opened = Device::open(SyncFlash(chip.clone()), layout(), settings, &sensors, watch).await;
        let device = opened.expect("the model's flash opens");
        device.log(Uptime(0), LogLevel::Info, "hello \u{1b}[31mperson");
        let (mut rx, mut tx) = (wire.clone(), wire.clone());
        let link = async {
            loop {
                device.serve(&clock, &mut rx, &mut tx).await;
                tokio::time::sleep(Duration::from_millis(1_000)).await;
            }
        };
        let stopped = tokio::select! {
            stopped = device.run(&clock, &mut sensors) => stopped,
            () = link => unreachable!("a link is opened again and again"),
        };
        assert_eq!(stopped, Stopped::Restart);
        reset = ResetReason::Requested;
        if kind.is_usb {
            drop((rx, tx, wire));
            std::fs::remove_file(port).expect("the link is ours");
            tokio::time::sleep(Duration::from_millis(700)).await;
            wire = Wire::new(plug_in(port), record);
        }
    }
}

struct Watch(Arc<Mutex<Record>>);

impl Observer for Watch {
    fn identify(&self) {
        self.0.lock().expect("no holder of this lock panics").blinks += 1;
    }
    fn delivered(&self, _: &headwater_device::Item) {
        self.0.lock().expect("no holder of this lock panics").delivered += 1;
    }
}

struct Since(Instant);

impl Clock for Since {
    fn now(&self) -> Uptime {
        Uptime(u64::try_from(self.0.elapsed().as_millis()).expect("tests end"))
    }
    async fn sleep_until(&self, at: Uptime) {
        // For ever is longer than what a timer takes.
        let at = Duration::from_millis(at.0.min(86_400_000));
        tokio::time::sleep_until((self.0 + at).into()).await;
    }
}

/// A thermometer and a lamp.
struct Sensors {
    period_ms: u32,
    reads: i32,
}

impl Sampler for Sensors {
    fn channels(&self) -> heapless::Vec<Channel, CHANNELS_MAX> {
        let channels = [("air", "°C", ValueKind::Fixed, -2), ("lamp", "", ValueKind::Boolean, 0)];
        let channel =
            |(name, unit, kind, exponent)| Channel::new(name, unit, kind, exponent).expect("short names");
        channels.map(channel).into_iter().collect()
    }
    fn period_ms(&self, _: ChannelId) -> u32 {
        self.period_ms
    }
    async fn sample(&mut self, channel: ChannelId) -> Option<Value> {
        self.reads += 1;
        Some(if channel.0 == 0 { Value::Fixed(2_000 + self.reads) } else { Value::Boolean(true) })
    }
}

/// Plugs in: `port` becomes a link to a new terminal, on which nothing is echoed.
fn plug_in(port: &Path) -> OwnedFd {
    let controller =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("terminals work here");
    grantpt(&controller).expect("terminals work here");
    unlockpt(&controller).expect("terminals work here");
    fcntl_setfl(&controller, OFlags::NONBLOCK).expect("terminals work here");
    let name = ptsname(&controller, Vec::new()).expect("terminals work here");
    let name = name.to_str().expect("terminals work here");
    // Opened once and closed: from here on the controller knows whether anybody is there.
    let end = open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
        .expect("terminals work here");
    let mut raw = tcgetattr(&end).expect("terminals work here");
    raw.make_raw();
    tcsetattr(&end, OptionalActions::Now, &raw).expect("terminals work here");
    std::os::unix::fs::symlink(name, port).expect("the link is ours");
    controller
}

/// The board's end of the cable. Without anybody at the other end bytes are gone, as on a real one.
#[derive(Clone)]
struct Wire {
    controller: Rc<OwnedFd>,
    record: Arc<Mutex<Record>>,
    is_open: Rc<Cell<bool>>,
    received: Rc<RefCell<Deframer>>,
    sent: Rc<RefCell<(Deframer, Vec<u8>)>>,
}

impl Wire {
    fn new(controller: OwnedFd, record: &Arc<Mutex<Record>>) -> Self {
        Self {
            controller: Rc::new(controller),
            record: record.clone(),
            is_open: Rc::default(),
            received: Rc::new(RefCell::new(Deframer::new())),
            sent: Rc::new(RefCell::new((Deframer::new(), Vec::new()))),
        }
    }

    /// A frame that is whole now, unless the wire loses it.
    fn frame(&self, byte: u8) -> Option<Vec<u8>> {
        let (deframer, frame) = &mut *self.sent.borrow_mut();
        frame.push(byte);
        let body = deframer.push(byte);
        if byte != 0 {
            return None;
        }
        let frame = std::mem::take(frame);
        if let Some(Ok(body)) = body {
            let mut record = self.record.lock().expect("no holder of this lock panics");
            record.ups.push(body.to_vec());
            let is_result = matches!(decode_body(body), Ok(Up::CommandResult(_)));
            if is_result && record.lose_results > 0 {
                record.lose_results -= 1;
                return None;
            }
        }
        Some(frame)
    }

    async fn put(&self, mut bytes: &[u8]) {
        while self.is_open.get() && !bytes.is_empty() {
            match rustix::io::write(&*self.controller, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }
}

impl embedded_io_async::ErrorType for Wire {
    type Error = std::convert::Infallible;
}

impl embedded_io_async::Read for Wire {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Self::Error> {
        loop {
            let count = match rustix::io::read(&*self.controller, &mut *out) {
                Err(Errno::AGAIN) => {
                    self.is_open.set(true);
                    0
                }
                Ok(0) | Err(_) => {
                    self.is_open.set(false);
                    0
                }
                Ok(count) => count,
            };
            if count == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
                continue;
            }
            self.is_open.set(true);
            for &byte in &out[..count] {
                let mut received = self.received.borrow_mut();
                let Some(Ok(body)) = received.push(byte) else { continue };
                let down = decode_body(body).expect("tools send what devices know");
                self.record.lock().expect("no holder of this lock panics").downs.push(down);
            }
            return Ok(count);
        }
    }
}

impl embedded_io_async::Write for Wire {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        for &byte in bytes {
            if let Some(frame) = self.frame(byte) {
                self.put(&frame).await;
            }
        }
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// A port at which nobody says anything.
pub(crate) struct Silent {
    path: PathBuf,
    _controller: OwnedFd,
}

impl Silent {
    pub(crate) fn plug_in(path: &Path) -> Self {
        Self { path: path.to_owned(), _controller: plug_in(path) }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().expect("test paths are UTF-8")
    }
}
