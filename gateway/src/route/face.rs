//! What the gateway itself says when a device speaks: the time, and what it said as JSON, for people and dashboards.
//!
//! In: messages of devices, JSON commands of people. Out: [`Said`], for the topics beside the one that was published to. Not here:
//! records (`render`), who may publish where (the front).
//!
//! | published | said |
//! |---|---|
//! | `.../time`, a time request | `.../command`: the time, at once |
//! | `.../birth` | `.../birth/json`, retained: channels with units |
//! | `.../result` | `.../result/json` |
//! | `.../command/json` | `.../command`: the command as the device reads it |
//!
//! ```text
//! command  {"id":7,"order":"identify"} {"order":"reboot"} {"order":"period","channel":0,"period_ms":5000}
//!          Without an id one is chosen; without a channel the period is that of all; 0 ms is the firmware's own
//! result   {"error":"…"} for a command that is none; else
//!          {"kind":"command_result","device":"pump-7","id":7,"outcome":"done","received_at":"2026-…Z"}
//! birth    {"device":"pump-7","boot":3,"firmware":"pump 1.2.0","reset":"power","schema":4660,"channels":[
//!          {"id":0,"name":"temperature","unit":"°C","kind":"fixed","exponent":-2}],"received_at":"2026-…Z"}
//! ```

use super::limits::CLOCK_SANE_FROM_MS;
use super::time::Utc;
use crate::ingest::Said;
use headwater_telemetry::limits::BODY_BYTES_MAX;
use headwater_telemetry::{
    ChannelId, Command, CommandId, Down, Hello, Order, ResetReason, TimeQuality, Timestamp, Up, UtcTime,
    ValueKind, encode_body,
};
use serde::Deserialize;
use serde_json::json;

/// The topic in the place of the last level of `topic`.
fn instead(topic: &str, last: &str) -> String {
    let base = topic.rsplit_once('/').map_or("", |(base, _)| base);
    format!("{base}/{last}")
}

fn encoded(message: &Down) -> Vec<u8> {
    let mut buffer = [0; BODY_BYTES_MAX];
    encode_body(message, &mut buffer)
        .expect("every message fits a body, see the limits of telemetry")
        .to_vec()
}

/// The answer to a time request that was published to `topic`.
pub(crate) fn time(topic: &str, nonce: u32, now_ms: u64, quality: TimeQuality) -> Said {
    let quality = if now_ms >= CLOCK_SANE_FROM_MS { quality } else { TimeQuality::Estimated };
    let utc = UtcTime { at: Timestamp(now_ms), quality };
    Said {
        topic: instead(topic, "command"),
        payload: encoded(&Down::Time { nonce, utc }),
        qos: 0,
        retain: false,
        // An answer that waits for a commit is an answer to another question.
        at_once: true,
        to_asker: true,
    }
}

/// A birth that was published to `topic`, for dashboards.
pub(crate) fn birth(topic: &str, hello: &Hello, now_ms: u64) -> Said {
    let kind = |kind: ValueKind| match kind {
        ValueKind::Fixed => "fixed",
        ValueKind::Float => "float",
        ValueKind::Integer => "integer",
        ValueKind::Boolean => "boolean",
        ValueKind::Text => "text",
    };
    let reset = match hello.reset {
        ResetReason::Unknown => "unknown",
        ResetReason::Power => "power",
        ResetReason::BrownOut => "brown_out",
        ResetReason::Watchdog => "watchdog",
        ResetReason::Panic => "panic",
        ResetReason::Requested => "requested",
    };
    let channels: Vec<_> = hello
        .channels
        .iter()
        .enumerate()
        .map(|(id, channel)| {
            json!({"id": id, "name": channel.name.as_str(), "unit": channel.unit.as_str(),
                   "kind": kind(channel.kind), "exponent": channel.exponent})
        })
        .collect();
    let birth = json!({
        "device": hello.device.as_str(), "boot": hello.boot.0, "firmware": hello.firmware.as_str(), "reset": reset,
        "schema": hello.schema.0, "channels": channels, "received_at": Utc(now_ms).to_string(),
    });
    let payload = birth.to_string().into_bytes();
    Said { topic: format!("{topic}/json"), payload, qos: 1, retain: true, at_once: false, to_asker: false }
}

/// A birth as the device says it.
pub(crate) fn own_birth(topic: &str, hello: Hello) -> Said {
    let mut buffer = [0; BODY_BYTES_MAX];
    let body = encode_body(&Up::Hello(hello), &mut buffer).expect("it came in as a body of the same size");
    Said {
        topic: topic.to_owned(),
        payload: body.to_vec(),
        qos: 1,
        retain: true,
        at_once: false,
        to_asker: false,
    }
}

/// A result that was published to `topic`, as its record says it.
pub(crate) fn result(topic: &str, record: &str) -> Said {
    let payload = record.as_bytes().to_vec();
    Said { topic: format!("{topic}/json"), payload, qos: 1, retain: false, at_once: false, to_asker: false }
}

/// Why a JSON command that was published to `topic` goes nowhere, for who waits for its result.
pub(crate) fn refusal(topic: &str, error: &str) -> Said {
    let base = topic.rsplitn(3, '/').nth(2).unwrap_or_default();
    let payload = json!({ "error": error }).to_string().into_bytes();
    Said {
        topic: format!("{base}/result/json"),
        payload,
        qos: 1,
        retain: false,
        at_once: false,
        to_asker: false,
    }
}

/// A JSON command that was published to `topic`, for the device. `fresh` is the id of a command without one.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn command(topic: &str, payload: &[u8], fresh: u32) -> Result<Said, String> {
    let asked: Asked = serde_json::from_slice(payload).map_err(|error| format!("the command {error}"))?;
    let order = match asked.order {
        Orders::Identify => Order::Identify,
        Orders::Reboot => Order::Reboot,
        Orders::Period => {
            let missing =
                "the command has order \"period\" and no period_ms, expected a number of milliseconds";
            let period_ms = asked.period_ms.ok_or(missing)?;
            Order::Period { channel: asked.channel.map(ChannelId), period_ms }
        }
    };
    if asked.order != Orders::Period && (asked.period_ms.is_some() || asked.channel.is_some()) {
        return Err("the command has period_ms or channel, expected with order \"period\" only".to_owned());
    }
    let command = Command { id: CommandId(asked.id.unwrap_or(fresh)), order };
    // Two levels up: what was published to ends in /command/json.
    let base = topic.rsplit_once('/').map_or("", |(base, _)| base);
    let payload = encoded(&Down::Command(command));
    Ok(Said { topic: base.to_owned(), payload, qos: 1, retain: false, at_once: false, to_asker: false })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    id: Option<u32>,
    order: Orders,
    channel: Option<u8>,
    period_ms: Option<u32>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Orders {
    Identify,
    Reboot,
    Period,
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_telemetry::{BootId, Channel, DeviceId, decode_body};

    #[test]
    fn a_command_in_json_is_the_command_a_device_reads() {
        for (json, expected) in [
            (r#"{"id":7,"order":"identify"}"#, Command { id: CommandId(7), order: Order::Identify }),
            (r#"{"order":"reboot"}"#, Command { id: CommandId(99), order: Order::Reboot }),
            (
                r#"{"id":1,"order":"period","channel":2,"period_ms":5000}"#,
                Command {
                    id: CommandId(1),
                    order: Order::Period { channel: Some(ChannelId(2)), period_ms: 5_000 },
                },
            ),
        ] {
            let said = command("headwater/d/command/json", json.as_bytes(), 99).unwrap();
            assert_eq!((said.topic.as_str(), said.retain, said.qos), ("headwater/d/command", false, 1));
            assert_eq!(decode_body(&said.payload), Ok(Down::Command(expected)));
        }
        for (json, expected) in [
            ("{}", "missing field `order`"),
            (
                r#"{"order":"explode"}"#,
                "unknown variant `explode`, expected one of `identify`, `reboot`, `period`",
            ),
            (r#"{"order":"reboot","when":"now"}"#, "unknown field `when`"),
            (r#"{"order":"period"}"#, "no period_ms"),
            (r#"{"order":"reboot","period_ms":1}"#, "with order \"period\" only"),
            ("reboot", "expected value"),
        ] {
            let error = command("headwater/d/command/json", json.as_bytes(), 99).unwrap_err();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }

    #[test]
    fn the_time_is_said_at_once_and_as_good_as_it_is() {
        for (now_ms, expected) in
            [(1_790_000_000_000, TimeQuality::Synced), (CLOCK_SANE_FROM_MS - 1, TimeQuality::Estimated)]
        {
            let said = time("headwater/d/time", 5, now_ms, TimeQuality::Synced);
            assert!(said.at_once && !said.retain && said.topic == "headwater/d/command");
            let utc = UtcTime { at: Timestamp(now_ms), quality: expected };
            assert_eq!(decode_body(&said.payload), Ok(Down::Time { nonce: 5, utc }));
        }
    }

    #[test]
    fn a_birth_tells_a_dashboard_names_and_units() {
        let channels =
            [Channel::new("temperature", "°C", ValueKind::Fixed, -2).unwrap()].into_iter().collect();
        let device = DeviceId::parse("pump-7").unwrap();
        let hello = Hello::new(device, BootId(3), "pump 1.2.0", ResetReason::Watchdog, channels);
        let said = birth("headwater/pump-7/birth", &hello, 0);
        assert!(said.retain && said.topic == "headwater/pump-7/birth/json");
        let birth: serde_json::Value = serde_json::from_slice(&said.payload).unwrap();
        assert_eq!((&birth["device"], &birth["reset"]), (&"pump-7".into(), &"watchdog".into()));
        assert_eq!(
            birth["channels"][0],
            json!({"id": 0, "name": "temperature", "unit": "°C", "kind": "fixed", "exponent": -2})
        );
    }
}
