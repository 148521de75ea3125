//! Devices and their readings as people and programs read them.
//!
//! In: messages of devices. Out: lines of text, or one JSON object a line. Invariants: what a device sends never reaches a terminal as
//! control characters; every JSON line is JSON, whatever the device sent. Not here: ports.

use headwater_telemetry::{Batch, Channel, Entry, Hello, Log, Reading, Value};
use serde_json::{Map, Value as Json, json};
use std::io::Write;
use std::path::Path;

pub(super) fn show_batch(hello: &Hello, batch: &Batch, is_json: bool) {
    for (seq, entry) in batch.sequenced() {
        let (boot, uptime_ms) = (batch.boot.0, batch.uptime(entry).0);
        // Batches of earlier boots may be of a firmware with other channels.
        let channel =
            |reading: &Reading| hello.channel(reading.channel).filter(|_| batch.schema == hello.schema);
        if is_json {
            let mut line = json!({"boot": boot, "seq": seq.0, "uptime_ms": uptime_ms});
            if let Some(utc) = batch.utc_of(entry) {
                line["utc_ms"] = utc.at.0.into();
            }
            match entry {
                Entry::Reading(reading) => {
                    let channel = channel(reading);
                    line["channel"] =
                        channel.map_or(reading.channel.0.into(), |channel| channel.name.as_str().into());
                    line["value"] = json_value(&reading.value, channel);
                    line["unit"] = channel.map(|channel| channel.unit.as_str()).into();
                }
                Entry::Gap(gap) => line["lost"] = gap.count.into(),
            }
            say(&line.to_string());
            continue;
        }
        let what = match entry {
            Entry::Reading(reading) => match channel(reading) {
                Some(channel) => {
                    let value = text_value(&reading.value, channel.exponent);
                    format!("{} {value} {}", plain(&channel.name), plain(&channel.unit))
                }
                None => format!(
                    "channel {} {} (of other firmware)",
                    reading.channel.0,
                    text_value(&reading.value, 0)
                ),
            },
            Entry::Gap(gap) => format!("{} readings lost", gap.count),
        };
        say(format!("boot {boot} seq {} at {uptime_ms} ms: {what}", seq.0).trim_end());
    }
}

fn text_value(value: &Value, exponent: i8) -> String {
    match value {
        Value::Fixed(raw) => {
            let digits = usize::from(exponent.min(0).unsigned_abs());
            format!("{:.digits$}", f64::from(*raw) * 10f64.powi(exponent.into()))
        }
        Value::Float(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::Text(value) => plain(value.as_str()),
    }
}

fn json_value(value: &Value, channel: Option<&Channel>) -> Json {
    match value {
        // As it is written, so that 21.50 does not become 21.499999.
        Value::Fixed(_) => {
            let text = text_value(value, channel.map_or(0, |channel| channel.exponent));
            text.parse::<f64>().map_or(Json::Null, Json::from)
        }
        // JSON knows no infinity; what is no number is null.
        Value::Float(value) => Json::from(*value),
        Value::Integer(value) => Json::from(*value),
        Value::Boolean(value) => Json::from(*value),
        Value::Text(value) => Json::from(value.as_str()),
    }
}

/// Who this is.
pub(super) fn show_hello(hello: &Hello, is_json: bool) {
    say(&if is_json { Json::Object(members(hello)).to_string() } else { shown(hello) });
}

pub(super) fn show_log(log: &Log, is_json: bool) {
    let level = format!("{:?}", log.level).to_lowercase();
    say(&if is_json {
        json!({"boot": log.boot.0, "uptime_ms": log.at.0, "level": level, "log": log.text.as_str()})
            .to_string()
    } else {
        format!("boot {} {level} at {} ms: {}", log.boot.0, log.at.0, plain(&log.text))
    });
}

/// What was found at a port: a device, or why there is none.
pub(super) fn show_port(port: &Path, found: Result<Hello, String>, is_json: bool) {
    let path = port.display().to_string();
    if !is_json {
        let text = found.map_or_else(|error| error, |hello| shown(&hello));
        return say(&format!("{}\n  {text}", plain(&path)));
    }
    let mut line = Map::from_iter([("port".to_owned(), path.into())]);
    match found {
        Ok(hello) => line.append(&mut members(&hello)),
        Err(error) => drop(line.insert("error".to_owned(), error.into())),
    }
    say(&Json::Object(line).to_string());
}

pub(super) fn shown(hello: &Hello) -> String {
    let channels: Vec<String> = hello
        .channels
        .iter()
        .map(|channel| format!("{} {}", plain(&channel.name), plain(&channel.unit)).trim_end().to_owned())
        .collect();
    format!(
        "{}: {}, boot {}, started by {}, channels {}",
        hello.device,
        plain(&hello.firmware),
        hello.boot.0,
        reset(hello),
        channels.join(", ")
    )
}

fn members(hello: &Hello) -> Map<String, Json> {
    let channel = |channel: &Channel| json!({"name": channel.name.as_str(), "unit": channel.unit.as_str()});
    let channels: Vec<Json> = hello.channels.iter().map(channel).collect();
    let members = [
        ("device", hello.device.as_str().into()),
        ("firmware", hello.firmware.as_str().into()),
        ("boot", hello.boot.0.into()),
        ("reset", reset(hello).into()),
        ("channels", channels.into()),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The same words as the firmware's own pages use.
fn reset(hello: &Hello) -> &'static str {
    use headwater_telemetry::ResetReason;
    match hello.reset {
        ResetReason::Unknown => "unknown",
        ResetReason::Power => "power",
        ResetReason::BrownOut => "brown-out",
        ResetReason::Watchdog => "watchdog",
        ResetReason::Panic => "panic",
        ResetReason::Requested => "request",
    }
}

/// A text of a device as a terminal may have it.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// A line of output. Whoever read it may have heard enough: then there is nothing more to do.
pub(super) fn say(text: &str) {
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// A line for the person at the terminal, apart from the output.
pub(super) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
