//! The Kinesis API: what a call, a record and an event cost, beside any peers, in one run.
//!
//! `--peer 'NAME=COMMAND'` (repeatable) starts another server; `{port}` and `{dir}` are replaced in the command. A server that
//! does not have an operation gets a dash there.

use std::time::Duration;

use anyhow::Context;
use headwater_bench::contender::Contender;
use headwater_bench::producers::{self, CLIENTS, RECORD_BYTES, RECORDS_PER_CALL, Until};
use headwater_bench::table::{Table, median, percentiles_ms, short};
use headwater_bench::wire::Format;
use headwater_bench::{Args, readers};

/// Shards of the stream that is loaded.
const SHARDS: u32 = 4;
/// Events of one fan-out measurement.
const EVENTS: usize = 300;
/// Records a server holds when it is killed and started again.
const RECORDS_AT_RESTART: u64 = 1_000_000;

/// A measurement: its name and what it gives for one server.
struct Measure {
    name: String,
    run: Box<Run>,
}

type Run = dyn Fn(&mut Contender) -> anyhow::Result<String>;

fn measure(
    name: impl Into<String>,
    run: impl Fn(&mut Contender) -> anyhow::Result<String> + 'static,
) -> Measure {
    Measure { name: name.into(), run: Box::new(run) }
}

/// Runs `work` and gives what it gives, with the CPU time the server spent meanwhile.
fn with_cpu<T>(
    server: &Contender,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, Duration)> {
    let before = server.cpu()?;
    let done = work()?;
    Ok((done, server.cpu()? - before))
}

fn us_each(cpu: Duration, count: u64) -> String {
    short(cpu.as_secs_f64() * 1e6 / count.max(1) as f64)
}

fn put_record(duration: Duration) -> Measure {
    measure("PutRecord, 1 client: calls/s; p50 / p99 ms; CPU us a call", move |server| {
        let address = server.address;
        let (times, cpu) = with_cpu(server, || producers::one_by_one(address, "bench", duration))?;
        let (count, rate) = (times.len() as u64, times.len() as f64 / duration.as_secs_f64());
        let (p50, p99) = percentiles_ms(times);
        Ok(format!("{}; {} / {}; {}", short(rate), short(p50), short(p99), us_each(cpu, count)))
    })
}

fn put_record_many(duration: Duration, clients: usize) -> Measure {
    measure(format!("PutRecord, {clients} clients: calls/s; CPU us a call"), move |server| {
        let address = server.address;
        let (calls, cpu) = with_cpu(server, || {
            std::thread::scope(|scope| {
                let client = || scope.spawn(move || producers::one_by_one(address, "bench", duration));
                let clients: Vec<_> = (0..clients).map(|_| client()).collect();
                let calls = clients.into_iter().map(|c| c.join().expect("a client does not panic"));
                calls.map(|times| Ok(times?.len() as u64)).sum::<anyhow::Result<u64>>()
            })
        })?;
        Ok(format!("{}; {}", short(calls as f64 / duration.as_secs_f64()), us_each(cpu, calls)))
    })
}

fn put_records(duration: Duration, rounds: usize, format: Format) -> Measure {
    let name = format!(
        "PutRecords {}, {CLIENTS} clients, {RECORDS_PER_CALL} x {RECORD_BYTES} B: records/s; CPU us a record",
        format.name()
    );
    measure(name, move |server| {
        let mut samples = Vec::new();
        for _ in 0..rounds {
            let address = server.address;
            let until = Until::Elapsed(duration);
            let (load, cpu) = with_cpu(server, || producers::run(address, "bench", format, until))?;
            samples.push((load.records as f64 / load.elapsed.as_secs_f64(), us_each(cpu, load.records)));
        }
        let (rate, cpu) = median(samples, |sample| sample.0);
        Ok(format!("{}; {cpu}", short(rate)))
    })
}

fn drain(duration: Duration, count: usize) -> Measure {
    measure(
        format!("GetRecords, {count} readers from the beginning: records/s; CPU us a record"),
        move |server| {
            let address = server.address;
            let ((records, elapsed), cpu) =
                with_cpu(server, || readers::drain(address, "load", count, duration))?;
            Ok(format!("{}; {}", short(records as f64 / elapsed.as_secs_f64()), us_each(cpu, records)))
        },
    )
}

fn fanout(count: usize) -> Measure {
    measure("PutRecord to SubscribeToShard event: p50 / p99 ms", move |server| {
        server.stream("fanout", 1)?;
        let (p50, p99) = percentiles_ms(readers::fanout(server.address, "fanout", count)?);
        Ok(format!("{} / {}", short(p50), short(p99)))
    })
}

/// In this order: later ones find what earlier ones stored.
fn measures(args: &Args) -> Vec<Measure> {
    let (duration, rounds) = (args.duration(), args.rounds());
    let (events, records) = if args.small { (20, 20_000) } else { (EVENTS, RECORDS_AT_RESTART) };
    vec![
        measure("start with nothing stored, ms", |server| {
            server.start().map(|time| short(time.as_secs_f64() * 1e3))
        }),
        measure("resident when idle, MiB", |server| {
            std::thread::sleep(Duration::from_millis(500));
            let idle = server.resident_mib().map(short);
            server.stream("bench", SHARDS)?;
            server.stream("load", SHARDS)?;
            idle
        }),
        put_record(duration),
        put_record_many(duration, 4),
        put_record_many(duration, 32),
        put_records(duration, rounds, Format::Json),
        put_records(duration, rounds, Format::Cbor),
        fanout(events),
        // Peers keep everything in memory and take minutes for a million records: they are given a tenth.
        measure("load for the readers: records", move |server| {
            let records = if server.name.starts_with("headwater") { records } else { records / 10 };
            let load = producers::run(server.address, "load", Format::Json, Until::Records(records))?;
            Ok(short(load.records as f64))
        }),
        drain(duration, 1),
        drain(duration, 4),
        measure("resident at the end, MiB", |server| server.resident_mib().map(short)),
        measure("start after kill -9 with all that, ms", |server| {
            server.kill();
            server.start().map(|time| short(time.as_secs_f64() * 1e3))
        }),
    ]
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse()?;
    let scratch = args.scratch()?;
    let mut servers = vec![Contender::ours(scratch.path())];
    let mut rest = args.rest.iter();
    while let Some(word) = rest.next() {
        anyhow::ensure!(word == "--peer", "no option {word}; there is --peer NAME=COMMAND");
        servers.push(Contender::peer(rest.next().context("--peer needs NAME=COMMAND")?, scratch.path())?);
    }
    let mut table = Table::new(["".to_owned()].into_iter().chain(servers.iter().map(|s| s.name.clone())));
    for Measure { name, run } in measures(&args) {
        let mut cells = vec![name];
        for (place, server) in servers.iter_mut().enumerate() {
            cells.push(match run(server) {
                Ok(cell) => cell,
                // Ours has everything: an error is an error.
                Err(error) if place == 0 => return Err(error.context(cells.swap_remove(0))),
                Err(error) => {
                    eprintln!("{}: {}: {error:#}", server.name, cells[0]);
                    "-".to_owned()
                }
            });
        }
        eprintln!("{}", cells.join(" | "));
        table.row(cells);
    }
    table.print(&format!("kinesis: {RECORD_BYTES} B records, {SHARDS} shards, HTTP/1.1 on loopback"));
    Ok(())
}
