//! `headwater kinesis`: the shard engine alone behind its API, for learning and testing Kinesis without an account.

use super::signals::{Stop, with_signals};
use super::{Exit, say};
use clap::Args;
use headwater_engine::keys::KeySource;
use headwater_engine::{Engine, EngineConfig, LimitProfile, OpenError, limits};
use headwater_journal as journal;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tracing::level_filters::LevelFilter;

/// Segments that hold the API's largest record and request, 10 MiB: a segment takes sets of half its size.
const SEGMENT_BYTES: u64 = 24 << 20;

const _: () =
    assert!(limits::PUT_RECORDS_BYTES_MAX + (1 << 20) < journal::limits::set_bytes_max(SEGMENT_BYTES));

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where clients connect. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4567")]
    listen: SocketAddr,
    /// Let in whoever reaches an address that is not loopback: requests are not authenticated.
    #[arg(long)]
    allow_anonymous: bool,
    /// Keep the data here. Without it nothing is left when the program ends, and a power cut may take it.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Rates the API keeps to: none, or AWS's with its errors.
    #[arg(long, value_name = "PROFILE", default_value = "none")]
    limits: Profile,
    /// How long streams show CREATING, UPDATING and DELETING, in milliseconds; AWS takes seconds.
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=3_600_000))]
    transition_ms: u64,
    /// Region in ARNs.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Account in ARNs, 12 digits.
    #[arg(long, default_value = "000000000000")]
    account: String,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Profile {
    None,
    Aws,
}

impl Options {
    /// Least severe log line shown unless told: what is thrown away needs no warnings about its keeping.
    pub(super) fn log(&self) -> LevelFilter {
        if self.dir.is_some() { LevelFilter::WARN } else { LevelFilter::ERROR }
    }
}

pub(super) fn kinesis(options: Options) -> Exit {
    if !options.listen.ip().is_loopback() && !options.allow_anonymous {
        eprintln!(
            "--listen {} is not loopback, and anyone who reaches it could read and write every stream; add \
             --allow-anonymous if that is meant",
            options.listen
        );
        return Exit::Usage;
    }
    with_signals(|stop| serve(options, stop))
}

async fn serve(options: Options, stop: Stop) -> Exit {
    let listener = match TcpListener::bind(options.listen).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on {} (--listen): {error}", options.listen);
            return Exit::Unavailable;
        }
    };
    let home = match Home::of(options.dir.as_deref()) {
        Ok(home) => home,
        Err(error) => {
            eprintln!("no directory for the data: {error}");
            return Exit::Io;
        }
    };
    let engine = match Engine::open(settings(&options, &home)) {
        Ok((engine, recovery)) => {
            if !recovery.is_clean() {
                tracing::warn!(?recovery, "the journal was damaged");
            }
            engine
        }
        Err(error) => return not_opened(&error, &home),
    };
    match listener.local_addr() {
        Ok(addr) => say(Welcome { addr, options: &options, home: &home }),
        Err(error) => tracing::warn!(%error, "the address is not known"),
    }
    engine.http(listener, stop.wait()).await;
    engine.close().await;
    Exit::Ok
}

fn settings(options: &Options, home: &Home) -> EngineConfig {
    // Little memory, beside a person's other work.
    let mut journal = journal::Config { segment_bytes: SEGMENT_BYTES, ..journal::Config::small() };
    if home.is_ephemeral {
        // What is thrown away need not survive a power cut, and a test should not wait for a disk.
        journal.durability = journal::Durability::Interval(Duration::from_secs(1));
        journal.io = journal::IoMode::Sparse;
    }
    EngineConfig {
        journal,
        region: options.region.clone(),
        account: options.account.clone(),
        limits: match options.limits {
            Profile::None => LimitProfile::None,
            Profile::Aws => LimitProfile::Aws,
        },
        transition: Duration::from_millis(options.transition_ms),
        master_keys: KeySource::File { path: home.dir.join("master-keys"), create: true },
        ..EngineConfig::new(&home.dir)
    }
}

fn not_opened(error: &OpenError, home: &Home) -> Exit {
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        text = format!("{text}: {source}");
    }
    eprintln!("cannot open {}: {text}", home.dir.display());
    match error {
        OpenError::Config(_) => Exit::Usage,
        OpenError::Journal(journal::OpenError::Io { source, .. })
            if source.kind() == io::ErrorKind::ResourceBusy =>
        {
            eprintln!("another engine uses this directory; stop it, or choose another one with --dir");
            Exit::Temporary
        }
        _ => Exit::Io,
    }
}

/// Where the data is. One that was made for this run goes with it.
struct Home {
    dir: PathBuf,
    is_ephemeral: bool,
}

impl Home {
    fn of(dir: Option<&Path>) -> io::Result<Home> {
        if let Some(dir) = dir {
            std::fs::create_dir_all(dir)?;
            return Ok(Home { dir: dir.to_owned(), is_ephemeral: false });
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let name = format!("headwater-kinesis-{}-{since:x}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        // Fails when it exists, so nobody can have put something there before; and it is for nobody else to read.
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(Home { dir, is_ephemeral: true })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.is_ephemeral
            && let Err(error) = std::fs::remove_dir_all(&self.dir)
        {
            tracing::warn!(dir = %self.dir.display(), %error, "the data stays");
        }
    }
}

/// What a person pastes elsewhere.
struct Welcome<'a> {
    addr: SocketAddr,
    options: &'a Options,
    home: &'a Home,
}

impl fmt::Display for Welcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (addr, region) = (self.addr, &self.options.region);
        writeln!(f, "Kinesis Data Streams on http://{addr}; Ctrl-C stops it.")?;
        match self.home.is_ephemeral {
            true => writeln!(f, "The data goes when it stops; --dir DIR keeps it.")?,
            false => writeln!(f, "The data is in {}.", self.home.dir.display())?,
        }
        writeln!(
            f,
            "python: import boto3; kinesis = boto3.client(\"kinesis\", \"{region}\", \
             endpoint_url=\"http://{addr}\", aws_access_key_id=\"x\", aws_secret_access_key=\"x\")"
        )?;
        write!(
            f,
            "shell:  AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x aws --region {region} --endpoint-url http://{addr} \
             kinesis create-stream --stream-name first --shard-count 1"
        )
    }
}
