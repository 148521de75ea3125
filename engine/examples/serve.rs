//! The engine alone, behind its HTTP face: `serve --dir DIR --listen ADDRESS --limits none|aws --transition-ms MS`.
//! For tests and measurements. Master keys are made in `DIR/master-keys`.

#![expect(clippy::print_stdout, reason = "an example talks to the terminal")]

use headwater_engine::keys::KeySource;
use headwater_engine::{Engine, EngineConfig, LimitProfile};
use std::error::Error;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut dir, mut listen) = (None, "127.0.0.1:4567".to_owned());
    let (mut limits, mut transition) = (LimitProfile::None, Duration::ZERO);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--dir" => dir = Some(value),
            "--listen" => listen = value,
            "--limits" if value == "none" => limits = LimitProfile::None,
            "--limits" if value == "aws" => limits = LimitProfile::Aws,
            "--limits" => return Err(format!("{name} is {value}, must be none or aws").into()),
            "--transition-ms" => transition = Duration::from_millis(value.parse()?),
            _ => return Err(format!("{name} is none of --dir, --listen, --limits, --transition-ms").into()),
        }
    }
    let dir = dir.ok_or("--dir is missing")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let master_keys = KeySource::File { path: Path::new(&dir).join("master-keys"), create: true };
        let config = EngineConfig { limits, transition, master_keys, ..EngineConfig::new(dir) };
        let (engine, recovery) = Engine::open(config)?;
        let listener = TcpListener::bind(&listen).await?;
        println!("listening on {} ({recovery:?})", listener.local_addr()?);
        let stop = async {
            // Nothing to stop for when signals cannot be had; then the process is killed, which it stands.
            let _ = tokio::signal::ctrl_c().await;
        };
        engine.http(listener, stop).await;
        engine.close().await;
        Ok(())
    })
}
