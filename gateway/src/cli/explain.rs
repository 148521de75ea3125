//! `headwater explain`: where a publish would go.

use super::{Exit, say};
use crate::config::Config;
use crate::ingest::{Inbound, Verdict};
use crate::mqtt::valid_topic;
use crate::route::{Codec, ExplainedRecord, RouterSettings, explain as foretell};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The topic.
    topic: String,
    /// The payload as text, or `@FILE` for the bytes of a file. Without one only the place is told.
    payload: Option<String>,
    /// The MQTT client that publishes.
    #[arg(long, value_name = "ID", default_value = "client")]
    client: String,
}

/// Records shown; a batch has a few dozen at most.
const RECORDS_SHOWN: usize = 50;

pub(super) fn explain(config: &Config, options: &Options) -> Exit {
    if !valid_topic(&options.topic) {
        eprintln!("\"{}\" is not a topic: 1 to 1024 bytes without + # and zero bytes", options.topic);
        return Exit::Data;
    }
    let payload = match options.payload.as_deref().map(bytes) {
        None => None,
        Some(Ok(payload)) => Some(payload),
        Some(Err(error)) => {
            eprintln!("{error}");
            return Exit::Io;
        }
    };
    let mut settings = RouterSettings::of(config);
    if payload.is_none() {
        // Without a payload there is nothing to read; the place is the same for most templates.
        settings.routes.iter_mut().for_each(|route| route.codec = Codec::Raw);
    }
    let publish = Inbound {
        client_id: &options.client,
        topic: &options.topic,
        payload: payload.as_deref().unwrap_or_default(),
        qos: 1,
        retain: false,
        content_type: None,
        user_properties: &[],
    };
    let now_ms = settings.clock.now_ms();
    let Some(explanation) = foretell(&settings, &publish, now_ms) else {
        eprintln!("the routes cannot run: a stream has a name that is not allowed");
        return Exit::Config;
    };
    say(format_args!("topic: {}", options.topic));
    let Some(place) = explanation.route else {
        say("route: none takes this topic; it would be counted and not stored");
        return Exit::Failure;
    };
    let route = &config.routes[place];
    say(format_args!("route: {} of {}, \"{}\"", place + 1, config.routes.len(), route.filter));
    say(format_args!("codec: {}", route.codec.name()));
    let to_subscribers = if explanation.downlink { "yes, after the commit" } else { "no" };
    say(format_args!("to subscribers: {to_subscribers}"));
    if let Verdict::Rejected(reason) = explanation.verdict {
        say(format_args!("rejected: {reason}"));
        return Exit::Failure;
    }
    let needs_payload = route
        .target
        .as_ref()
        .is_some_and(|target| target.stream.reads_payload() || target.partition_key.reads_payload());
    if payload.is_none() && needs_payload {
        say("stream and partition key depend on the payload; give one");
        return Exit::Ok;
    }
    if explanation.dead_letter {
        say("dead letter: yes, the record says why");
    }
    records(&explanation.records, payload.is_some());
    Exit::Ok
}

fn records(records: &[ExplainedRecord], shown: bool) {
    let Some(first) = records.first() else {
        say("stream: none; nothing is stored in a stream");
        return;
    };
    say(format_args!("stream: {}", first.stream));
    say(format_args!("partition key: {}", first.partition_key));
    say(format_args!("hash key: {}", first.hash_key));
    let until = if first.shards == 1 { "" } else { ", until a reshard" };
    say(format_args!("shard: shardId-{:012} (of {}{until})", first.shard, first.shards));
    if !shown {
        return;
    }
    say(format_args!("records: {}", records.len()));
    for record in records.iter().take(RECORDS_SHOWN) {
        say(format_args!("  {}", String::from_utf8_lossy(&record.data)));
    }
}

fn bytes(argument: &str) -> Result<Vec<u8>, String> {
    match argument.strip_prefix('@') {
        Some(path) => std::fs::read(path).map_err(|error| format!("{path}: {error}")),
        None => Ok(argument.as_bytes().to_owned()),
    }
}
