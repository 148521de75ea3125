//! What a sink costs: a backlog that waits while its target is away, its drain to a second engine on loopback, and the way of fresh
//! records from shard to target.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use headwater_bench::contender::Contender;
use headwater_bench::producers::{self, RECORD_BYTES, Until};
use headwater_bench::table::{Table, mib, percentiles_ms, short};
use headwater_bench::wire::{Connection, Format};
use headwater_bench::{Args, account};
use serde_json::{Value, json};
use system_tests::gateway::Gateway;
use system_tests::kinesis::get;
use system_tests::wait_until;

/// Shards of every stream, here and there.
const SHARDS: u32 = 8;
/// Pause between two looks at the gateway; a look costs it less than a millisecond.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A debug build on a loaded machine takes its time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Records of a call while the bytes of steady state are counted, and the pause behind it: 2,000 records a second.
const STEADY: (usize, Duration) = (100, Duration::from_millis(50));
/// Pause between two records whose way is timed, so that each travels alone.
const LIVE_PAUSE: Duration = Duration::from_millis(20);

/// A gateway, and a second engine that its sinks carry to.
struct Bench {
    near: Gateway,
    far: Contender,
    /// The configuration without a sink.
    plain: String,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse()?;
    let scratch = args.scratch()?;
    let mut bench = Bench::start(scratch.path())?;
    let records = args.backlog_bytes() / RECORD_BYTES as u64;
    producers::run(bench.near.kinesis, "backlog", Format::Json, Until::Records(records))?;

    let mut waiting = Table::new(["what", "measured", "target"]);
    bench.wait_without_target(args.gib, &mut waiting)?;
    waiting.print("forward: a backlog while the target is away");

    let mut drains = Table::new([
        "drain to a second engine",
        "records/s",
        "MB/s of data",
        "CPU us a record, gateway",
        "CPU us a record, target",
        "written beside the data, B a record",
        "resident at most",
    ]);
    for (name, settings) in [("one by one", ""), ("aggregate = \"kpl\"", "aggregate = \"kpl\"\n")] {
        bench.drain(name, settings, args.duration() * 3, &mut drains)?;
    }
    drains.print(&format!("forward: {RECORD_BYTES} B records of 2,000 keys, {SHARDS} shards"));

    let mut fresh = Table::new(["fresh records", "measured", "target"]);
    bench.sink("live", "live", "")?;
    bench.steady(args.duration(), &mut fresh)?;
    bench.latency(if args.small { 20 } else { 500 }, &mut fresh)?;
    fresh.print("forward: records that arrive while nothing waits");
    bench.near.stop();
    Ok(())
}

impl Bench {
    fn start(directory: &Path) -> anyhow::Result<Self> {
        let other = directory.join("far");
        std::fs::create_dir(&other)?;
        let mut far = Contender::ours(&other);
        far.start()?;
        for stream in ["one-by-one", "kpl", "live"] {
            far.stream(stream, SHARDS)?;
        }
        // Room for the backlog: the default limit is for an SD card.
        let near = Gateway::start(directory, "[journal]\nmax = \"64GiB\"\n");
        for stream in ["backlog", "live"] {
            near.kinesis().must("CreateStream", &json!({ "StreamName": stream, "ShardCount": SHARDS }));
        }
        let plain = std::fs::read_to_string(&near.config)?;
        Ok(Self { near, far, plain })
    }

    /// Starts the gateway again with one sink; gives the time until it is healthy.
    fn sink(&mut self, stream: &str, target: &str, settings: &str) -> anyhow::Result<Duration> {
        self.near.stop();
        let sink = format!(
            "[sinks.{target}]\nstreams = [\"{stream}\"]\ntarget = \"{target}\"\nendpoint = \"http://{}\"\n\
             credentials = \"unchecked\"\nregion = \"us-east-1\"\nlimits = \"none\"\n{settings}",
            self.far.address
        );
        std::fs::write(&self.near.config, format!("{}\n{sink}", self.plain))?;
        let started = Instant::now();
        self.near.restart();
        let took = started.elapsed();
        ensure!(wait_until(PATIENCE, || self.health().is_ok()), "the sink did not start");
        Ok(took)
    }

    fn wait_without_target(&mut self, gib: f64, table: &mut Table) -> anyhow::Result<()> {
        self.far.kill();
        let start = self.sink("backlog", "one-by-one", "")?;
        std::thread::sleep(Duration::from_secs(2));
        let resident = account::resident(self.near.id())?;
        table.row([
            format!("start to healthy with {gib} GiB waiting for a sink"),
            format!("{} ms", start.as_millis()),
            "under 1 s (10 GB)".into(),
        ]);
        table.row(["resident then".into(), mib(resident), "flat".into()]);
        self.far.start()?;
        Ok(())
    }

    fn drain(
        &mut self,
        name: &str,
        settings: &str,
        duration: Duration,
        table: &mut Table,
    ) -> anyhow::Result<()> {
        let target = if settings.is_empty() { "one-by-one" } else { "kpl" };
        self.sink("backlog", target, settings)?;
        ensure!(wait_until(PATIENCE, || self.delivered().is_ok_and(|n| n > 0)), "nothing was delivered");
        let before = self.look()?;
        let (mut after, mut resident) = (self.look()?, 0);
        while before.at.elapsed() < duration {
            std::thread::sleep(LOOK_EVERY);
            after = self.look()?;
            resident = resident.max(account::resident(self.near.id())?);
            if after.waiting == 0 {
                break;
            }
        }
        let records = (after.delivered - before.delivered) as f64;
        let seconds = (after.at - before.at).as_secs_f64();
        ensure!(records > 0.0, "nothing was delivered in {seconds} s");
        let us = |before: Duration, after: Duration| short((after - before).as_secs_f64() * 1e6 / records);
        table.row([
            name.to_owned(),
            short(records / seconds),
            short(records * RECORD_BYTES as f64 / seconds / 1e6),
            us(before.cpu_near, after.cpu_near),
            us(before.cpu_far, after.cpu_far),
            short((after.written - before.written) / records),
            mib(resident),
        ]);
        Ok(())
    }

    /// Bytes written here while records come in at a steady rate and leave at once.
    fn steady(&mut self, duration: Duration, table: &mut Table) -> anyhow::Result<()> {
        let mut connection = Connection::open(self.near.kinesis)?;
        let data = base64_simd::STANDARD.encode_to_string([b'x'; RECORD_BYTES]);
        let record = |n: usize| json!({ "Data": data, "PartitionKey": format!("device-{n}") });
        let records: Vec<Value> = (0..STEADY.0).map(record).collect();
        let body = json!({ "StreamName": "live", "Records": records });
        let (before, mut put) = (self.look()?, 0);
        while before.at.elapsed() < duration {
            connection.call("PutRecords", &body)?;
            put += STEADY.0;
            std::thread::sleep(STEADY.1);
        }
        let put = put as u64;
        let all = wait_until(PATIENCE, || self.delivered().is_ok_and(|n| n >= before.delivered + put));
        ensure!(all, "{put} records were put and not all delivered");
        self.account("100 records a commit", &before, put, table)?;
        Ok(())
    }

    /// What was written here since `before`, for `put` records.
    fn account(&self, what: &str, before: &Look, put: u64, table: &mut Table) -> anyhow::Result<()> {
        let after = self.look()?;
        let (written, commits) = (after.written - before.written, after.groups - before.groups);
        let beyond = written - 1.3 * (put as usize * RECORD_BYTES) as f64;
        table.row([
            format!("{what}: written a byte of data; a commit beyond 1.3 x data"),
            format!(
                "{:.2} B; {:.0} B",
                written / (put as usize * RECORD_BYTES) as f64,
                (beyond / commits).max(0.0)
            ),
            "8 KiB a commit".into(),
        ]);
        table.row([
            format!("{what}: commits for 1,000 records, cursors among them"),
            short(commits * 1e3 / put as f64),
            String::new(),
        ]);
        Ok(())
    }

    /// From a record's arrival in our shard to its arrival in the target's, as the two engines stamp it, to the millisecond.
    fn latency(&mut self, count: usize, table: &mut Table) -> anyhow::Result<()> {
        let mut connection = Connection::open(self.near.kinesis)?;
        let before = self.look()?;
        let delivered = before.delivered;
        for n in 0..count {
            let data = base64_simd::STANDARD
                .encode_to_string(format!("timed-{n:0width$}", width = RECORD_BYTES - 6));
            let put =
                json!({ "StreamName": "live", "Data": data, "PartitionKey": format!("device-{}", n % 50) });
            connection.call("PutRecord", &put)?;
            std::thread::sleep(LIVE_PAUSE);
        }
        let all = wait_until(PATIENCE, || self.delivered().is_ok_and(|n| n >= delivered + count as u64));
        ensure!(all, "{count} records were put and not all delivered");
        self.account("one record a commit", &before, count as u64, table)?;
        let mut here = connection;
        let mut there = Connection::open(self.far.address)?;
        let (sent, arrived) = (arrivals(&mut here)?, arrivals(&mut there)?);
        ensure!(
            sent.len() == count && arrived.len() == count,
            "{} sent, {} arrived",
            sent.len(),
            arrived.len()
        );
        let times = sent.iter().map(|(name, at)| arrived[name].saturating_sub(*at)).collect();
        let (p50, p99) = percentiles_ms(times);
        table.row(["shard to target, p50 / p99".into(), format!("{p50:.0} / {p99:.0} ms"), String::new()]);
        Ok(())
    }

    fn delivered(&self) -> anyhow::Result<u64> {
        Ok(self.health()?.0)
    }

    /// Delivered and waiting records of the one sink.
    fn health(&self) -> anyhow::Result<(u64, u64)> {
        let (_, body) = get(self.near.http, "/health")?;
        let body: Value = serde_json::from_str(&body)?;
        let of = |name: &str| body["sinks"][0][name].as_u64().with_context(|| format!("no {name} in {body}"));
        Ok((of("delivered")?, of("waiting")?))
    }

    fn look(&self) -> anyhow::Result<Look> {
        let (delivered, waiting) = self.health()?;
        let (_, metrics) = get(self.near.http, "/metrics")?;
        let of = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse::<f64>().ok()).with_context(|| format!("no metric {name}"))
        };
        Ok(Look {
            at: Instant::now(),
            delivered,
            waiting,
            written: of("headwater_journal_bytes_written_total")?,
            groups: of("headwater_journal_groups_total")?,
            cpu_near: account::cpu(self.near.id())?,
            cpu_far: self.far.cpu()?,
        })
    }
}

/// The accounts of both sides at a moment.
struct Look {
    at: Instant,
    delivered: u64,
    waiting: u64,
    written: f64,
    groups: f64,
    cpu_near: Duration,
    cpu_far: Duration,
}

/// When the timed records arrived in a server's stream `live`, by their data, since 1970.
fn arrivals(connection: &mut Connection) -> anyhow::Result<BTreeMap<String, Duration>> {
    let mut found = BTreeMap::new();
    let shards = connection.call("ListShards", &json!({ "StreamName": "live" }))?;
    for shard in shards["Shards"].as_array().context("Shards")? {
        let at =
            json!({ "StreamName": "live", "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON" });
        let mut next = connection.call("GetShardIterator", &at)?["ShardIterator"].clone();
        loop {
            let page = connection.call("GetRecords", &json!({ "ShardIterator": next, "Limit": 10_000 }))?;
            let records = page["Records"].as_array().context("Records")?;
            for record in records {
                let data = record["Data"].as_str().context("Data")?;
                let data = String::from_utf8(base64_simd::STANDARD.decode_to_vec(data)?)?;
                let arrived = record["ApproximateArrivalTimestamp"].as_f64().context("arrival")?;
                if data.starts_with("timed-") {
                    found.insert(data, Duration::from_secs_f64(arrived));
                }
            }
            if records.is_empty() && page["MillisBehindLatest"].as_u64() == Some(0) {
                break;
            }
            next = page["NextShardIterator"].clone();
        }
    }
    Ok(found)
}
