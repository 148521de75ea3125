//! Writes the trace of one life: `life sinks|edge|whole SEED`. A step is its lines, then `=`, its end in ms and the digest of everything until then.

use simulated_world::{Kind, tell};
use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let kind =
        arguments.next().ok_or_else(|| "which world?".to_owned()).and_then(|name| name.parse::<Kind>());
    let seed = arguments.next().and_then(|seed| seed.parse::<u64>().ok());
    let (Ok(kind), Some(seed)) = (kind, seed) else {
        eprintln!("usage: life sinks|edge|whole SEED");
        return ExitCode::from(2);
    };
    match tell(kind, seed, io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the trace cannot be written: {error}");
            ExitCode::from(2)
        }
    }
}
