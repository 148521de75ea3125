//! Payloads that cannot be read or stored, kept with the reason.
//!
//! In: a publish and why. Out: one JSON record. Payload bytes beyond the limit are cut; `size_bytes` tells the whole
//! size and `truncated` whether it was cut.
//!
//! ```text
//! {"kind":"dead_letter","topic":"a/b","client":"c1","route":"a/+","codec":"json","reason":"the payload is not JSON",
//!  "received_at":"2026-…Z","size_bytes":2,"truncated":false,"payload":"T04="}
//! ```

use super::counters::clipped;
use super::json::push_string;
use super::limits::{DEAD_LETTER_NAME_BYTES_MAX, DEAD_LETTER_PAYLOAD_BYTES_MAX};
use super::rule::Route;
use super::time::Utc;
use crate::ingest::Inbound;
use std::fmt::Write as _;

/// Writes the dead letter of `publish` into `out`.
pub(crate) fn write(out: &mut String, publish: &Inbound<'_>, route: &Route, reason: &str, received_ms: u64) {
    out.push_str("{\"kind\":\"dead_letter\",\"topic\":");
    push_string(out, clipped(publish.topic, DEAD_LETTER_NAME_BYTES_MAX));
    out.push_str(",\"client\":");
    push_string(out, clipped(publish.client_id, DEAD_LETTER_NAME_BYTES_MAX));
    out.push_str(",\"route\":");
    push_string(out, clipped(route.filter.as_str(), DEAD_LETTER_NAME_BYTES_MAX));
    write!(out, ",\"codec\":\"{}\",\"reason\":", route.codec.name()).expect(NEVER);
    push_string(out, clipped(reason, DEAD_LETTER_NAME_BYTES_MAX));
    let kept = &publish.payload[..publish.payload.len().min(DEAD_LETTER_PAYLOAD_BYTES_MAX)];
    let (size, truncated) = (publish.payload.len(), kept.len() < publish.payload.len());
    let received = Utc(received_ms);
    write!(out, ",\"received_at\":\"{received}\",\"size_bytes\":{size},\"truncated\":{truncated}")
        .expect(NEVER);
    write!(out, ",\"payload\":\"{}\"}}", base64_simd::STANDARD.encode_to_string(kept)).expect(NEVER);
}

/// The partition key of a dead letter: the client, as far as a key may hold it.
pub(crate) fn key<'a>(publish: &Inbound<'a>) -> &'a str {
    let chars_max = super::limits::PARTITION_KEY_CHARS_MAX;
    let end = publish.client_id.char_indices().nth(chars_max).map_or(publish.client_id.len(), |(at, _)| at);
    if end == 0 { "-" } else { &publish.client_id[..end] }
}

const NEVER: &str = "a String takes everything";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Codec, TopicFilter};

    fn letter(payload: &[u8], topic: &str) -> serde_json::Value {
        let filter = TopicFilter::parse("a/#").unwrap();
        let route = Route { filter, codec: Codec::Json, target: None, downlink: false };
        let publish = Inbound {
            client_id: "c\"1",
            topic,
            payload,
            qos: 1,
            retain: false,
            content_type: None,
            user_properties: &[],
        };
        let mut out = String::new();
        write(&mut out, &publish, &route, "the payload is not JSON", 0);
        assert!(out.len() < 1024 * 1024 - 1024, "{}", out.len());
        serde_json::from_str(&out).unwrap()
    }

    #[test]
    fn a_letter_says_everything() {
        let expected = serde_json::json!({
            "kind": "dead_letter", "topic": "a/b", "client": "c\"1", "route": "a/#", "codec": "json",
            "reason": "the payload is not JSON", "received_at": "1970-01-01T00:00:00.000Z",
            "size_bytes": 2, "truncated": false, "payload": "T04=",
        });
        assert_eq!(letter(b"ON", "a/b"), expected);
    }

    #[test]
    fn a_large_payload_is_cut_and_its_size_told() {
        let letter = letter(&vec![0; 10 << 20], &"\u{1}".repeat(60_000));
        assert_eq!(letter["size_bytes"], 10 << 20);
        assert_eq!(letter["truncated"], true);
    }
}
