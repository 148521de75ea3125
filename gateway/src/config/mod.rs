//! The configuration: one TOML file, read once, checked whole.
//!
//! In: the text of a file, or nothing. Out: a [`Config`] in which every value is typed and allowed, and warnings.
//! Invariants: an unknown key is an error; every error names file, line, key, what was found and what was expected,
//! and one reading reports all of them; secrets show in no message and no `Debug`.
//! Not here: what the values do. `headwater.toml` in full, with every key and default, is [`SAMPLE`].

mod journal;
mod keys;
mod problem;
mod reader;
mod reload;
mod routes;
mod section;
mod sections;
mod sinks;
mod streams;
mod tls;
mod types;
mod units;

pub use keys::{Key, keys};
pub use problem::{ConfigError, Problem};
pub use reload::{Takes, takes};
pub(crate) use reload::{changed, merged, waiting};
pub use types::{
    Config, DurabilityMode, Gateway, Http, Journal, Kinesis, LogFormat, Mqtt, Repeats, Secret, Sim, Stream,
    Tls, User,
};
pub use units::Rate;
pub(crate) use units::{parse_duration, parse_percent};

use reader::{Known, Reader};
use std::path::{Path, PathBuf};

/// The commented sample that `headwater config init` writes: every key with its default.
pub const SAMPLE: &str = include_str!("../../headwater.sample.toml");

/// Names the configuration file when `--config` does not.
pub const CONFIG_VARIABLE: &str = "HEADWATER_CONFIG";

/// A configuration and what is allowed in it but probably not meant.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings, in the order of the file.
    pub warnings: Vec<Problem>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
}

/// Reads the file at `path`; without one, the built-in defaults: loopback only, the embedded engine, data under the
/// state directory, default routes.
///
/// # Errors
/// The file cannot be read, or says something that cannot be.
pub fn load(path: Option<&Path>) -> Result<Loaded, LoadError> {
    let Some(path) = path else { return Ok(parse("built-in defaults", "")?) };
    let source =
        std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    Ok(parse(&path.display().to_string(), &source)?)
}

/// Reads the text of a configuration; `file` names it in messages.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(file: &str, source: &str) -> Result<Loaded, ConfigError> {
    read(file, source).map(|(loaded, _)| loaded)
}

fn read(file: &str, source: &str) -> Result<(Loaded, Vec<Known>), ConfigError> {
    let reader = Reader::new(file, source);
    let table = reader.parse()?;
    let config = sections::config(section::Section::root(&reader, &table));
    let (problems, warnings, known) = reader.finish();
    if problems.is_empty() { Ok((Loaded { config, warnings }, known)) } else { Err(ConfigError { problems }) }
}

impl Default for Config {
    fn default() -> Self {
        parse("built-in defaults", "").expect("the defaults are valid, as a test checks").config
    }
}

#[cfg(test)]
mod tests;
