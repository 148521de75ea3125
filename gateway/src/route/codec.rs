//! What the payload of a publish is.
//!
//! In: payload bytes and the route's codec. Out: a device's message, JSON, or bytes; or why it is none of them.
//! Not here: what becomes of it (`router`), what records look like (`render`).

use super::json::is_json;
use headwater_telemetry::{FrameError, Up, decode_body};

/// How a route reads payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// A device's message when the filter names a level `{device}` and the payload is one; else JSON or bytes as
    /// they are. Never fails.
    Auto,
    /// Messages of Headwater devices; the filter must name a level `{device}`.
    Headwater,
    /// JSON, checked and passed on unchanged.
    Json,
    /// Bytes, passed on unchanged.
    Raw,
    /// JSON commands for a device, passed on as its own messages; see `face`.
    Command,
}

impl Codec {
    /// Every codec under its name in the configuration.
    pub const ALL: [(&'static str, Codec); 5] = [
        ("auto", Codec::Auto),
        ("headwater", Codec::Headwater),
        ("json", Codec::Json),
        ("raw", Codec::Raw),
        ("command", Codec::Command),
    ];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Auto => "auto",
            Codec::Headwater => "headwater",
            Codec::Json => "json",
            Codec::Raw => "raw",
            Codec::Command => "command",
        }
    }
}

/// A payload that was read.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one of them lives on a stack for a moment")]
pub(crate) enum Body {
    /// A message of a Headwater device.
    Device(Up),
    /// The payload is the record.
    AsIs,
    /// A command that a person wrote, to be read.
    Command,
}

/// Reads `payload`. `names_device` says whether the route's filter names a level `{device}`.
///
/// # Errors
/// Why the payload is not what the codec expects, for the dead letter.
pub(crate) fn read(codec: Codec, payload: &[u8], names_device: bool) -> Result<Body, String> {
    match codec {
        Codec::Raw => Ok(Body::AsIs),
        Codec::Command => Ok(Body::Command),
        Codec::Json if is_json(payload) => Ok(Body::AsIs),
        Codec::Json => Err("the payload is not JSON".to_owned()),
        Codec::Headwater => decode(payload).map(Body::Device).map_err(|error| error.to_string()),
        // The checksum of a body makes it next to impossible to take JSON or other bytes for one.
        Codec::Auto if names_device => Ok(decode(payload).map_or(Body::AsIs, Body::Device)),
        Codec::Auto => Ok(Body::AsIs),
    }
}

fn decode(payload: &[u8]) -> Result<Up, FrameError> {
    decode_body(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_telemetry::encode_body;

    #[test]
    fn each_codec_takes_its_own_and_says_why_not() {
        let mut buffer = [0; 64];
        let body = encode_body(&Up::TimeRequest { nonce: 7 }, &mut buffer).unwrap().to_vec();
        let device = Body::Device(Up::TimeRequest { nonce: 7 });

        assert_eq!(read(Codec::Headwater, &body, true), Ok(device.clone()));
        assert_eq!(read(Codec::Auto, &body, true), Ok(device));
        assert_eq!(read(Codec::Auto, &body, false), Ok(Body::AsIs));
        assert_eq!(read(Codec::Auto, b"21.5", true), Ok(Body::AsIs));
        assert_eq!(read(Codec::Raw, b"\xff", false), Ok(Body::AsIs));
        assert_eq!(read(Codec::Json, b"{\"t\":1}", false), Ok(Body::AsIs));
        assert_eq!(read(Codec::Json, b"ON", false).unwrap_err(), "the payload is not JSON");
        for cut in 0..body.len() {
            let error = read(Codec::Headwater, &body[..cut], true).unwrap_err();
            assert_eq!(error, "frame has a checksum that does not match");
        }
    }
}
