//! QoS 1 publishes into a shard, through routing and engine, durable before the PUBACK; beside mosquitto in the same run.

use std::net::SocketAddr;
use std::time::Duration;

use headwater_bench::publishers::{self, CLIENTS, PAYLOAD_BYTES, WINDOW};
use headwater_bench::table::{Table, median, short};
use headwater_bench::{Args, account};
use system_tests::gateway::Gateway;
use system_tests::process::Process;
use system_tests::{ports, python, wait_until};

const CONFIG: &str = "[[routes]]\nmatch = \"bench/{client}\"\ncodec = \"raw\"\nstream = \"bench\"\npartition_key = \"{client}\"\nto = [\"stream\"]\n";

/// Publishes per second and CPU microseconds of the broker per publish.
#[derive(Clone, Copy)]
struct Sample {
    rate: f64,
    cpu_us: f64,
}

fn measure(address: SocketAddr, pid: u32, duration: Duration) -> anyhow::Result<Sample> {
    let before = account::cpu(pid)?;
    let load = publishers::run(address, duration);
    let cpu = account::cpu(pid)? - before;
    let acked = load.acked as f64;
    Ok(Sample { rate: acked / load.elapsed.as_secs_f64(), cpu_us: cpu.as_secs_f64() * 1e6 / acked })
}

fn mosquitto(directory: &std::path::Path) -> anyhow::Result<Option<(Process, SocketAddr)>> {
    let program = python::installed("mosquitto")
        .or_else(|| Some("/usr/sbin/mosquitto".into()).filter(|p: &std::path::PathBuf| p.exists()));
    let Some(program) = program else { return Ok(None) };
    let address = ports::free();
    let config = directory.join("mosquitto.conf");
    let text = format!(
        "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n",
        address.port()
    );
    std::fs::write(&config, text)?;
    let mut process = Process::new("mosquitto", program, directory).args(["-c"]).args([&config]);
    process.start();
    let up = wait_until(Duration::from_secs(10), || std::net::TcpStream::connect(address).is_ok());
    anyhow::ensure!(up, "mosquitto does not listen\n{}", process.tail());
    Ok(Some((process, address)))
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse()?;
    let scratch = args.scratch()?;
    let gateway = Gateway::start(scratch.path(), CONFIG);
    let peer = mosquitto(scratch.path())?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds() {
        ours.push(measure(gateway.mqtt, gateway.id(), args.duration())?);
        if let Some((process, address)) = &peer {
            theirs.push(measure(*address, process.id().unwrap_or_default(), args.duration())?);
        }
    }
    let mut table = Table::new(["broker", "publishes/s", "CPU us per publish", "rate against mosquitto"]);
    let ours = median(ours, |sample| sample.rate);
    let against = |sample: Sample, other: Option<Sample>| {
        other.map_or("-".to_owned(), |o| format!("{:.1} x", sample.rate / o.rate))
    };
    let theirs = (!theirs.is_empty()).then(|| median(theirs, |sample| sample.rate));
    table.row([
        "headwater, durable in a shard".into(),
        short(ours.rate),
        short(ours.cpu_us),
        against(ours, theirs),
    ]);
    match theirs {
        Some(theirs) => {
            table.row(["mosquitto, in memory".into(), short(theirs.rate), short(theirs.cpu_us), "1".into()])
        }
        None => table.row(["mosquitto".into(), "not installed".into(), "-".into(), "-".into()]),
    }
    table.print(&format!("ingest: QoS 1, {CLIENTS} clients, {WINDOW} in flight each, {PAYLOAD_BYTES} B"));
    Ok(())
}
