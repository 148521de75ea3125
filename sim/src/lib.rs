//! Simulated fleets: devices that run the real device core, and foreign publishers, from one seed.
//!
//! In: a [`SimConfig`]: how many devices of which kind, how fast, what goes wrong, where they send. Out: [`Progress`] while
//! they run and a [`Summary`] that compares what was acked to them with what the shards hold.
//!
//! Always true: the same seed gives the same readings; everything acked is looked for in the shards, and what is not
//! found is counted and named. Not here: the gateway and its engine, which are at the addresses given.
//!
//! A [`Fleet`] has real sockets and real time. A fleet in [`virtual_time`] has neither: thousands of devices on one thread, the
//! same to the byte at every run.
//!
//! ```no_run
//! # async fn example() -> Result<(), headwater_sim::SimError> {
//! use headwater_sim::{Fleet, Progress, SimConfig};
//!
//! let (mqtt, kinesis) = ("127.0.0.1:1883".parse().unwrap(), "127.0.0.1:4567".parse().unwrap());
//! let mut config = SimConfig::new("/tmp/sim".into(), mqtt, kinesis);
//! config.duration = Some(std::time::Duration::from_secs(10));
//! let (progress, _watch_me) = tokio::sync::watch::channel(Progress::default());
//! let summary = Fleet::run(config, progress, std::future::pending()).await?;
//! println!("{summary}");
//! assert!(summary.is_good());
//! # Ok(())
//! # }
//! ```

mod check;
mod config;
pub mod device;
mod faults;
mod fleet;
mod foreign;
mod kinesis;
pub mod limits;
mod summary;
pub mod virtual_time;

pub use config::{AgentAt, Faults, SimConfig, SimError};
pub use fleet::Fleet;
pub use summary::{Phase, Progress, Summary};
