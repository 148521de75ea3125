//! Messages of an AWS event stream (`application/vnd.amazon.eventstream`).
//!
//! ```text
//! total bytes u32 | header bytes u32 | CRC-32 of these 8 bytes u32 | headers | payload | CRC-32 of everything before u32
//! header: name bytes u8 | name | 7 (a text) u8 | value bytes u16 | value
//! ```
//! Integers are big-endian; the CRC is that of gzip. A message is built in place: headers first, then the payload, then
//! [`Message::seal`]. Not here: what events say (consumers).

use crate::api::{ApiError, Format, Writer};
use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc32IsoHdlc;

const PRELUDE_BYTES: usize = 12;
const CRC_BYTES: usize = 4;
/// The type of a header whose value is text.
const TEXT: u8 = 7;
/// Bytes a message takes beside its payload, at most: with the headers of [`Message`]'s three kinds.
pub(crate) const FRAME_BYTES_MAX: usize = 256;

/// A message whose payload is being written.
pub(crate) struct Message {
    bytes: Vec<u8>,
    header_bytes: usize,
}

impl Message {
    /// An event of a type, with room for this many bytes of payload.
    pub(crate) fn event(event: &str, format: Format, payload_bytes: usize) -> Self {
        let content = content_type(format);
        Message::with(
            [(":message-type", "event"), (":event-type", event), (":content-type", content)],
            payload_bytes,
        )
    }

    fn with(headers: [(&str, &str); 3], payload_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(FRAME_BYTES_MAX + payload_bytes);
        bytes.resize(PRELUDE_BYTES, 0);
        for (name, value) in headers {
            bytes.push(u8::try_from(name.len()).expect("names are written in this file"));
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(TEXT);
            let value_bytes = u16::try_from(value.len()).expect("values are names of this crate");
            bytes.extend_from_slice(&value_bytes.to_be_bytes());
            bytes.extend_from_slice(value.as_bytes());
        }
        let header_bytes = bytes.len() - PRELUDE_BYTES;
        Message { bytes, header_bytes }
    }

    /// The whole message.
    pub(crate) fn seal(mut self, payload: &[u8]) -> Vec<u8> {
        self.bytes.extend_from_slice(payload);
        let total = u32::try_from(self.bytes.len() + CRC_BYTES).expect("events are bounded far below 4 GiB");
        let headers = u32::try_from(self.header_bytes).expect("headers are short");
        self.bytes[..4].copy_from_slice(&total.to_be_bytes());
        self.bytes[4..8].copy_from_slice(&headers.to_be_bytes());
        let prelude = crc(&self.bytes[..8]);
        self.bytes[8..PRELUDE_BYTES].copy_from_slice(&prelude.to_be_bytes());
        let all = crc(&self.bytes);
        self.bytes.extend_from_slice(&all.to_be_bytes());
        self.bytes
    }
}

/// The message every stream begins with: what the operation answers beside its events, which for ours is nothing.
pub(crate) fn initial_response(format: Format) -> Bytes {
    let mut empty = Writer::new(format);
    empty.open_object();
    empty.close_object();
    Message::event("initial-response", format, 8).seal(&empty.into_bytes()).into()
}

/// An error inside a stream, which ends it.
pub(crate) fn exception(error: &ApiError, format: Format) -> Bytes {
    let mut body = Writer::new(format);
    body.open_object();
    body.key("message").text(&error.message);
    body.close_object();
    let headers = [
        (":message-type", "exception"),
        (":exception-type", error.error.name()),
        (":content-type", content_type(format)),
    ];
    let body = body.into_bytes();
    Message::with(headers, body.len()).seal(&body).into()
}

fn content_type(format: Format) -> &'static str {
    match format {
        Format::Json => "application/x-amz-json-1.1",
        Format::Cbor => "application/x-amz-cbor-1.1",
    }
}

fn crc(bytes: &[u8]) -> u32 {
    u32::try_from(crc_fast::checksum(Crc32IsoHdlc, bytes)).expect("a CRC-32 has 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ErrorType;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn messages_are_the_bytes_that_botocore_reads() {
        // If this fails, the code is wrong: botocore 1.44 read these bytes, checksums included.
        let golden = concat!(
            "0000007200000060ab820d9e0d3a6d6573736167652d747970650700056576656e740b3a6576656e742d747970650700",
            "10696e697469616c2d726573706f6e73650d3a636f6e74656e742d7479706507001a6170706c69636174696f6e2f782d",
            "616d7a2d6a736f6e2d312e317b7de16e66e4",
        );
        assert_eq!(hex(&initial_response(Format::Json)), golden);
    }

    #[test]
    fn lengths_and_checksums_cover_what_they_say() {
        let error = ApiError::new(ErrorType::ResourceInUse, "taken over");
        let message = exception(&error, Format::Json);
        let number = |at: usize| u32::from_be_bytes(message[at..at + 4].try_into().unwrap());
        assert_eq!(number(0) as usize, message.len());
        let payload = PRELUDE_BYTES + number(4) as usize;
        assert_eq!(&message[payload..message.len() - CRC_BYTES], br#"{"message":"taken over"}"#);
        assert!(payload + CRC_BYTES <= FRAME_BYTES_MAX);
        assert_eq!(number(8), crc(&message[..8]));
        assert_eq!(number(message.len() - 4), crc(&message[..message.len() - 4]));
        // The check value of the algorithm: a CRC over "123456789".
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
    }
}
