//! `headwater sim`: a fleet against a gateway that runs, one started for it, or in virtual time.

mod shards;
#[cfg(test)]
mod tests;
mod virtual_time;

use self::virtual_time::VirtualOptions;
use super::fleet::{self, FleetOptions};
use super::run::not_started;
use super::signals::{Stop, with_signals};
use super::{Exit, say};
use crate::config::Config;
use crate::gateway::Gateway;
use clap::Args;
use headwater_sim::AgentAt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// What the options do not say by themselves.
const MORE: &str = "\
Virtual time: `headwater sim --virtual --devices 3000 --duration 22m --offline 5% --reboot 6/h --seed 7` takes 15 to 20 s of one \
core and 200 MB. The same line prints the same digest on every machine; it covers every record of every shard.

Real connections: with --mqtt each device is a connection and an open file, here and at the gateway. 5,000 of them need \
`ulimit -n 5200` on both sides (twice that with --start), and more than 8,192 from one address need \
`mqtt.connections_per_ip = 0`.";

#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(super) struct Options {
    #[command(flatten)]
    fleet: FleetOptions,
    /// Start a gateway from the same configuration in this process, for the time of the fleet.
    #[arg(long)]
    start: bool,
    /// An agent that runs already, by the address of its TCP link, such as 127.0.0.1:4880; else one in this process.
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["start", "mqtt"])]
    agent: Option<SocketAddr>,
    #[command(flatten)]
    in_virtual_time: VirtualOptions,
}

/// A gateway on this machine or network answers within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn sim(config: Config, options: Options) -> Exit {
    if options.in_virtual_time.is_virtual {
        let sim = options.fleet.over(&config.sim);
        let options = options.in_virtual_time;
        return with_signals(|stop| async move { virtual_time::drive(config, &sim, options, stop).await });
    }
    with_signals(|stop| drive(config, options, stop))
}

async fn drive(config: Config, options: Options, stop: Stop) -> Exit {
    let gateway = match options.start {
        true => match Gateway::start(&config).await {
            Ok(gateway) => Some(gateway),
            Err(error) => return not_started(&error),
        },
        false => None,
    };
    let (mqtt, kinesis) = match &gateway {
        Some(gateway) => (gateway.mqtt_addr(), gateway.kinesis_addr()),
        None => (config.mqtt.listen, config.kinesis.listen),
    };
    for (key, addr) in [("mqtt.listen", mqtt), ("kinesis.listen", kinesis)] {
        if !answers(addr).await {
            eprintln!("no gateway answers at {addr} ({key}); start one with `headwater run`, or add --start");
            return Exit::Unavailable;
        }
    }
    if let Some(addr) = options.agent
        && !answers(addr).await
    {
        eprintln!(
            "no agent answers at {addr} (--agent); start one with `headwater-agent run`, or leave --agent out"
        );
        return Exit::Unavailable;
    }
    // A spool of its own, so that fleets beside each other do not meet.
    let spool = config.gateway.state.join(format!("sim-{}", std::process::id()));
    let mut settings = fleet::settings(&options.fleet.over(&config.sim), spool.clone(), mqtt, kinesis);
    if let Some(addr) = options.agent {
        settings.agent = AgentAt::External(addr);
    }
    let outcome = fleet::run(settings, stop).await;
    if let Err(error) = std::fs::remove_dir_all(&spool)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(dir = %spool.display(), %error, "the agent's spool stays");
    }
    let exit = fleet::verdict(outcome);
    if let Some(gateway) = gateway {
        say(gateway.stop().await);
    }
    exit
}

async fn answers(addr: SocketAddr) -> bool {
    matches!(tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(addr)).await, Ok(Ok(_)))
}
