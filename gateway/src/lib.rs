//! The Headwater gateway: MQTT in, routes, the embedded shard engine, configuration and command line.

pub mod config;
pub mod ingest;
pub mod mqtt;
pub mod route;
