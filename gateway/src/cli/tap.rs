//! `headwater tap`: the records of a stream or of a device, as they are stored.
//!
//! In: the Kinesis API of a running gateway. Out: one line a record. Invariants: shards that others come from are read to
//! their end first, so each key's records stay in order through reshards; what was shown is not shown again after a broken
//! connection. Not here: checkpoints; whoever needs every record once reads with a consumer.

mod follow;
mod line;
mod plan;

use self::follow::{Event, Follow};
use self::line::{Format, line};
use self::plan::From;
use super::Exit;
use super::signals::{Stop, with_signals};
use super::status::ask::reachable;
use super::status::seen::Seen;
use crate::config::Config;
use clap::Args;
use headwater_aws::{
    CallError, Class, Credentials, Environment, Kinesis, KinesisSettings, Record, Source, StreamRef, Thing,
    kpl,
};
use headwater_engine::LimitProfile;
use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// A stream; or a device, whose name is the partition key of its records in every stream.
    #[arg(value_name = "STREAM|DEVICE")]
    what: String,
    /// Where to begin: the oldest record that is kept, or what comes from now on.
    #[arg(long, value_name = "PLACE", default_value = "newest")]
    from: From,
    /// Stop after so many records.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// decoded: time, shard, sequence number, key, data. json: an object a line. hex: as decoded, with the bytes.
    #[arg(long, value_name = "FORMAT", default_value = "decoded")]
    format: Format,
}

/// Batches of records between the shards and the terminal. Each is at most 10 MiB; shards wait while the terminal is slow.
const BATCHES_MAX: usize = 4;

/// How often a shard without news is asked. With AWS's limits, five calls a second are for all readers of a shard.
const ASK_EVERY: Duration = Duration::from_millis(200);
const ASK_EVERY_LIMITED: Duration = Duration::from_secs(1);

/// How often streams are looked for in which a device may appear.
const STREAMS_EVERY: Duration = Duration::from_secs(5);

pub(super) fn tap(config: &Config, options: &Options) -> Exit {
    let client = match client(config) {
        Ok(client) => client,
        Err(refused) => {
            eprintln!("{refused}");
            return Exit::Unavailable;
        }
    };
    with_signals(|stop| run(client, config, options, stop))
}

/// A client of the gateway's own API, which takes any credentials; nothing of the environment concerns it.
fn client(config: &Config) -> Result<Kinesis, String> {
    let listen = config.kinesis.listen;
    if listen.port() == 0 {
        return Err(
            "kinesis.listen has port 0, so nobody knows where a gateway's API is; set a port".to_owned()
        );
    }
    let settings = KinesisSettings {
        endpoint: Some(format!("http://{}", reachable(listen))),
        region: Some(config.kinesis.region.clone()),
        source: Some(Source::Fixed(Credentials::new("headwater", "headwater", None))),
        ..KinesisSettings::of(Environment::default())
    };
    Kinesis::new(settings).map_err(|error| error.to_string())
}

async fn run(client: Kinesis, config: &Config, options: &Options, stop: Stop) -> Exit {
    let (sender, events) = mpsc::channel(BATCHES_MAX);
    let mut taps = JoinSet::new();
    let key = match client.describe(&StreamRef::name(&options.what)).await {
        Ok(_) => {
            taps.spawn(follow(&client, config, &options.what, options.from, sender).run());
            None
        }
        Err(error) if !is_absent(&error) => {
            eprintln!("{error}");
            return Exit::Unavailable;
        }
        Err(_) => {
            eprintln!("no stream is named {0}; waiting for records with the partition key {0}", options.what);
            taps.spawn(everywhere(client.clone(), config.clone(), options.from, sender));
            Some(options.what.as_str())
        }
    };
    let shown = Shown { options, key, left: options.limit };
    tokio::select! {
        exit = shown.show(events) => exit,
        () = stop.wait() => Exit::Ok,
    }
}

fn follow(
    client: &Kinesis,
    config: &Config,
    stream: &str,
    from: From,
    events: mpsc::Sender<Event>,
) -> Follow {
    let pause = match config.kinesis.limits {
        LimitProfile::None => ASK_EVERY,
        LimitProfile::Aws => ASK_EVERY_LIMITED,
    };
    Follow { client: client.clone(), stream: stream.to_owned(), from, pause, events }
}

/// Whether there is no such stream, or cannot be one.
fn is_absent(error: &CallError) -> bool {
    matches!(error.class, Class::Final(Thing::Stream | Thing::Request))
}

/// Follows every stream there is, and those that come.
async fn everywhere(client: Kinesis, config: Config, from: From, events: mpsc::Sender<Event>) {
    let mut taps = JoinSet::new();
    let mut known = BTreeSet::new();
    let mut from = from;
    loop {
        for stream in streams(&config).await {
            let is_new = !known.contains(&stream);
            if is_new && client.describe(&StreamRef::name(&stream)).await.is_ok() {
                taps.spawn(follow(&client, &config, &stream, from, events.clone()).run());
                known.insert(stream);
            }
        }
        // A stream that was not there at first is new, and so are all its records.
        from = From::Oldest;
        tokio::time::sleep(STREAMS_EVERY).await;
    }
}

/// Names that streams have: those that the gateway's metrics show, and those that the configuration names.
async fn streams(config: &Config) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = config.streams.keys().cloned().collect();
    names.insert(config.dead_letter.clone());
    for route in &config.routes {
        let stream = route.target.as_ref().and_then(|target| target.stream.literal());
        names.extend(stream.map(str::to_owned));
    }
    // The status port may be out of reach where the API is not.
    if let Ok(seen) = Seen::ask(config.http.listen).await {
        names.extend(seen.streams().into_keys());
    }
    names
}

/// What is shown, and how much more of it.
struct Shown<'a> {
    options: &'a Options,
    key: Option<&'a str>,
    left: Option<u64>,
}

impl Shown<'_> {
    async fn show(mut self, mut events: mpsc::Receiver<Event>) -> Exit {
        let mut failed = None;
        while let Some(event) = events.recv().await {
            match event {
                Event::Note(note) => eprintln!("{note}"),
                Event::Gone(error) => failed = Some(error),
                Event::Records { stream, shard, records } => {
                    let place = match self.key {
                        Some(_) => format!("{stream}/{shard}"),
                        None => shard.to_string(),
                    };
                    match self.print(&stream, &place, &records) {
                        Ok(()) if self.left != Some(0) => {}
                        // A reader that has enough (`| head`) is no failure.
                        Ok(()) | Err(_) => return Exit::Ok,
                    }
                }
            }
        }
        match failed {
            Some(error) => {
                eprintln!("{error}");
                Exit::Unavailable
            }
            None => Exit::Ok,
        }
    }

    fn print(&mut self, stream: &str, place: &str, records: &[Record]) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        for record in records {
            let plain = [kpl::UserRecord { key: &record.partition_key, hash: None, data: &record.data }];
            let packed = kpl::deaggregate(&record.data);
            let is_packed = packed.is_some();
            for (part, one) in packed.as_deref().unwrap_or(&plain).iter().enumerate() {
                if self.left == Some(0) || self.key.is_some_and(|key| key != one.key) {
                    continue;
                }
                let part = is_packed.then_some(part);
                let text = line(
                    self.options.format,
                    &line::Of { stream, place, record, part, key: one.key, data: one.data },
                );
                writeln!(out, "{text}")?;
                self.left = self.left.map(|left| left - 1);
            }
        }
        out.flush()
    }
}
