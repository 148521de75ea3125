//! Durable append, reopen and drain of the journal, beside the bare disk and RocksDB in the same run.
//! Workload: 200-byte incompressible records, four shards; 1x1, 16x100, 256x1 and 16x500 writers x records per call.

mod bare;
mod contender;
mod ours;
#[cfg(feature = "rocksdb")]
mod rocks;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use headwater_bench::Args;
use headwater_bench::table::{Table, median, short};
use headwater_journal::{ReadLimits, ShardKey};

use crate::bare::Bare;
use crate::contender::{Case, Contender, RECORD_BYTES, Sample, measure};
use crate::ours::{EventLoop, Ours, SHARDS};

const CASES: [Case; 4] = [
    Case { writers: 1, batch: 1 },
    Case { writers: 16, batch: 100 },
    Case { writers: 256, batch: 1 },
    Case { writers: 16, batch: 500 },
];

/// What one call of `read` may return while draining.
const PAGE: ReadLimits = ReadLimits { records: 10_000, bytes: 4 << 20 };

fn main() -> anyhow::Result<()> {
    let args = Args::parse()?;
    // The child of `reopen`: fills a journal and waits to be killed.
    if let [verb, directory] = args.rest.as_slice()
        && verb == "fill"
    {
        return fill(Path::new(directory), args.backlog_bytes());
    }
    let mut table = Table::new([
        "writers x batch",
        "contender",
        "records/s",
        "p50 us",
        "p99 us",
        "CPU us per record",
        "written per received",
        "records per flush",
        "against ours",
    ]);
    for case in CASES {
        append(&args, case, &mut table)?;
    }
    table.print(&format!("journal: durable append, {RECORD_BYTES} B"));
    reopen(&args)
}

/// One case, all contenders in turn, so that a slow moment of the machine hits all of them.
fn append(args: &Args, case: Case, table: &mut Table) -> anyhow::Result<()> {
    let scratch = args.scratch()?;
    let (journal, _) = Ours::open(&scratch.path().join("journal"))?;
    let journal = journal.steady();
    let events = EventLoop(&journal);
    let bare = Bare::open(scratch.path())?;
    #[cfg(feature = "rocksdb")]
    let rocks = rocks::Rocks::open(scratch.path())?;
    let mut contenders: Vec<&dyn Contender> = vec![&journal, &bare];
    if case.writers > 1 && case.batch == 1 {
        contenders.insert(1, &events);
    }
    #[cfg(feature = "rocksdb")]
    contenders.push(&rocks);

    // Unmeasured: segments are zeroed, files grow to their size.
    for contender in &contenders {
        measure(*contender, case, args.duration() / 3)?;
    }
    let mut samples = vec![Vec::new(); contenders.len()];
    for _ in 0..args.rounds() {
        // Ours comes first, so the bare disk gets the group size that ours just had.
        let mut records = 1.0;
        for (contender, samples) in contenders.iter().zip(&mut samples) {
            // The bare disk has one writer: a second could only wait.
            let is_bare = contender.name() == bare.name();
            let case = if is_bare { Case { writers: 1, batch: 1 } } else { case };
            let mut sample = measure(*contender, case, args.duration())?;
            if is_bare {
                sample.as_records(records);
            } else if contender.name() == journal.name() {
                records = sample.records_per_flush.context("the journal counts flushes")?;
                bare.set_group(records as usize * RECORD_BYTES);
            }
            samples.push(sample);
        }
    }
    let medians: Vec<Sample> =
        samples.into_iter().map(|samples| median(samples, |sample| sample.rate)).collect();
    for (contender, sample) in contenders.iter().zip(&medians) {
        table.row([
            format!("{}x{}", case.writers, case.batch),
            contender.name().to_owned(),
            short(sample.rate),
            sample.p50_us.to_string(),
            sample.p99_us.to_string(),
            short(sample.cpu_us),
            format!("{:.2}", sample.written),
            sample.records_per_flush.map_or("-".to_owned(), short),
            format!("{:.2}", sample.rate / medians[0].rate),
        ]);
    }
    Ok(())
}

impl Sample {
    /// The bare contender counts one "record" per group; this says what that is in records of ours.
    fn as_records(&mut self, records: f64) {
        self.rate *= records;
        self.cpu_us /= records;
        self.written /= records;
        self.records_per_flush = Some(records);
    }
}

/// Fills a journal in a child, kills it, opens what is left and reads all of it.
fn reopen(args: &Args) -> anyhow::Result<()> {
    let scratch = args.scratch()?;
    let directory = scratch.path().join("journal");
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--gib", &args.gib.to_string(), "fill"])
        .arg(&directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let output = child.stdout.take().context("the child's output is piped")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line)?;
    child.kill()?;
    child.wait()?;
    ensure!(line.starts_with("filled"), "the child did not fill the journal");

    let started = Instant::now();
    let (ours, recovery) = Ours::open(&directory)?;
    let opened = started.elapsed();
    // Written past the page cache: the first reading is the device's, the second is to be compared with the cache's.
    let (_, first) = timed_drain(&ours)?;
    let cached = page_cache_read(&directory)?;
    let (records, again) = timed_drain(&ours)?;
    let mut table = Table::new([
        "backlog",
        "reopen after kill -9",
        "segments scanned",
        "drain, first reading",
        "drain, cached",
        "records/s, cached",
        "page cache read of the same files",
    ]);
    table.row([
        format!("{:.2} GiB", args.gib),
        format!("{} ms", opened.as_millis()),
        format!("{} of {}", recovery.segments_scanned, recovery.segments),
        format!("{}B/s", short(first)),
        format!("{}B/s", short(again)),
        short(records),
        format!("{}B/s (drain is {:.0} %)", short(cached), 100.0 * again / cached),
    ]);
    table.print("journal: reopen and drain");
    Ok(())
}

fn fill(directory: &Path, bytes: u64) -> anyhow::Result<()> {
    let (ours, _) = Ours::open(directory)?;
    let batch = 1000;
    for writer in 0..usize::try_from(bytes / (RECORD_BYTES * batch) as u64)?.max(1) {
        ours.append(writer, batch)?;
    }
    println!("filled");
    std::thread::park();
    Ok(())
}

/// Records and payload bytes a second of reading everything.
fn timed_drain(ours: &Ours) -> anyhow::Result<(f64, f64)> {
    let started = Instant::now();
    let (records, bytes) = drain(ours)?;
    let seconds = started.elapsed().as_secs_f64();
    Ok((records as f64 / seconds, bytes as f64 / seconds))
}

/// Records and payload bytes of every shard from its first to its last.
fn drain(ours: &Ours) -> anyhow::Result<(u64, u64)> {
    let (mut records, mut bytes) = (0, 0);
    for shard in (0..SHARDS).map(|shard| ShardKey { stream: 1, shard }) {
        let Some(bounds) = ours.journal().bounds(shard) else { continue };
        let mut from = bounds.first;
        while from < bounds.end {
            let page = ours.journal().read(shard, from, PAGE)?;
            for record in page.records() {
                records += 1;
                bytes += record.data.len() as u64;
            }
            ensure!(page.next > from, "a page must move on from {from}");
            from = page.next;
        }
    }
    Ok((records, bytes))
}

/// Bytes per second of reading the journal's files when they are in the page cache already.
fn page_cache_read(directory: &Path) -> anyhow::Result<f64> {
    read_files(directory)?;
    let started = Instant::now();
    let bytes = read_files(directory)?;
    Ok(bytes as f64 / started.elapsed().as_secs_f64())
}

fn read_files(directory: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        bytes += match path.is_dir() {
            true => read_files(&path)?,
            false => std::io::copy(&mut std::fs::File::open(path)?, &mut Discard)?,
        };
    }
    Ok(bytes)
}

/// Takes bytes through memory, so that `io::copy` cannot leave them in the kernel.
struct Discard;

impl std::io::Write for Discard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
