//! The machine with the firmware in it: an image that is built once, a file that is its flash, a process to kill, and the
//! hand that warms its thermometer and pulls its cable.
//!
//! In: a configuration, where its serial line goes. Out: a device that reports there. Invariant: the file outlives the
//! process, as flash does. Not here: what the device says.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use embedded_storage_async::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use headwater_device::partition::QEMU_MPS2;
use headwater_device::{Spool, image};
use headwater_telemetry::limits::BODY_BYTES_MAX;
use headwater_telemetry::{Config, Credentials, Schema};
use serde_json::{Value, json};
use system_tests::binaries::workspace;
use system_tests::process::Process;
use system_tests::{python, wait_until};

/// Bytes of the file: all of the memory that QEMU maps; flash is its beginning.
const FILE_BYTES: usize = 16 << 20;
/// RAM of the image, `memory.x`; the stack grows down from its end.
const RAM: std::ops::Range<u64> = 0x2000_0000..0x2000_0000 + (128 << 10);
/// More bytes that were never written than any variable has: below them is no stack any more.
const UNTOUCHED_BYTES: usize = 4096;
/// The monitor of a machine that was started answers at once; the rest is for a loaded host.
const PATIENCE: Duration = Duration::from_secs(30);

/// One build at a time: tests of this file run side by side.
static BUILDS: Mutex<()> = Mutex::new(());

/// The emulator, if it is installed. In CI a machine without it is a failure, not a reason to skip.
pub(crate) fn emulator() -> Option<PathBuf> {
    let found = python::installed("qemu-system-arm");
    let wanted = std::env::var_os("CI").is_some();
    assert!(found.is_some() || !wanted, "qemu-system-arm is not installed; Debian has it in qemu-system-arm");
    if found.is_none() {
        python::skip("qemu_mps2", "no qemu-system-arm; Debian has it in qemu-system-arm");
    }
    found
}

fn target() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    test.ancestors().nth(3).expect("a test lives in target/<profile>/deps").to_owned()
}

fn run(command: &mut Command) {
    let _one = BUILDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let output = command.output().expect("the build can be run");
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "the firmware does not build:\n{said}");
}

/// The program with these features (none, `mqtt` or `tls`), as `firmware/boards/check` builds and weighs it.
pub(crate) fn program(features: &str) -> PathBuf {
    let target = target();
    run(Command::new(workspace().join("firmware/boards/check"))
        .args(["--build", "qemu-mps2"])
        .env("CARGO_TARGET_DIR", &target));
    let dash = if features.is_empty() { "" } else { "-" };
    target.join(format!("boards/images/qemu-mps2{dash}{features}.elf"))
}

/// The program that panics or hangs on order, which no table of released images has.
pub(crate) fn faulty_program() -> PathBuf {
    let target = target().join("boards/faults");
    run(Command::new("cargo")
        .args(["build", "--quiet", "--release", "--locked", "--no-default-features", "--features", "faults"])
        .current_dir(workspace().join("firmware/boards/qemu-mps2"))
        .env("CARGO_TARGET_DIR", &target));
    target.join("thumbv7m-none-eabi/release/headwater-qemu-mps2")
}

/// A machine.
pub(crate) struct Machine {
    process: Process,
    monitor: PathBuf,
    flash: PathBuf,
}

impl Machine {
    /// Fills its flash with a configuration, as a provisioning tool does; off. Its serial line is a connection to `peer`, again
    /// and again.
    pub(crate) fn provisioned(
        emulator: &Path,
        directory: &Path,
        program: &Path,
        peer: SocketAddr,
        config: &Config,
        credentials: Option<&Credentials<'_>>,
    ) -> Self {
        let (flash, monitor) = (directory.join("flash.bin"), directory.join("monitor"));
        let mut file = File::create(&flash).expect("the file can be made");
        file.write_all(&vec![0xff; FILE_BYTES]).expect("there is room for it");
        let image = image::make(&QEMU_MPS2, config, credentials).expect("the configuration is right");
        file.write_all_at(&image.bytes, image.address.into()).expect("it lies in the file");
        let backend = format!("memory-backend-file,id=psram,size=16M,mem-path={},share=on", flash.display());
        let process = Process::new("qemu-mps2", emulator, directory)
            .args(["-M", "mps2-an385,memory-backend=psram", "-display", "none", "-monitor", "none"])
            .args(["-object", &backend, "-device", "tmp105,id=thermometer,address=0x48"])
            .args(["-nic", "user,id=cable,model=lan9118", "-qmp"])
            .args([format!("unix:{},server=on,wait=off", monitor.display())])
            .args(["-serial", &format!("tcp:{peer},reconnect=1"), "-kernel"])
            .args([program]);
        Self { process, monitor, flash }
    }

    /// Power on.
    pub(crate) fn start(&mut self) {
        self.process.start();
    }

    /// Power off, wherever the program is.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Up to which place each boot has batches in flash that nobody was told of: read by the device's own code from a copy. The
    /// machine is off.
    pub(crate) fn undelivered(&self) -> BTreeMap<u64, u64> {
        let mut bytes = vec![0; QEMU_MPS2.layout.ring.end as usize];
        let file = File::open(&self.flash).expect("the file is there");
        file.read_exact_at(&mut bytes, 0).expect("it holds the partition");
        let chip = Copied(bytes);
        embassy_futures::block_on(async {
            let (mut spool, _, found) =
                Spool::open(chip, QEMU_MPS2.layout.clone()).await.expect("a chip in memory works");
            assert!(!found.area_formatted && !found.ring_formatted, "a kill damaged the flash: {found:?}");
            let (mut body, mut from, mut through) = ([0; BODY_BYTES_MAX], spool.read(), BTreeMap::new());
            while let Some(item) =
                spool.next(from, Schema(0), &mut body).await.expect("a chip in memory works")
            {
                through.insert(item.boot.0.into(), item.through.0.into());
                from = item.after;
            }
            through
        })
    }

    /// Sets the temperature around its thermometer, in thousandths of a degree.
    pub(crate) fn warm(&self, milli_celsius: i32) {
        let arguments = json!({"path": "/machine/peripheral/thermometer", "property": "temperature", "value": milli_celsius});
        self.ask("qom-set", &arguments);
    }

    /// Plugs the network cable in, or pulls it.
    pub(crate) fn plug(&self, is_in: bool) {
        self.ask("set_link", &json!({"name": "cable", "up": is_in}));
    }

    /// The most that its stack ever held, in bytes: what of its RAM is not as after power came on.
    pub(crate) fn stack_high_water(&self, directory: &Path) -> usize {
        let path = directory.join("ram.bin");
        let size = RAM.end - RAM.start;
        self.ask("pmemsave", &json!({"val": RAM.start, "size": size, "filename": path}));
        let mut ram = vec![0; usize::try_from(size).expect("128 KiB")];
        let file = OpenOptions::new().read(true).open(&path).expect("the monitor wrote it");
        file.read_exact_at(&mut ram, 0).expect("it has the whole RAM");
        let mut used = 0;
        for (depth, byte) in ram.iter().rev().enumerate() {
            if *byte != 0 {
                used = depth + 1;
            } else if depth - used > UNTOUCHED_BYTES {
                break;
            }
        }
        used
    }

    /// One order to the monitor.
    fn ask(&self, order: &str, arguments: &Value) {
        let mut connected = None;
        let found = wait_until(PATIENCE, || {
            connected = UnixStream::connect(&self.monitor).ok();
            connected.is_some()
        });
        assert!(found, "the machine has no monitor\n{}", self.process.tail());
        let mut socket = connected.expect("just seen");
        let mut lines = BufReader::new(socket.try_clone().expect("a socket can be cloned"));
        let mut answer = |socket: &mut UnixStream, order: Option<Value>| {
            if let Some(order) = order {
                socket.write_all(format!("{order}\n").as_bytes()).expect("the monitor listens");
            }
            loop {
                let mut line = String::new();
                lines.read_line(&mut line).expect("the monitor answers");
                let line: Value = serde_json::from_str(&line).expect("the monitor speaks JSON");
                assert!(line.get("error").is_none(), "{line}");
                if line.get("QMP").is_some() || line.get("return").is_some() {
                    return;
                }
            }
        };
        answer(&mut socket, None);
        answer(&mut socket, Some(json!({"execute": "qmp_capabilities"})));
        answer(&mut socket, Some(json!({"execute": order, "arguments": arguments})));
    }
}

/// A copy of the flash, to read with the device's own code, which counts a start in it.
struct Copied(Vec<u8>);

impl ErrorType for Copied {
    type Error = Infallible;
}

impl ReadNorFlash for Copied {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, from: u32, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0[from as usize..][..out.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl NorFlash for Copied {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Infallible> {
        self.0[from as usize..to as usize].fill(0xff);
        Ok(())
    }

    async fn write(&mut self, from: u32, bytes: &[u8]) -> Result<(), Infallible> {
        self.0[from as usize..].iter_mut().zip(bytes).for_each(|(cell, byte)| *cell &= byte);
        Ok(())
    }
}

/// What the table of budgets keeps for the stack of the program with these features, in bytes.
pub(crate) fn stack_budget(features: &str) -> usize {
    let path = workspace().join("firmware/boards/budgets");
    let table = std::fs::read_to_string(path).expect("the table exists");
    let of_this = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.first() == Some(&"qemu-mps2") && words.get(1) == Some(&features)
    };
    let line = table.lines().find(of_this).expect("a line of this board");
    line.split_whitespace().nth(4).and_then(|word| word.parse().ok()).expect("its fifth word is a number")
}
