//! The journal's canonical workload: writers × records of 200 bytes per append, every append waited for.
//!
//! `cargo run --release -p headwater-journal --example append -- [dir=DIR] [seconds=1] [mb=256] [coding=plain] [data=same] [cases=all]`
//! `seconds=0` for the drain alone; `coding=plain,lz4,aes,chacha,lz4+aes` runs each case with each, `data=json` or `noise` for payloads
//! that pack like telemetry or not at all, `cases=16x100` for one case.
//! Prints per case: records/s, CPU µs per record, p50 and p99 of an append, flushes, bytes written per byte received. Then what a
//! reopening and a drain cost. Compare ratios within one run; absolute numbers belong to the machine.

#![expect(clippy::print_stdout, reason = "a measurement is for reading")]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use headwater_journal::blocks::Blocks;
use headwater_journal::{
    AppendError, AppendSet, Config, Counters, FileStorage, IoMode, Journal, Storage, StorageFile, Ticket,
};

use crate::coding::Coding;
use crate::payload::Payload;

mod coding;
mod drain;
mod payload;

struct Args {
    dir: Option<PathBuf>,
    seconds: f64,
    drain_mb: u64,
    codings: Vec<Coding>,
    payload: Payload,
    case: Option<String>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (codings, payload) = (vec![Coding::PLAIN], Payload::Same);
    let mut args = Args { dir: None, seconds: 1.0, drain_mb: 256, codings, payload, case: None };
    for arg in std::env::args().skip(1) {
        match arg.split_once('=') {
            Some(("dir", value)) => args.dir = Some(value.into()),
            Some(("seconds", value)) => args.seconds = value.parse()?,
            Some(("mb", value)) => args.drain_mb = value.parse()?,
            Some(("coding", value)) => args.codings = Coding::parse_all(value)?,
            Some(("data", value)) => args.payload = Payload::parse(value)?,
            Some(("cases", value)) => args.case = Some(value.into()).filter(|case| case != "all"),
            _ => return Err(format!("{arg}: expected dir, seconds, mb, coding, data or cases").into()),
        }
    }
    let scratch = tempfile::tempdir()?;
    let dir = args.dir.clone().unwrap_or_else(|| scratch.path().into());
    println!(
        "coding    case               rec/s   cpu us/rec   p50 us   p99 us    flushes   ops/group   written/received"
    );
    let cases: &[(usize, usize)] =
        if args.seconds > 0.0 { &[(1, 1), (16, 100), (16, 500), (256, 1)] } else { &[] };
    let wanted = |(writers, records): &&(usize, usize)| {
        args.case.as_ref().is_none_or(|case| *case == format!("{writers}x{records}"))
    };
    for (name, work) in [("blocking", blocking as Workload), ("event loop", event_loop)] {
        for &(writers, records) in cases.iter().filter(wanted) {
            for &coding in &args.codings {
                run_case(&dir, (name, work), (writers, records), &args, coding)?;
            }
        }
    }
    for &coding in &args.codings {
        drain::drain(&dir.join("drain"), args.drain_mb, args.payload, coding)?;
    }
    Ok(())
}

type Workload = fn(&Journal, Payload, (usize, usize), f64) -> (u64, Vec<u32>);

fn run_case(
    dir: &Path,
    (name, work): (&str, Workload),
    (writers, records): (usize, usize),
    args: &Args,
    coding: Coding,
) -> Result<(), Box<dyn std::error::Error>> {
    let dir = dir.join("append");
    let (payload, seconds) = (args.payload, args.seconds);
    let _ = std::fs::remove_dir_all(&dir);
    let config = coding.config(Config { size_bytes_max: 2 << 30, ..Config::default() });
    let (journal, _) = Journal::open(&dir, config, now_ms())?;
    coding.equip(&journal);
    // Fill and recycle once, so that what is measured is not the zeroing of new files.
    journal.retain(1, Some(0));
    work(&journal, payload, (16, 500), seconds.min(0.5));
    std::thread::sleep(Duration::from_millis(300));
    let (before, cpu, start) = (journal.counters(), cpu_us(), Instant::now());
    let (total, mut latencies) = work(&journal, payload, (writers, records), seconds);
    let (elapsed, cpu, after) = (start.elapsed().as_secs_f64(), cpu_us() - cpu, journal.counters());
    latencies.sort_unstable();
    let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or(0);
    let delta = |field: fn(&Counters) -> u64| (field(&after) - field(&before)) as f64;
    println!(
        "{coding:9} {name:10} {writers:3}x{records:<3} {:9.0} {:10.3} {:10} {:8} {:10.0} {:10.2} {:10.3}  (zeroed {:.0} MB)",
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

/// One thread a writer; each waits for its own append.
fn blocking(
    journal: &Journal,
    payload: Payload,
    (writers, records): (usize, usize),
    seconds: f64,
) -> (u64, Vec<u32>) {
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let threads: Vec<_> = (0..writers)
        .map(|writer| {
            let journal = journal.clone();
            std::thread::spawn(move || {
                let shard = u32::try_from(writer % 16).expect("below 16");
                let mut set = payload.set_of(shard, records);
                let mut latencies = Vec::new();
                while Instant::now() < until {
                    let start = Instant::now();
                    payload.fill(&mut set, shard, records);
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
fn event_loop(
    journal: &Journal,
    payload: Payload,
    (writers, records): (usize, usize),
    seconds: f64,
) -> (u64, Vec<u32>) {
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
            payload.fill(&mut set, writer, records);
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
