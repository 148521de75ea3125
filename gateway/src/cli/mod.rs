//! The command line `headwater`.
//!
//! In: arguments. Out: an [`Exit`] code by sysexits, what was asked for on standard output, the log on standard error.
//! Not here: what a gateway is (`Gateway`), what the configuration means (`config`).

mod buffer;
mod certificates;
mod demo;
mod doctor;
mod explain;
mod fleet;
mod init;
mod keys;
mod kinesis;
mod logging;
mod open_files;
mod run;
mod signals;
mod sim;
mod status;
mod tap;
mod top;
mod validate;

use crate::config::{self, CONFIG_VARIABLE, LoadError, Loaded, LogFormat};
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;

/// How the program ends, by sysexits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Ok,
    /// It ran, and what it found is not well.
    Failure,
    /// The command line is wrong.
    Usage,
    /// Data given to it is wrong.
    Data,
    /// Something it needs is not there, a port for example.
    Unavailable,
    /// Reading or writing failed.
    Io,
    /// It may work when tried again.
    Temporary,
    /// The configuration is wrong.
    Config,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Ok => 0,
            Exit::Failure => 1,
            Exit::Usage => 64,
            Exit::Data => 65,
            Exit::Unavailable => 69,
            Exit::Io => 74,
            Exit::Temporary => 75,
            Exit::Config => 78,
        })
    }
}

/// Readings of devices over MQTT into shards that are read with the Amazon Kinesis API. Without a command: `demo`.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, after_help = EXIT_CODES)]
struct Line {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    global: Global,
}

const EXIT_CODES: &str = "Exit codes: 0 well, 1 found something wrong, 64 command line, 65 data, 69 unavailable (port), \
                          74 input or output, 75 try again, 78 configuration.";

/// Options of every command.
#[derive(Debug, Args)]
struct Global {
    /// The configuration file; else the one that HEADWATER_CONFIG names. Without one: loopback only, data under the
    /// state directory, default routes.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Least severe log line shown: error, warn, info, debug, trace. Overrides `gateway.log`.
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<LevelFilter>,
    /// Form of the log: auto, text, json. Overrides `gateway.log_format`.
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<Format>,
}

impl Global {
    fn log_format(&self) -> Option<LogFormat> {
        Some(match self.log_format? {
            Format::Auto => LogFormat::Auto,
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        })
    }
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Auto,
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a gateway until SIGTERM or Ctrl-C; a second signal stops at once. SIGHUP reads the configuration file again.
    Run,
    /// Check the configuration and say everything that is wrong with it.
    Validate(validate::Options),
    /// How a running gateway is. Exit code 0: well, 1: not well, 69: not running.
    Status(status::Options),
    /// A running gateway at a glance, renewed each second: devices, streams, shards, sinks. q quits.
    Top,
    /// Show records as they are stored, of a stream or of a device.
    Tap(tap::Options),
    /// Look at everything a gateway needs, running or not, and say what to do. Exit code 1: something fails.
    Doctor(doctor::Options),
    /// Tell where a publish would go: route, stream, key, shard, records.
    Explain(explain::Options),
    /// The data of a gateway that does not run: ls, verify, repair, export.
    Buffer(buffer::Options),
    /// The configuration file.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Simulated devices against a running gateway, or in virtual time (--virtual).
    Sim(sim::Options),
    /// Master keys, which the keys of encrypted streams are wrapped with.
    Keys(keys::Options),
    /// Certificates for TLS: an authority of your own, the gateway's, and one for each device.
    Certificates(certificates::Options),
    /// The Kinesis API alone, for learning and testing without an account. Reads no configuration.
    Kinesis(kinesis::Options),
    /// Gateway, agent and simulated devices in one process; what happens without a command.
    Demo(demo::Options),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Write the commented sample with every key and its default.
    Init(init::Options),
    /// List every key with its default, and whether a change counts with a reload (SIGHUP) or with a restart.
    Keys,
}

/// Runs the command line `arguments`, program name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let line = match Line::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => {
            // Help and version are errors to the parser. Nobody is left to tell if printing fails.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok };
        }
    };
    let mut global = line.global;
    let named = || std::env::var_os(CONFIG_VARIABLE).filter(|file| !file.is_empty()).map(PathBuf::from);
    global.config = global.config.or_else(named);
    match line.command {
        None => demonstrate(global, demo::Options::default()),
        Some(Command::Demo(options)) => demonstrate(global, options),
        Some(Command::Run) => run::run(&global),
        Some(Command::Sim(options)) => with_config(&quiet(global), |loaded| sim::sim(loaded.config, options)),
        Some(Command::Kinesis(options)) => {
            logging::start(
                global.log.unwrap_or(options.log()),
                global.log_format().unwrap_or(LogFormat::Auto),
            );
            kinesis::kinesis(options)
        }
        Some(Command::Keys(options)) => {
            with_config(&quiet(global), |loaded| keys::keys(&loaded.config, options))
        }
        Some(Command::Certificates(options)) => certificates::certificates(&options),
        Some(Command::Validate(options)) => validate::validate(global.config.as_deref(), &options),
        Some(Command::Status(options)) => {
            with_config(&silent(global), |loaded| status::status(&loaded.config, &options))
        }
        Some(Command::Top) => with_config(&silent(global), |loaded| top::top(&loaded.config)),
        Some(Command::Tap(options)) => {
            with_config(&silent(global), |loaded| tap::tap(&loaded.config, &options))
        }
        Some(Command::Doctor(options)) => {
            let file = global.config.clone();
            with_config(&silent(global), |loaded| doctor::doctor(loaded, file.as_deref(), &options))
        }
        Some(Command::Explain(options)) => {
            with_config(&global, |loaded| explain::explain(&loaded.config, &options))
        }
        Some(Command::Buffer(options)) => {
            // What the log would say of damage is what these commands say.
            let global = Global { log: global.log.or(Some(LevelFilter::OFF)), ..global };
            with_config(&global, |loaded| buffer::buffer(&loaded.config, &options))
        }
        Some(Command::Config(ConfigCommand::Init(options))) => init::init(&options),
        Some(Command::Config(ConfigCommand::Keys)) => init::keys(),
    }
}

fn demonstrate(global: Global, options: demo::Options) -> Exit {
    with_config(&quiet(global), |loaded| demo::demo(loaded.config, options))
}

/// A fleet's own lines are what matters, and hundreds of links come and go: its log begins at warnings unless asked for
/// more.
fn quiet(mut global: Global) -> Global {
    global.log = global.log.or(Some(LevelFilter::WARN));
    global
}

/// Beside a gateway that runs: warnings about the configuration were shown at its start.
fn silent(mut global: Global) -> Global {
    global.log = global.log.or(Some(LevelFilter::ERROR));
    global
}

/// Loads the configuration, starts the log, shows warnings.
fn with_config(global: &Global, command: impl FnOnce(Loaded) -> Exit) -> Exit {
    match begin(global) {
        Ok(loaded) => command(loaded),
        Err(exit) => exit,
    }
}

fn begin(global: &Global) -> Result<Loaded, Exit> {
    let loaded = load(global).map_err(|error| not_loaded(&error))?;
    logging::start(loaded.config.gateway.log, loaded.config.gateway.log_format);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded)
}

/// The configuration, with what the command line says instead.
fn load(global: &Global) -> Result<Loaded, LoadError> {
    let mut loaded = config::load(global.config.as_deref())?;
    let gateway = &mut loaded.config.gateway;
    gateway.log = global.log.unwrap_or(gateway.log);
    gateway.log_format = global.log_format().unwrap_or(gateway.log_format);
    Ok(loaded)
}

fn not_loaded(error: &LoadError) -> Exit {
    eprintln!("{error}");
    match error {
        LoadError::Read { source, .. } if source.kind() != std::io::ErrorKind::NotFound => Exit::Io,
        LoadError::Read { .. } | LoadError::Invalid(_) => Exit::Config,
    }
}

/// Prints a line for the person or program that asked. A closed pipe (`| head`) is no reason to fail.
fn say(line: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Line::command().debug_assert();
    }
}
