//! The Headwater gateway: MQTT in, routes, the embedded shard engine, configuration and command line.
//!
//! A PUBLISH is routed, appended to a shard of the embedded engine, made durable, and only then acknowledged. Everything
//! downstream reads the shard over the Kinesis API.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use headwater::{Gateway, config};
//!
//! let loaded = config::parse("example", "[mqtt]\nlisten = \"127.0.0.1:0\"")?;
//! let gateway = Gateway::start(&loaded.config).await?;
//! println!("devices connect to {}, readers to http://{}", gateway.mqtt_addr(), gateway.kinesis_addr());
//! tokio::signal::ctrl_c().await?;
//! println!("{}", gateway.stop().await);
//! # Ok(())
//! # }
//! ```

pub mod cli;
pub mod config;
pub mod forward;
pub mod ingest;
pub mod mqtt;
pub mod route;

mod books;
mod gateway;
mod host_time;
mod status;
mod words;

pub use books::{Publishes, StreamRow};
pub use gateway::{Gateway, Ledger, ReloadError, Reloaded, StartError, run};
