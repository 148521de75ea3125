//! The agent's command line: `run`, `validate`, `rejected`, `config init`, and what a person does with devices (`desk`). Exit codes are those of sysexits.

mod desk;

use clap::{Parser, Subcommand};
use headwater_agent::{Agent, Config, LogFormat, Reloaded, SAMPLE, SetAside, StartError, each_set_aside};
use headwater_notify::Notify;
use std::convert::Infallible;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, reload};

const EX_USAGE: u8 = 64;
const EX_UNAVAILABLE: u8 = 69;
const EX_CANTCREAT: u8 = 73;
const EX_IOERR: u8 = 74;
const EX_CONFIG: u8 = 78;

/// Read when no --config is given, in this order; without any of them the defaults hold.
const CONFIG_PATHS: [&str; 2] = ["headwater-agent.toml", "/etc/headwater/agent.toml"];

#[derive(Parser)]
#[command(
    name = "headwater-agent",
    version,
    about = "Carries readings of devices on serial ports and TCP links to a Headwater gateway"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
enum Command {
    /// Runs until SIGTERM or SIGINT; a second one stops at once. SIGHUP reads the configuration file again
    Run(ConfigArgument),
    /// Checks the configuration and prints what it means, without touching anything
    Validate(ConfigArgument),
    /// Prints the records that the gateway will never take, one JSON object a line; the agent must not run
    Rejected(ConfigArgument),
    #[command(flatten)]
    Desk(desk::Desk),
    /// Works with configuration files
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Writes a commented file with every key and its default
    Init {
        /// Where to; - prints it
        #[arg(default_value = "headwater-agent.toml")]
        path: PathBuf,
    },
}

#[derive(clap::Args)]
struct ConfigArgument {
    /// Configuration file [default: ./headwater-agent.toml, /etc/headwater/agent.toml, or built-in defaults]
    #[arg(short, long)]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let is_help = !error.use_stderr();
            // Nobody is left to tell when the terminal is gone.
            let _ = error.print();
            return if is_help { ExitCode::SUCCESS } else { ExitCode::from(EX_USAGE) };
        }
    };
    let done = match arguments.command {
        Command::Run(argument) => run(&argument),
        Command::Validate(argument) => load(&argument).map(|config| describe(&config)),
        Command::Rejected(argument) => load(&argument).and_then(|config| rejected(&config)),
        Command::Desk(desk) => desk::run(desk),
        Command::Config(ConfigCommand::Init { path }) => init(&path),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            let _ = writeln!(std::io::stderr(), "headwater-agent: {message}");
            ExitCode::from(code)
        }
    }
}

/// An exit code and what to tell the person.
type Failure = (u8, String);

fn load(argument: &ConfigArgument) -> Result<Config, Failure> {
    let found = CONFIG_PATHS.iter().map(PathBuf::from).find(|path| path.exists());
    let Some(path) = argument.config.clone().or(found) else {
        return Config::parse("").map_err(|error| (EX_CONFIG, error.to_string()));
    };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| (EX_CONFIG, format!("{}: {error}", path.display())))?;
    Config::parse(&text).map_err(|error| (EX_CONFIG, format!("{}: {error}", path.display())))
}

fn run(argument: &ConfigArgument) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    let runtime = runtime.map_err(|error| (EX_IOERR, format!("no runtime: {error}")))?;
    runtime.block_on(async {
        // Before the start, so that a signal during it is not lost.
        let handler = |kind| signal(kind).map_err(|error| (EX_IOERR, format!("no signal handler: {error}")));
        let mut hangup = handler(SignalKind::hangup())?;
        let (mut term, mut interrupt) =
            (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
        let config = load(argument)?;
        let level = init_log(&config);
        let notify = Notify::from_env();
        let agent = Agent::start(config).await.map_err(|error| (start_code(&error), chain(&error)))?;
        let status = || agent.ledger().to_string();
        notify.ready(status());
        let failed = tokio::select! {
            _ = term.recv() => None,
            _ = interrupt.recv() => None,
            reason = agent.failed() => Some(reason),
            never = take_up(argument, &agent, &notify, &mut hangup, &level) => match never {},
            never = notify.attend(|| agent.synced(), status) => match never {},
        };
        notify.stopping();
        tokio::select! {
            () = agent.stop() => {}
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        match failed {
            None => Ok(()),
            Some(reason) => Err((EX_IOERR, reason)),
        }
    })
}

/// Reads the configuration again with each hangup. One that is wrong changes nothing.
async fn take_up(
    argument: &ConfigArgument,
    agent: &Agent,
    notify: &Notify,
    hangup: &mut Signal,
    level: &Level,
) -> Infallible {
    loop {
        hangup.recv().await;
        notify.reloading();
        match load(argument) {
            Ok(config) => {
                let Reloaded { changed, needs_restart } = agent.reload(&config);
                if !needs_restart.is_empty() {
                    let keys = needs_restart.join(", ");
                    tracing::warn!(keys, "changed keys need a restart, they keep their values");
                }
                tracing::info!(changed = changed.join(", "), "configuration taken up");
                level(&config);
            }
            Err((_, error)) => tracing::error!(error, "configuration refused, the former one stays"),
        }
        notify.ready(agent.ledger());
    }
}

fn start_code(error: &StartError) -> u8 {
    match error {
        StartError::Listen { .. } => EX_UNAVAILABLE,
        StartError::Spool { .. } => EX_IOERR,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Changes the level of the log to that of a configuration.
type Level = Box<dyn Fn(&Config)>;

fn filter(config: &Config) -> EnvFilter {
    EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{},rumqttc=error", config.log_level)))
}

fn init_log(config: &Config) -> Level {
    let is_terminal = std::io::stderr().is_terminal();
    let (filtered, handle) = reload::Layer::new(filter(config));
    let registry = tracing_subscriber::registry().with(filtered);
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal);
    match (config.log, is_terminal) {
        (LogFormat::Json, _) | (LogFormat::Auto, false) => registry.with(lines.json()).init(),
        (LogFormat::Text, _) | (LogFormat::Auto, true) => registry.with(lines).init(),
    }
    Box::new(move |config| {
        if let Err(error) = handle.reload(filter(config)) {
            tracing::error!(%error, "the level of the log is not changed");
        }
    })
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
fn describe(config: &Config) {
    println!("configuration is good");
    println!(
        "  spool    {} (at most {} bytes)",
        config.state.join("spool").display(),
        config.spool.size_bytes_max
    );
    for link in &config.links {
        println!("  link     {link:?}");
    }
    let encrypted = if config.uplink.tls.is_some() { "over TLS" } else { "not encrypted" };
    println!(
        "  gateway  {}:{} as {}, {encrypted}",
        config.uplink.host, config.uplink.port, config.uplink.client_id
    );
    println!("  status   {}", config.http.as_deref().unwrap_or("off"));
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
fn rejected(config: &Config) -> Result<(), Failure> {
    let print = |record: SetAside| {
        // Topics are made of device ids, so nothing in them needs escaping.
        let SetAside { at_ms, topic, reason, body } = record;
        let body: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
        println!(
            "{{\"at_ms\":{at_ms},\"topic\":\"headwater/{topic}\",\"reason\":{reason},\"body\":\"{body}\"}}"
        );
    };
    each_set_aside(config, print).map_err(|error| (EX_IOERR, error))
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
fn init(path: &Path) -> Result<(), Failure> {
    if path == Path::new("-") {
        print!("{SAMPLE}");
        return Ok(());
    }
    let failure = |error: std::io::Error| (EX_CANTCREAT, format!("{}: {error}", path.display()));
    let mut file = std::fs::File::create_new(path).map_err(failure)?;
    file.write_all(SAMPLE.as_bytes()).map_err(failure)?;
    println!("wrote {}; check it with: headwater-agent validate --config {}", path.display(), path.display());
    Ok(())
}
