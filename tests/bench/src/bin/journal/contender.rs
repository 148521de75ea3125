//! What is compared: something that takes records and returns when they would survive a power cut.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use headwater_bench::account;

/// Bytes of a record.
pub const RECORD_BYTES: usize = 200;

/// One store under test.
pub trait Contender: Sync {
    /// Its name in the table.
    fn name(&self) -> &'static str;
    /// Appends `count` records of [`RECORD_BYTES`] for `writer` and returns when they are durable.
    fn append(&self, writer: usize, count: usize) -> anyhow::Result<()>;
    /// Flushes so far, where it counts them.
    fn flushes(&self) -> Option<u64> {
        None
    }
    /// Whether one caller can stand for many writers: it stages what all of them have and waits once. `append` is then
    /// called by one thread with all records, as an event loop would.
    fn is_event_loop(&self) -> bool {
        false
    }
}

/// One case: how many writers, how many records per call.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub writers: usize,
    pub batch: usize,
}

/// What one measurement found.
#[derive(Debug, Clone)]
pub struct Sample {
    pub rate: f64,
    pub p50_us: u32,
    pub p99_us: u32,
    pub cpu_us: f64,
    /// Bytes sent to the disk per byte received.
    pub written: f64,
    pub records_per_flush: Option<f64>,
}

/// Runs one case for `duration`.
pub fn measure(contender: &dyn Contender, case: Case, duration: Duration) -> anyhow::Result<Sample> {
    let (threads, count) = if contender.is_event_loop() && case.batch == 1 {
        (1, case.writers)
    } else {
        (case.writers, case.batch)
    };
    let (cpu, disk, flushes) = (account::own_cpu(), account::own_disk_bytes()?, contender.flushes());
    let (stop, records) = (AtomicBool::new(false), AtomicU64::new(0));
    let started = Instant::now();
    let mut latencies = std::thread::scope(|scope| -> anyhow::Result<Vec<u32>> {
        let (stop, records) = (&stop, &records);
        let writers: Vec<_> = (0..threads)
            .map(|writer| scope.spawn(move || write(contender, writer, count, stop, records)))
            .collect();
        std::thread::sleep(duration);
        stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for writer in writers {
            all.extend(writer.join().expect("a writer does not panic")?);
        }
        Ok(all)
    })?;
    let elapsed = started.elapsed().as_secs_f64();
    let records = records.into_inner() as f64;
    latencies.sort_unstable();
    let at = |part: f64| latencies.get(((latencies.len() - 1) as f64 * part) as usize).copied();
    Ok(Sample {
        rate: records / elapsed,
        p50_us: at(0.5).context("no append ended")?,
        p99_us: at(0.99).context("no append ended")?,
        cpu_us: (account::own_cpu() - cpu).as_secs_f64() * 1e6 / records,
        written: (account::own_disk_bytes()? - disk) as f64 / (records * RECORD_BYTES as f64),
        records_per_flush: contender
            .flushes()
            .zip(flushes)
            .map(|(after, before)| records / (after - before).max(1) as f64),
    })
}

fn write(
    contender: &dyn Contender,
    writer: usize,
    count: usize,
    stop: &AtomicBool,
    records: &AtomicU64,
) -> anyhow::Result<Vec<u32>> {
    let mut latencies = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        contender.append(writer, count)?;
        latencies.push(u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX));
        records.fetch_add(count as u64, Ordering::Relaxed);
    }
    Ok(latencies)
}

/// The same incompressible bytes for every contender.
pub fn payload() -> [u8; RECORD_BYTES] {
    let mut chance = system_tests::chance::Chance::new(1);
    let mut bytes = [0; RECORD_BYTES];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&chance.next_u64().to_le_bytes()[..chunk.len()]);
    }
    bytes
}
