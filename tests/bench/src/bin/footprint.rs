//! What the gateway takes: memory idle, with a backlog and per idle connection; start time with that backlog; size of the binary.

use std::time::{Duration, Instant};

use headwater_bench::producers::{self, RECORD_BYTES, Until};
use headwater_bench::table::{Table, mib};
use headwater_bench::wire::Format;
use headwater_bench::{Args, account};
use serde_json::json;
use system_tests::binaries;
use system_tests::flood::mqtt_connect;
use system_tests::gateway::Gateway;

/// Memory settles: threads started, allocator returned what it could.
const SETTLE: Duration = Duration::from_secs(2);

fn main() -> anyhow::Result<()> {
    let args = Args::parse()?;
    let scratch = args.scratch()?;
    let settle = if args.small { Duration::from_millis(200) } else { SETTLE };
    let connections: u64 = if args.small { 50 } else { 1000 };
    let gib = args.gib;
    let mut table = Table::new(["what", "measured", "target"]);

    let size = std::fs::metadata(binaries::headwater())?.len();
    table.row(["binary, as built by this run".into(), mib(size), "under 15 MB (release)".into()]);

    // Room for the backlog: the default limit is for an SD card.
    let mut gateway = Gateway::start(scratch.path(), "[journal]\nmax = \"64GiB\"\n");
    std::thread::sleep(settle);
    table.row(["resident, idle".into(), mib(account::resident(gateway.id())?), "under 20 MB".into()]);

    let before = account::resident(gateway.id())?;
    let sockets = (0..connections)
        .map(|n| mqtt_connect(gateway.mqtt, &format!("idle-{n}")))
        .collect::<Result<Vec<_>, _>>()?;
    std::thread::sleep(settle);
    let each = account::resident(gateway.id())?.saturating_sub(before) / connections;
    table.row([
        format!("idle MQTT connection, of {connections}"),
        format!("{:.1} kB", each as f64 / 1000.0),
        "at most 4 kB".into(),
    ]);
    drop(sockets);

    gateway.kinesis().must("CreateStream", &json!({ "StreamName": "backlog", "ShardCount": 4 }));
    producers::run(
        gateway.kinesis,
        "backlog",
        Format::Json,
        Until::Records(args.backlog_bytes() / RECORD_BYTES as u64),
    )?;
    std::thread::sleep(settle);
    let name = |what: &str| format!("{what} with {gib} GiB of records");
    table.row([name("resident"), mib(account::resident(gateway.id())?), "under 64 MB (10 GB)".into()]);

    gateway.kill();
    let started = Instant::now();
    gateway.restart();
    let elapsed = started.elapsed();
    std::thread::sleep(settle);
    table.row([
        name("start to healthy after kill -9"),
        format!("{} ms", elapsed.as_millis()),
        "under 1 s (10 GB)".into(),
    ]);
    table.row([
        name("resident after that start"),
        mib(account::resident(gateway.id())?),
        "under 64 MB (10 GB)".into(),
    ]);
    table.print("footprint");
    gateway.stop();
    Ok(())
}
