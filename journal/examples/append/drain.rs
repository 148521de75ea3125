//! What a reopening and reading everything cost.

use std::path::Path;
use std::time::Instant;

use headwater_journal::{Config, Journal, ReadLimits, ShardKey};

use crate::coding::Coding;
use crate::payload::Payload;
use crate::{append_and_wait, cpu_us, now_ms, resident_kb};

/// Fills, closes or not, reopens and reads everything.
pub(crate) fn drain(
    dir: &Path,
    megabytes: u64,
    payload: Payload,
    coding: Coding,
) -> Result<(), Box<dyn std::error::Error>> {
    let _ = std::fs::remove_dir_all(dir);
    let config = coding.config(Config { size_bytes_max: 64 << 30, ..Config::default() });
    let (journal, _) = Journal::open(dir, config.clone(), now_ms())?;
    coding.equip(&journal);
    let set = payload.set_of(0, 500);
    let wanted = megabytes * 1_000_000;
    while journal.counters().bytes_received < wanted {
        append_and_wait(&journal, &set);
    }
    let live = journal.counters().bytes_live as f64 / journal.counters().bytes_received as f64;
    println!("coding     {coding}, {live:.3} bytes kept per byte received");
    println!("rss        {} kB after filling", resident_kb());
    // As after a crash: no seal, no snapshot at the end.
    drop(journal);
    let start = Instant::now();
    let (journal, recovery) = Journal::open(dir, config, now_ms())?;
    coding.equip(&journal);
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
