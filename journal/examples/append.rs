//! The journal's canonical workload: writers × records of 200 bytes per append, every append waited for.
//!
//! `cargo run --release -p headwater-journal --example append -- [dir=DIR] [seconds=1] [mb=256]`, `seconds=0` for the drain alone
//! Prints per case: records/s, CPU µs per record, p50 and p99 of an append, flushes, bytes written per byte received. Then what a
//! reopening and a drain cost. Compare ratios within one run; absolute numbers belong to the machine.

#![expect(clippy::print_stdout, reason = "a measurement is for reading")]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use headwater_journal::blocks::Blocks;
use headwater_journal::{
    AppendError, AppendSet, Config, Counters, FileStorage, IoMode, Journal, ReadLimits, ShardKey, Storage,
    StorageFile, Ticket,
};

const RECORD_BYTES: usize = 200;

struct Args {
    dir: Option<PathBuf>,
    seconds: f64,
    drain_mb: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = Args { dir: None, seconds: 1.0, drain_mb: 256 };
    for arg in std::env::args().skip(1) {
        match arg.split_once('=') {
            Some(("dir", value)) => args.dir = Some(value.into()),
            Some(("seconds", value)) => args.seconds = value.parse()?,
            Some(("mb", value)) => args.drain_mb = value.parse()?,
            _ => return Err(format!("{arg}: expected dir=DIR, seconds=S or mb=MB").into()),
        }
    }
    let scratch = tempfile::tempdir()?;
    let dir = args.dir.clone().unwrap_or_else(|| scratch.path().into());
    println!(
        "case               rec/s   cpu us/rec   p50 us   p99 us    flushes   ops/group   written/received"
    );
    let cases: &[(usize, usize)] =
        if args.seconds > 0.0 { &[(1, 1), (16, 100), (16, 500), (256, 1)] } else { &[] };
    for &(writers, records) in cases {
        run_case(&dir, "blocking", writers, records, args.seconds, blocking)?;
    }
    for &(writers, records) in cases {
        run_case(&dir, "event loop", writers, records, args.seconds, event_loop)?;
    }
    drain(&dir.join("drain"), args.drain_mb)
}

type Workload = fn(&Journal, usize, usize, f64) -> (u64, Vec<u32>);

fn run_case(
    dir: &Path,
    name: &str,
    writers: usize,
    records: usize,
    seconds: f64,
    work: Workload,
) -> Result<(), Box<dyn std::error::Error>> {
    let dir = dir.join("append");
    let _ = std::fs::remove_dir_all(&dir);
    let config = Config { size_bytes_max: 2 << 30, ..Config::default() };
    let (journal, _) = Journal::open(&dir, config, now_ms())?;
    // Fill and recycle once, so that what is measured is not the zeroing of new files.
    journal.retain(1, Some(0));
    work(&journal, 16, 500, seconds.min(0.5));
    std::thread::sleep(Duration::from_millis(300));
    let (before, cpu, start) = (journal.counters(), cpu_us(), Instant::now());
    let (total, mut latencies) = work(&journal, writers, records, seconds);
    let (elapsed, cpu, after) = (start.elapsed().as_secs_f64(), cpu_us() - cpu, journal.counters());
    latencies.sort_unstable();
    let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or(0);
    let delta = |field: fn(&Counters) -> u64| (field(&after) - field(&before)) as f64;
    println!(
        "{name:10} {writers:3}x{records:<3} {:9.0} {:10.3} {:10} {:8} {:10.0} {:10.2} {:10.3}  (zeroed {:.0} MB)",
        total as f64 / elapsed,
        cpu as f64 / total as f64,
        at(50),
        at(99),
        delta(|counters| counters.flushes),
        (delta(|counters| counters.flushes) + delta(|counters| counters.device_writes))
            / delta(|counters| counters.groups).max(1.0),
        delta(|counters| counters.bytes_written - counters.bytes_zeroed)
            / delta(|counters| counters.bytes_received).max(1.0),
        delta(|counters| counters.bytes_zeroed) / 1e6,
    );
    journal.close();
    let written = (after.bytes_written - after.bytes_zeroed) - (before.bytes_written - before.bytes_zeroed);
    let groups = (after.groups - before.groups).max(1);
    bare(
        &dir,
        usize::try_from(written / groups).unwrap_or(0).max(1),
        delta(|counters| counters.bytes_received) / elapsed / 1e6,
        seconds.min(0.5),
    )?;
    let _ = std::fs::remove_dir_all(&dir);
    Ok(())
}

/// What the device does with groups of this size without any journal: one thread, write and flush, over a file of zeros.
fn bare(dir: &Path, group_bytes: usize, journal_mb_s: f64, seconds: f64) -> std::io::Result<()> {
    const FILE_BYTES: u64 = 64 << 20;
    let storage = FileStorage::open(&dir.join("bare"), IoMode::Auto)?;
    let file = storage.create("0000000000000000.pool", FILE_BYTES)?;
    let mut blocks = Blocks::from(&vec![0x5a; group_bytes][..]);
    blocks.pad();
    let (mut at, mut bytes, mut latencies) = (0, 0u64, Vec::new());
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        let write = Instant::now();
        at = if at + 2 * blocks.len() as u64 > FILE_BYTES { 0 } else { at + blocks.len() as u64 };
        file.write_at(&blocks, at)?;
        file.sync()?;
        bytes += blocks.len() as u64;
        latencies.push(u32::try_from(write.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    let bare_mb_s = bytes as f64 / start.elapsed().as_secs_f64() / 1e6;
    latencies.sort_unstable();
    let (p50, p99) = (latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100]);
    let (size, share) = (blocks.len(), journal_mb_s * 100.0 / bare_mb_s);
    println!(
        "      bare write + flush of {size} B: p50 {p50} us, p99 {p99} us, {bare_mb_s:.0} MB/s; the journal's payload is {share:.0} % of it"
    );
    Ok(())
}

fn set_of(shard: u32, records: usize) -> AppendSet {
    let mut set = AppendSet::new();
    fill(&mut set, shard, records);
    set
}

fn fill(set: &mut AppendSet, shard: u32, records: usize) {
    const PAYLOAD: [u8; RECORD_BYTES] = [0x5a; RECORD_BYTES];
    set.clear();
    set.batch(ShardKey { stream: 1, shard });
    for _ in 0..records {
        set.record(b"", &PAYLOAD);
    }
}

/// One thread a writer; each waits for its own append.
fn blocking(journal: &Journal, writers: usize, records: usize, seconds: f64) -> (u64, Vec<u32>) {
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let threads: Vec<_> = (0..writers)
        .map(|writer| {
            let journal = journal.clone();
            std::thread::spawn(move || {
                let shard = u32::try_from(writer % 16).expect("below 16");
                let mut set = set_of(shard, records);
                let mut latencies = Vec::new();
                while Instant::now() < until {
                    let start = Instant::now();
                    fill(&mut set, shard, records);
                    append_and_wait(&journal, &set);
                    latencies.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
                }
                latencies
            })
        })
        .collect();
    let latencies: Vec<u32> =
        threads.into_iter().flat_map(|thread| thread.join().expect("writers do not panic")).collect();
    (latencies.len() as u64 * records as u64, latencies)
}

fn append_and_wait(journal: &Journal, set: &AppendSet) {
    loop {
        match journal.append(set, now_ms()) {
            Ok(appended) => return journal.wait(appended.ticket).expect("durable"),
            Err(AppendError::Busy { .. } | AppendError::Full) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// One thread for all writers: appends without waiting and learns of commits once per group, as a server does.
fn event_loop(journal: &Journal, writers: usize, records: usize, seconds: f64) -> (u64, Vec<u32>) {
    let durable = Arc::new((Mutex::new(Ticket(0)), Condvar::new()));
    let told = Arc::clone(&durable);
    journal.on_commit(Box::new(move |outcome| {
        *told.0.lock().expect("not poisoned") = outcome.expect("commits");
        told.1.notify_one();
    }));
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let mut set = AppendSet::new();
    let (mut idle, mut waiting, mut latencies, mut total) = (writers, VecDeque::new(), Vec::new(), 0u64);
    let mut writer = 0u32;
    while Instant::now() < until || !waiting.is_empty() {
        while idle > 0 && Instant::now() < until {
            writer = (writer + 1) % 16;
            fill(&mut set, writer, records);
            match journal.append(&set, now_ms()) {
                Ok(appended) => waiting.push_back((appended.ticket, Instant::now())),
                Err(AppendError::Busy { .. } | AppendError::Full) => break,
                Err(error) => panic!("{error}"),
            }
            idle -= 1;
        }
        let Some(&(oldest, _)) = waiting.front() else { continue };
        let mut newest = durable.0.lock().expect("not poisoned");
        while *newest < oldest {
            newest = durable.1.wait(newest).expect("not poisoned");
        }
        let newest = *newest;
        while let Some(&(ticket, start)) = waiting.front().filter(|(ticket, _)| *ticket <= newest) {
            let _ = ticket;
            waiting.pop_front();
            latencies.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
            idle += 1;
            total += records as u64;
        }
    }
    (total, latencies)
}

/// Fills, closes or not, reopens and reads everything.
fn drain(dir: &Path, megabytes: u64) -> Result<(), Box<dyn std::error::Error>> {
    let _ = std::fs::remove_dir_all(dir);
    let config = Config { size_bytes_max: 64 << 30, ..Config::default() };
    let (journal, _) = Journal::open(dir, config.clone(), now_ms())?;
    let set = set_of(0, 500);
    let wanted = megabytes * 1_000_000;
    while journal.counters().bytes_received < wanted {
        append_and_wait(&journal, &set);
    }
    println!("rss        {} kB after filling", resident_kb());
    // As after a crash: no seal, no snapshot at the end.
    drop(journal);
    let start = Instant::now();
    let (journal, recovery) = Journal::open(dir, config, now_ms())?;
    let reopen_ms = start.elapsed().as_secs_f64() * 1e3;
    println!("rss        {} kB after reopening", resident_kb());
    let shard = ShardKey { stream: 1, shard: 0 };
    for round in ["drain", "again"] {
        let (mut from, mut bytes, mut records) = (0, 0u64, 0u64);
        let (start, cpu) = (Instant::now(), cpu_us());
        loop {
            let page = journal.read(shard, from, ReadLimits { records: 100_000, bytes: 4 << 20 })?;
            for record in page.records() {
                bytes += record.data.len() as u64;
                records += 1;
            }
            from = page.next;
            if page.next >= page.end {
                break;
            }
        }
        let (elapsed, cpu) = (start.elapsed().as_secs_f64(), cpu_us() - cpu);
        println!(
            "{round:10} {:.2} GB/s, {:.2} M rec/cpu-s of {bytes} bytes, {records} records",
            bytes as f64 / elapsed / 1e9,
            records as f64 / cpu as f64,
        );
    }
    println!(
        "reopen     {reopen_ms:.1} ms, {} segments, {} read whole",
        recovery.segments, recovery.segments_scanned
    );
    println!("page cache {:.2} GB/s reading the same files", read_files(&dir.join("lane-0"))?);
    println!("rss        {} kB", resident_kb());
    journal.close();
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

fn read_files(dir: &Path) -> std::io::Result<f64> {
    use std::io::Read;
    let (mut buffer, mut bytes) = (vec![0; 1 << 20], 0usize);
    let mut best = 0.0f64;
    for _ in 0..2 {
        let start = Instant::now();
        bytes = 0;
        for entry in std::fs::read_dir(dir)? {
            let mut file = std::fs::File::open(entry?.path())?;
            loop {
                let read = file.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                bytes += read;
            }
        }
        best = best.max(bytes as f64 / start.elapsed().as_secs_f64() / 1e9);
    }
    let _ = bytes;
    Ok(best)
}

/// CPU time of this process, all threads, also those that ended.
fn cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1000).expect("time moves on")
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).unwrap_or(0)
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("fits")
}
