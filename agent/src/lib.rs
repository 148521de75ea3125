//! The Linux edge agent: device links, spool, MQTT uplink.
//!
//! In: frames of devices over TCP and serial ports. Out: PUBLISH QoS 1 on `headwater/{device}/batch|birth|log`.
//!
//! Always true:
//! * a device is acked only after its batch is durable in the spool,
//! * a batch is spooled once: a repeat is acked and dropped, across restarts too,
//! * records go up in the order they were spooled, and the checkpoint never passes one without a PUBACK,
//! * everything is bounded; a full spool stops reading from devices, which keep their data in flash.
//!
//! Not here: what a reading means (the gateway), streams and shards (the engine), the bytes on disk (the journal).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use headwater_agent::{Agent, Config};
//!
//! let config = Config::parse("[uplink]\ngateway = \"127.0.0.1:1883\"")?;
//! let agent = Agent::start(config).await?;
//! println!("devices connect to {:?}", agent.link_addrs());
//! tokio::signal::ctrl_c().await?;
//! agent.stop().await;
//! # Ok(())
//! # }
//! ```

mod agent;
mod allow;
mod clock;
mod config;
mod devices;
mod host_time;
mod http;
mod intake;
pub mod limits;
mod link;
mod reload;
mod roster;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
mod spool;
mod status;
mod stop;
pub mod tools;
mod uplink;

pub use agent::{Agent, StartError, each_set_aside};
pub use allow::Allow;
pub use config::{
    Config, ConfigError, HostTime, LinkConfig, LogFormat, SAMPLE, SpoolConfig, TlsConfig, UplinkConfig,
};
pub use reload::Reloaded;
pub use spool::SetAside;
pub use status::{Counter, Counters, Ledger, Level};
