//! What a device said, as the JSON records that readers of a shard get.
//!
//! In: a decoded message, the device's channel table, what of it is new. Out: one JSON object per record.
//! Invariants: a fixed point value keeps every digit and no more; a reading whose channel table is unknown keeps its
//! raw value instead of a guess.
//!
//! ```text
//! {"kind":"reading","device":"pump-7","boot":17,"seq":42,"channel":"flow","value":3.50,"unit":"l/min",
//!  "uptime_ms":61000,"time":"2026-11-20T21:52:00.123Z","time_quality":"synced","received_at":"2026-…Z"}
//! {"kind":"gap","device":"pump-7","boot":17,"first":43,"count":12,"uptime_ms":62000,…}
//! {"kind":"log","device":"pump-7","boot":17,"level":"warn","text":"sensor does not answer",…}
//! {"kind":"config_result","device":"pump-7","outcome":"stored","received_at":"2026-…Z"}
//! {"kind":"command_result","device":"pump-7","id":4711,"outcome":"done","received_at":"2026-…Z"}
//! ```
//! `time_quality` says where `time` comes from: `synced`, `estimated` and `holdover` are the device's words; `arrival` is "then or
//! earlier", where the device knew no time or one that cannot be, which then stands in `device_time`. Without a channel table a reading has
//! `"channel_id":3,"raw":350,"schema":4660` in place of `channel`, `value` and `unit`. A number that JSON does not
//! have (NaN, infinite) is `"value":null` with its name in `not_finite`.

use super::dating::Dated;
use super::json::push_string;
use super::repeats::SeqRange;
use super::time::Utc;
use headwater_telemetry::{
    Batch, Channel, CommandOutcome, CommandResult, ConfigOutcome, Entry, Hello, Log, LogLevel, Reading,
    Schema, Seq, Uptime, Value, ValueKind,
};
use std::fmt::Write as _;

/// A `String` takes everything that is written to it.
const NEVER: &str = "a String takes everything";

/// Who said it, and when it came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) device: &'a str,
    pub(crate) received_ms: u64,
}

/// One entry of a batch, the first place that it takes there, and when it was taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) seq: Seq,
    pub(crate) entry: &'a Entry,
    pub(crate) dated: Option<Dated>,
}

/// Writes the record of `reading`, which is the entry at `place`, into `out`.
pub(crate) fn reading(
    out: &mut String,
    origin: Origin<'_>,
    place: Place<'_>,
    hello: Option<&Hello>,
    reading: &Reading,
) {
    let Place { batch, seq, entry, dated } = place;
    open(out, "reading", origin);
    write!(out, ",\"boot\":{},\"seq\":{seq}", batch.boot).expect(NEVER);
    match hello.and_then(|hello| hello.channel(reading.channel)) {
        Some(channel) => known(out, channel, &reading.value),
        None => unknown(out, reading, batch.schema),
    }
    close(out, origin, Some(batch.uptime(entry)), dated);
}

/// Writes the record of the part `lost` of the gap at `place` into `out`.
pub(crate) fn gap(out: &mut String, origin: Origin<'_>, place: Place<'_>, lost: SeqRange) {
    let Place { batch, entry, dated, .. } = place;
    open(out, "gap", origin);
    let count = u64::from(lost.last.0 - lost.first.0) + 1;
    write!(out, ",\"boot\":{},\"first\":{},\"count\":{count}", batch.boot, lost.first).expect(NEVER);
    close(out, origin, Some(batch.uptime(entry)), dated);
}

/// Writes the record of a log line into `out`.
pub(crate) fn log(out: &mut String, origin: Origin<'_>, log: &Log) {
    open(out, "log", origin);
    let level = match log.level {
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    write!(out, ",\"boot\":{},\"level\":\"{level}\",\"text\":", log.boot).expect(NEVER);
    push_string(out, &log.text);
    close(out, origin, Some(log.at), None);
}

/// Writes the record of a device's answer to new settings into `out`.
pub(crate) fn config_result(out: &mut String, origin: Origin<'_>, outcome: ConfigOutcome) {
    open(out, "config_result", origin);
    let outcome = match outcome {
        ConfigOutcome::Stored => "stored",
        ConfigOutcome::Refused => "refused",
        ConfigOutcome::FlashFailed => "flash_failed",
    };
    write!(out, ",\"outcome\":\"{outcome}\"").expect(NEVER);
    close(out, origin, None, None);
}

pub(crate) fn command_result(out: &mut String, origin: Origin<'_>, result: CommandResult) {
    open(out, "command_result", origin);
    let outcome = match result.outcome {
        CommandOutcome::Done => "done",
        CommandOutcome::Refused => "refused",
        CommandOutcome::FlashFailed => "flash_failed",
    };
    write!(out, ",\"id\":{},\"outcome\":\"{outcome}\"", result.id.0).expect(NEVER);
    close(out, origin, None, None);
}

fn open(out: &mut String, kind: &str, origin: Origin<'_>) {
    // A device id needs no escaping: letters, digits, `.`, `_` and `-` only.
    write!(out, "{{\"kind\":\"{kind}\",\"device\":\"{}\"", origin.device).expect(NEVER);
}

fn close(out: &mut String, origin: Origin<'_>, uptime: Option<Uptime>, dated: Option<Dated>) {
    if let Some(uptime) = uptime {
        write!(out, ",\"uptime_ms\":{uptime}").expect(NEVER);
    }
    if let Some(Dated { at_ms, quality, said_ms }) = dated {
        write!(out, ",\"time\":\"{}\",\"time_quality\":\"{quality}\"", Utc(at_ms)).expect(NEVER);
        if let Some(said_ms) = said_ms {
            write!(out, ",\"device_time\":\"{}\"", Utc(said_ms)).expect(NEVER);
        }
    }
    write!(out, ",\"received_at\":\"{}\"}}", Utc(origin.received_ms)).expect(NEVER);
}

fn known(out: &mut String, channel: &Channel, value: &Value) {
    out.push_str(",\"channel\":");
    push_string(out, &channel.name);
    out.push_str(",\"value\":");
    match value {
        Value::Fixed(raw) if channel.kind == ValueKind::Fixed => fixed(out, *raw, channel.exponent),
        other => plain(out, other),
    }
    out.push_str(",\"unit\":");
    push_string(out, &channel.unit);
}

fn unknown(out: &mut String, reading: &Reading, schema: Schema) {
    write!(out, ",\"channel_id\":{},\"raw\":", reading.channel).expect(NEVER);
    plain(out, &reading.value);
    write!(out, ",\"schema\":{schema}").expect(NEVER);
}

fn plain(out: &mut String, value: &Value) {
    match value {
        Value::Fixed(raw) => write!(out, "{raw}").expect(NEVER),
        Value::Float(float) if float.is_finite() => write!(out, "{float}").expect(NEVER),
        Value::Float(float) => write!(out, "null,\"not_finite\":\"{float}\"").expect(NEVER),
        Value::Integer(integer) => write!(out, "{integer}").expect(NEVER),
        Value::Boolean(boolean) => write!(out, "{boolean}").expect(NEVER),
        Value::Text(text) => push_string(out, text.as_str()),
    }
}

/// Writes `raw * 10^exponent` with exactly the digits it has.
fn fixed(out: &mut String, raw: i32, exponent: i8) {
    if raw < 0 {
        out.push('-');
    }
    let digits = raw.unsigned_abs().to_string();
    let places = usize::from(exponent.unsigned_abs());
    if exponent >= 0 {
        out.push_str(&digits);
        if raw != 0 {
            out.extend(std::iter::repeat_n('0', places));
        }
        return;
    }
    let whole = digits.len().saturating_sub(places);
    out.push_str(if whole == 0 { "0" } else { &digits[..whole] });
    out.push('.');
    out.extend(std::iter::repeat_n('0', places.saturating_sub(digits.len())));
    out.push_str(&digits[whole..]);
}

#[cfg(test)]
mod tests {
    use super::super::dating::Dating;
    use super::*;
    use headwater_telemetry::{
        BatchBuilder, BootId, ChannelId, DeviceId, ResetReason, Text, TimeQuality, Timestamp, UtcTime,
    };

    const ORIGIN: Origin<'static> = Origin { device: "pump-7", received_ms: 1_800_000_000_123 };

    #[test]
    fn fixed_point_keeps_every_digit_and_no_more() {
        for (raw, exponent, expected) in [
            (2153, -2, "21.53"),
            (-2150, -2, "-21.50"),
            (5, -3, "0.005"),
            (-5, -1, "-0.5"),
            (0, -2, "0.00"),
            (12, 3, "12000"),
            (0, 3, "0"),
            (i32::MIN, -9, "-2.147483648"),
            (i32::MIN, 0, "-2147483648"),
        ] {
            let mut out = String::new();
            fixed(&mut out, raw, exponent);
            assert_eq!(out, expected);
        }
        for exponent in i8::MIN..=i8::MAX {
            let mut out = String::new();
            fixed(&mut out, -7, exponent);
            assert!(super::super::json::is_json(out.as_bytes()), "{out}");
        }
    }

    fn hello() -> Hello {
        let channels = [
            Channel::new("temperature", "°C", ValueKind::Fixed, -2).unwrap(),
            Channel::new("na\"me", "", ValueKind::Float, 0).unwrap(),
        ];
        let channels = channels.into_iter().collect();
        Hello::new(DeviceId::parse("pump-7").unwrap(), BootId(9), "1.0", ResetReason::Power, channels)
    }

    fn one(value: Value, channel: u8, utc: Option<UtcTime>, hello: Option<&Hello>) -> String {
        let schema = hello.map_or(Schema(4660), |hello| hello.schema);
        let mut builder = BatchBuilder::new(BootId(9), Seq(41), schema, Uptime(1_000));
        builder.reading(Uptime(1_500), ChannelId(channel), value).unwrap();
        let batch = builder.finish(utc);
        let mut out = String::new();
        let (seq, entry) = batch.sequenced().next().unwrap();
        let Entry::Reading(inner) = entry else { panic!("a reading was put in") };
        let dated = Dating::of(&batch, ORIGIN.received_ms).at(entry);
        reading(&mut out, ORIGIN, Place { batch: &batch, seq, entry, dated }, hello, inner);
        assert!(super::super::json::is_json(out.as_bytes()), "{out}");
        out
    }

    #[test]
    fn readings_are_shown_with_channel_and_time() {
        let utc = Some(UtcTime { at: Timestamp(1_800_000_000_000), quality: TimeQuality::Synced });
        assert_eq!(
            one(Value::Fixed(2150), 0, utc, Some(&hello())),
            "{\"kind\":\"reading\",\"device\":\"pump-7\",\"boot\":9,\"seq\":41,\"channel\":\"temperature\",\
             \"value\":21.50,\"unit\":\"°C\",\"uptime_ms\":1500,\"time\":\"2027-01-15T08:00:00.500Z\",\
             \"time_quality\":\"synced\",\"received_at\":\"2027-01-15T08:00:00.123Z\"}"
        );
        let odd = one(Value::Float(f32::NAN), 1, None, Some(&hello()));
        assert!(
            odd.contains("\"channel\":\"na\\\"me\",\"value\":null,\"not_finite\":\"NaN\",\"unit\":\"\""),
            "{odd}"
        );
        let text = one(Value::Text(Text::truncated("a\"b")), 1, None, Some(&hello()));
        assert!(text.contains("\"value\":\"a\\\"b\""), "{text}");
        assert!(
            text.contains(
                "\"uptime_ms\":1500,\"time\":\"2027-01-15T08:00:00.123Z\",\"time_quality\":\"arrival\",\"rec"
            ),
            "{text}"
        );
        let wrong = Some(UtcTime { at: Timestamp(5_000), quality: TimeQuality::Synced });
        let text = one(Value::Boolean(true), 1, wrong, Some(&hello()));
        assert!(
            text.contains("\"time_quality\":\"arrival\",\"device_time\":\"1970-01-01T00:00:05.500Z\",\"rec"),
            "{text}"
        );
    }

    #[test]
    fn without_a_channel_table_the_raw_value_is_kept() {
        let out = one(Value::Fixed(2150), 3, None, None);
        assert!(out.contains("\"seq\":41,\"channel_id\":3,\"raw\":2150,\"schema\":4660,"), "{out}");
    }

    #[test]
    fn gaps_and_logs_are_records_too() {
        let mut builder = BatchBuilder::new(BootId(9), Seq(41), Schema(1), Uptime(1_000));
        builder.gap(Uptime(1_500), 10).unwrap();
        let batch = builder.finish(None);
        let mut out = String::new();
        let place = Place { batch: &batch, seq: Seq(41), entry: &batch.entries[0], dated: None };
        gap(&mut out, ORIGIN, place, SeqRange::new(Seq(45), Seq(50)));
        assert_eq!(
            out,
            "{\"kind\":\"gap\",\"device\":\"pump-7\",\"boot\":9,\"first\":45,\"count\":6,\"uptime_ms\":1500,\
             \"received_at\":\"2027-01-15T08:00:00.123Z\"}"
        );
        out.clear();
        log(&mut out, ORIGIN, &Log::new(BootId(9), Uptime(7), LogLevel::Warn, "flash \"slow\""));
        assert_eq!(
            out,
            "{\"kind\":\"log\",\"device\":\"pump-7\",\"boot\":9,\"level\":\"warn\",\"text\":\"flash \\\"slow\\\"\",\
             \"uptime_ms\":7,\"received_at\":\"2027-01-15T08:00:00.123Z\"}"
        );
    }
}
