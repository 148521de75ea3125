//! `headwater demo`, and what plain `headwater` does: gateway, agent and twenty simulated devices in one process, with
//! the lines a person pastes elsewhere to read what they send.

use super::fleet::{self, FleetOptions};
use super::run::not_started;
use super::signals::{Stop, with_signals};
use super::{Exit, say};
use crate::config::Config;
use crate::gateway::Gateway;
use crate::ingest::Inbound;
use crate::route::{RouterSettings, explain};
use clap::Args;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

#[derive(Debug, Default, Args)]
pub(super) struct Options {
    #[command(flatten)]
    fleet: FleetOptions,
    /// Go on with the data of the demo before instead of starting fresh.
    #[arg(long)]
    keep: bool,
}

/// Demos beside each other on one machine.
const DEMOS_MAX: u32 = 16;

/// Segments and limits for a directory that is thrown away.
const SEGMENT_BYTES: u64 = 4 << 20;
const SIZE_BYTES_MAX: u64 = 1 << 30;
const RESERVE_BYTES: u64 = 64 << 20;

pub(super) fn demo(config: Config, options: Options) -> Exit {
    with_signals(|stop| show(config, options, stop))
}

async fn show(mut config: Config, options: Options, stop: Stop) -> Exit {
    let home = match Home::take(&config.gateway.state, options.keep) {
        Ok(home) => home,
        Err(error) => {
            eprintln!("no directory for the demo below {}: {error}", config.gateway.state.display());
            return Exit::Io;
        }
    };
    config.gateway.state = home.dir.join("gateway");
    config.journal.segment_bytes = SEGMENT_BYTES;
    config.journal.size_bytes_max = config.journal.size_bytes_max.min(SIZE_BYTES_MAX);
    config.journal.reserve_bytes = config.journal.reserve_bytes.min(RESERVE_BYTES);
    let Config { mqtt, kinesis, http, .. } = &mut config;
    for (key, addr) in [
        ("mqtt.listen", &mut mqtt.listen),
        ("kinesis.listen", &mut kinesis.listen),
        ("http.listen", &mut http.listen),
    ] {
        if !is_free(*addr) {
            say(format_args!("port {} is taken; using a free one ({key} chooses another)", addr.port()));
            addr.set_port(0);
        }
    }
    let gateway = match Gateway::start(&config).await {
        Ok(gateway) => gateway,
        Err(error) => return not_started(&error),
    };
    let sim = options.fleet.over(&config.sim);
    say(Welcome { config: &config, gateway: &gateway, devices: sim.devices, home: &home.dir });
    let settings = fleet::settings(&sim, home.dir.join("agent"), gateway.mqtt_addr(), gateway.kinesis_addr());
    let outcome = fleet::run(settings, stop).await;
    let exit = fleet::verdict(outcome);
    say(gateway.stop().await);
    say(format_args!("The data stays in {} until the next demo.", home.dir.display()));
    exit
}

fn is_free(addr: SocketAddr) -> bool {
    TcpListener::bind(addr).is_ok()
}

/// The directory of one demo, locked while it runs.
struct Home {
    dir: PathBuf,
    _lock: File,
}

impl Home {
    /// Takes the first directory below `state` that no other demo uses. `keep` leaves in it what is there.
    fn take(state: &Path, keep: bool) -> io::Result<Home> {
        for n in 1..=DEMOS_MAX {
            let dir = state.join(if n == 1 { "demo".to_owned() } else { format!("demo-{n}") });
            std::fs::create_dir_all(&dir)?;
            let lock = File::create(dir.join("lock"))?;
            if lock.try_lock().is_err() {
                continue;
            }
            for part in ["gateway", "agent"].iter().filter(|_| !keep) {
                match std::fs::remove_dir_all(dir.join(part)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            return Ok(Home { dir, _lock: lock });
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("{DEMOS_MAX} demos run already")))
    }
}

/// What is shown at the start.
struct Welcome<'a> {
    config: &'a Config,
    gateway: &'a Gateway,
    devices: u32,
    home: &'a Path,
}

impl std::fmt::Display for Welcome<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Welcome { config, gateway, devices, home } = self;
        let (mqtt, kinesis, http) = (gateway.mqtt_addr(), gateway.kinesis_addr(), gateway.http_addr());
        let (stream, shard) = place(config);
        let region = &config.kinesis.region;
        writeln!(
            f,
            "Headwater demo: {devices} simulated devices -> agent -> MQTT {mqtt} -> stream \"{stream}\"."
        )?;
        writeln!(
            f,
            "Read what they send, in another terminal (pip install boto3 awscli), with either line:\n"
        )?;
        writeln!(f, "  {}\n", boto3_line(kinesis, region, &stream, &shard))?;
        writeln!(f, "  {}\n", aws_line(kinesis, region, &stream, &shard))?;
        writeln!(f, "Send something yourself:")?;
        writeln!(
            f,
            "  mosquitto_pub -h {} -p {} -q 1 -t site/a/temperature -m '{{\"celsius\":21.5}}'\n",
            mqtt.ip(),
            mqtt.port()
        )?;
        writeln!(f, "Status http://{http}/   data {}", home.display())?;
        writeln!(
            f,
            "Next: headwater config init headwater.toml, then headwater run --config headwater.toml"
        )?;
        writeln!(f, "Ctrl-C ends the demo and checks that every acknowledged reading is in its shard.")
    }
}

/// The stream and a shard where a simulated device's readings are found.
fn place(config: &Config) -> (String, String) {
    let publish = Inbound {
        client_id: "agent",
        topic: "headwater/sim/log",
        payload: b"",
        qos: 1,
        retain: false,
        content_type: None,
        user_properties: &[],
    };
    let mut settings = RouterSettings::of(config);
    settings.routes.iter_mut().for_each(|route| route.codec = crate::route::Codec::Raw);
    let record = explain(&settings, &publish, 0).and_then(|explained| explained.records.into_iter().next());
    let stream = record.map_or_else(|| config.dead_letter.clone(), |record| record.stream);
    (stream, format!("shardId-{:012}", 0))
}

/// One line for a shell with Python and boto3. Credentials are needed by the client only, so any will do.
fn boto3_line(kinesis: SocketAddr, region: &str, stream: &str, shard: &str) -> String {
    format!(
        "python3 -c 'import boto3; k = boto3.client(\"kinesis\", endpoint_url=\"http://{kinesis}\", \
         region_name=\"{region}\", aws_access_key_id=\"x\", aws_secret_access_key=\"x\"); i = \
         k.get_shard_iterator(StreamName=\"{stream}\", ShardId=\"{shard}\", \
         ShardIteratorType=\"TRIM_HORIZON\")[\"ShardIterator\"]; [print(r[\"Data\"].decode()) for r in \
         k.get_records(ShardIterator=i, Limit=10)[\"Records\"]]'"
    )
}

/// One line for a shell with the AWS CLI, which shows data in base64.
fn aws_line(kinesis: SocketAddr, region: &str, stream: &str, shard: &str) -> String {
    format!(
        "AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_DEFAULT_REGION={region} sh -c 'k=\"aws --endpoint-url \
         http://{kinesis} kinesis\"; i=$($k get-shard-iterator --stream-name {stream} --shard-id {shard} \
         --shard-iterator-type TRIM_HORIZON --query ShardIterator --output text); for d in $($k get-records \
         --shard-iterator \"$i\" --limit 10 --query \"Records[].Data\" --output text); do echo \"$d\" | base64 -d; echo; \
         done'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pasted_lines_are_each_one_shell_command() {
        let addr = "127.0.0.1:4567".parse().unwrap();
        for line in [boto3_line(addr, "r", "s", "shardId-0"), aws_line(addr, "r", "s", "shardId-0")] {
            assert_eq!(line.matches('\'').count(), 2, "one pair of quotes around the program: {line}");
            assert!(!line.contains('\n') && !line.contains("  "), "{line}");
        }
    }

    #[test]
    fn demos_beside_each_other_have_a_directory_each_and_start_fresh() {
        let state = tempfile::tempdir().unwrap();
        let first = Home::take(state.path(), false).unwrap();
        let second = Home::take(state.path(), false).unwrap();
        assert_eq!(first.dir, state.path().join("demo"));
        assert_eq!(second.dir, state.path().join("demo-2"));
        std::fs::create_dir_all(first.dir.join("gateway/journal")).unwrap();
        std::fs::write(first.dir.join("mine.txt"), "kept").unwrap();
        drop(first);
        let again = Home::take(state.path(), true).unwrap();
        assert!(again.dir.join("gateway/journal").exists());
        drop(again);
        let again = Home::take(state.path(), false).unwrap();
        assert!(!again.dir.join("gateway").exists());
        assert!(again.dir.join("mine.txt").exists(), "only what a demo made is removed");
    }

    #[test]
    fn the_readings_of_the_demo_are_found_in_the_default_stream() {
        assert_eq!(place(&Config::default()), ("telemetry".to_owned(), "shardId-000000000000".to_owned()));
    }
}
