//! Requests and answers as bytes, in either of the two formats of this API.
//!
//! In: fields of a request; bytes of an answer. Out: bytes; any type that serde knows. The same type reads both formats:
//! a blob is base64 in JSON and bytes in CBOR, a time is seconds in JSON and tagged milliseconds in CBOR.
//! Invariant: no bytes from outside panic, nest deeper than [`limits::CBOR_DEPTH_MAX`] or reserve memory they do not fill.
//! Not here: which format is spoken (kinesis), records of PutRecords (kinesis put).

mod blob;
mod cbor;
mod write;

pub(crate) use blob::{Blob, Seconds};
pub(crate) use write::{Field, encode, head, text};

use serde::Deserialize;

/// How requests and answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `application/x-amz-json-1.1`: what every speaker of this API reads.
    Json,
    /// `application/x-amz-cbor-1.1`: a quarter smaller, since data is not in base64, and less work on both sides.
    Cbor,
}

impl Format {
    /// The Content-Type of requests and answers.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/x-amz-json-1.1",
            Format::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    /// The format of an answer, by its Content-Type.
    pub(crate) fn of_answer(content_type: Option<&str>) -> Option<Self> {
        let kind = content_type?.split(';').next()?.trim();
        match kind {
            "application/x-amz-cbor-1.1" | "application/cbor" => Some(Format::Cbor),
            "application/x-amz-json-1.1" | "application/json" | "application/x-amz-json-1.0" => {
                Some(Format::Json)
            }
            _ => None,
        }
    }

    /// Reads an answer; nothing where it is not one. An empty one is one without members.
    pub(crate) fn decode<'a, T: Deserialize<'a>>(self, bytes: &'a [u8]) -> Option<T> {
        match self {
            Format::Json if bytes.is_empty() => serde_json::from_slice(b"{}").ok(),
            Format::Json => serde_json::from_slice(bytes).ok(),
            Format::Cbor if bytes.is_empty() => cbor::decode(&[0xa0]).ok(),
            Format::Cbor => cbor::decode(bytes).ok(),
        }
    }
}
