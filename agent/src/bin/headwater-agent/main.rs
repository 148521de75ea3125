//! The agent's command line: `run`, `validate`, `rejected`, `config init`, and what a person does with devices (`desk`). Exit codes are those of sysexits.

mod desk;

use clap::{Parser, Subcommand};
use headwater_agent::{Agent, Config, LogFormat, SAMPLE, SetAside, StartError, each_set_aside};
use headwater_notify::Notify;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

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
    /// Runs until SIGTERM or SIGINT; a second one stops at once
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
        Command::Run(argument) => load(&argument).and_then(run),
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

fn run(config: Config) -> Result<(), Failure> {
    init_log(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    let runtime = runtime.map_err(|error| (EX_IOERR, format!("no runtime: {error}")))?;
    runtime.block_on(async {
        // Before the start, so that a signal during it is not lost.
        let handlers =
            signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
        let (mut term, mut interrupt) =
            handlers.map_err(|error| (EX_IOERR, format!("no signal handler: {error}")))?;
        let notify = Notify::from_env();
        let agent = Agent::start(config).await.map_err(|error| (start_code(&error), chain(&error)))?;
        let status = || agent.ledger().to_string();
        notify.ready(status());
        let failed = tokio::select! {
            _ = term.recv() => None,
            _ = interrupt.recv() => None,
            reason = agent.failed() => Some(reason),
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

fn init_log(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        tracing_subscriber::EnvFilter::new(format!("{},rumqttc=error", config.log_level))
    });
    let is_terminal = std::io::stderr().is_terminal();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(is_terminal);
    match (config.log, is_terminal) {
        (LogFormat::Json, _) | (LogFormat::Auto, false) => builder.json().init(),
        (LogFormat::Text, _) | (LogFormat::Auto, true) => builder.init(),
    }
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
    println!("  gateway  {}:{} as {}", config.uplink.host, config.uplink.port, config.uplink.client_id);
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
