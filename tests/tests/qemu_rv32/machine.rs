//! The machine with the firmware in it: an image that is built once, a file that is its memory, a process to kill.
//!
//! In: a configuration, where the agent listens. Out: a device that reports there. Invariant: the file outlives the
//! process, as flash does. Not here: what the device says.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use headwater_device::image;
use headwater_device::partition::QEMU_RV32;
use headwater_telemetry::Config;
use system_tests::binaries::workspace;
use system_tests::process::Process;
use system_tests::{ports, python};

/// Bytes of the machine's memory; the program is in the first 4 MiB of it, flash in the last.
const MEMORY_BYTES: u64 = 16 << 20;
/// Where flash begins in it.
const FLASH_AT: u64 = 12 << 20;
/// Where RAM is in it, `memory.x`; the stack grows down from its end.
const RAM: std::ops::Range<u64> = 4 << 20..(4 << 20) + (64 << 10);
/// More erased bytes than any variable that is never written: below them is no stack any more.
const UNTOUCHED_BYTES: usize = 4096;

/// The emulator, if it is installed. In CI a machine without it is a failure, not a reason to skip.
pub(crate) fn emulator() -> Option<PathBuf> {
    let found = python::installed("qemu-system-riscv32");
    let wanted = std::env::var_os("CI").is_some();
    assert!(
        found.is_some() || !wanted,
        "qemu-system-riscv32 is not installed; Debian has it in qemu-system-misc"
    );
    if found.is_none() {
        python::skip("qemu_rv32", "no qemu-system-riscv32; Debian has it in qemu-system-misc");
    }
    found
}

/// The program, built by `firmware/boards/check` beside this very test; a matter of a tenth of a second when it is there.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let target = test.ancestors().nth(3).expect("a test lives in target/<profile>/deps");
    let output = Command::new(workspace().join("firmware/boards/check"))
        .args(["--build", "qemu-rv32"])
        .env("CARGO_TARGET_DIR", target)
        .output()
        .expect("the check of the boards can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "the firmware does not build:\n{said}");
    target.join("boards/images/qemu-rv32.elf")
}

/// A machine that reports to an agent.
pub(crate) struct Machine {
    process: Process,
    memory: PathBuf,
    /// Where a debugger finds it.
    pub(crate) debugger: SocketAddr,
}

impl Machine {
    /// Fills its flash with a configuration, as a provisioning tool does; off.
    pub(crate) fn provisioned(emulator: &Path, directory: &Path, agent: SocketAddr, config: &Config) -> Self {
        let memory = directory.join("memory.bin");
        let mut file = File::create(&memory).expect("the file can be made");
        file.write_all(&vec![0xff; usize::try_from(MEMORY_BYTES).expect("16 MiB")])
            .expect("there is room for it");
        let image = image::make(&QEMU_RV32, config, None).expect("the configuration is right");
        file.write_all_at(&image.bytes, FLASH_AT + u64::from(image.address)).expect("it lies in the file");
        let backend = format!("memory-backend-file,id=ram,size=16M,mem-path={},share=on", memory.display());
        let debugger = ports::free();
        let process = Process::new("qemu-rv32", emulator, directory)
            .args(["-M", "virt,memory-backend=ram", "-m", "16M", "-bios", "none", "-display", "none"])
            .args(["-monitor", "none", "-nic", "none", "-object", &backend])
            .args([
                "-gdb",
                &format!("tcp:{debugger}"),
                "-serial",
                &format!("tcp:{agent},reconnect=1"),
                "-kernel",
            ])
            .args([program()]);
        Self { process, memory, debugger }
    }

    /// Power on.
    pub(crate) fn start(&mut self) {
        self.process.start();
    }

    /// Power off, wherever the program is.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// The most that its stack ever held, in bytes: what of its RAM is not as erased flash any more.
    pub(crate) fn stack_high_water(&self) -> usize {
        let file = OpenOptions::new().read(true).open(&self.memory).expect("the file is there");
        let mut ram = vec![0; usize::try_from(RAM.end - RAM.start).expect("64 KiB")];
        file.read_exact_at(&mut ram, RAM.start).expect("it has 16 MiB");
        let mut used = 0;
        for (depth, byte) in ram.iter().rev().enumerate() {
            if *byte != 0xff {
                used = depth + 1;
            } else if depth - used > UNTOUCHED_BYTES {
                break;
            }
        }
        used
    }
}

/// What the table of budgets keeps for the stack, in bytes.
pub(crate) fn stack_budget() -> usize {
    let path = workspace().join("firmware/boards/budgets");
    let table = std::fs::read_to_string(path).expect("the table exists");
    let line = table.lines().find(|line| line.starts_with("qemu-rv32 ")).expect("a line of this board");
    line.split_whitespace().nth(4).and_then(|word| word.parse().ok()).expect("its fifth word is a number")
}
