//! What the kernel wrote down about a process: CPU time, memory, bytes sent to the disk.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The kernel counts in hundredths of a second there (USER_HZ is 100 on every Linux we build for).
const TICKS_PER_SECOND: u64 = 100;

/// CPU time of this process, all threads, in nanoseconds' resolution.
#[must_use]
pub fn own_cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

/// CPU time of another process, all threads that ever were, to a hundredth of a second.
///
/// # Errors
/// When the process is gone.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Field 2 is the name in parentheses and may hold anything; 14 and 15 are user and system time (proc(5)).
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Resident memory of a process in bytes.
///
/// # Errors
/// When the process is gone.
pub fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line.and_then(|line| line.split_whitespace().next()).unwrap_or("0").parse()?;
    Ok(kib * 1024)
}

/// Bytes this process has caused to be sent to the disk, buffered or direct.
///
/// # Errors
/// When the kernel does not account for it.
pub fn own_disk_bytes() -> anyhow::Result<u64> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    Ok(line.unwrap_or("0").trim().parse()?)
}
