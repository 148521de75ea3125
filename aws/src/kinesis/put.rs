//! The body of a PutRecords, written record by record as it goes on the wire.
//!
//! In: keys and data. Out: one buffer. Data is copied once, in JSON as base64, in CBOR as it is.
//! Invariant: never more than [`limits::CALL_RECORDS_MAX`] records and [`limits::CALL_BYTES_MAX`] of keys and data, and no
//! record larger than the target takes. Not here: the call (call), which records go together (relay).

use super::subject::StreamRef;
use crate::kpl::Aggregate;
use crate::limits;
use crate::wire::{Format, head, text};
use bytes::Bytes;
use std::io::Write;
use std::ops::Range;

/// Why a record is not put into a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The body is full; the record fits into the next.
    #[error("the call has {records} records of {bytes} bytes, there is no room for {more} bytes more")]
    Full {
        /// Records in it.
        records: usize,
        /// Their bytes.
        bytes: usize,
        /// Bytes of the one that does not fit.
        more: usize,
    },
    /// No call can hold it: the target takes no record of that size.
    #[error("the record has {bytes} bytes with its key, the stream takes {most}")]
    TooLarge {
        /// Key and data.
        bytes: usize,
        /// What the stream takes.
        most: usize,
    },
    /// The partition key is none.
    #[error("the partition key has {characters} characters, must have 1 to {most}", most = limits::KEY_CHARACTERS_MAX)]
    Key {
        /// How long it is.
        characters: usize,
    },
}

/// Records on their way into one call.
#[derive(Debug, Clone)]
pub struct PutBody {
    format: Format,
    stream: StreamRef,
    body: Vec<u8>,
    places: Vec<Place>,
    bytes: usize,
    record_bytes_max: usize,
}

/// Where a record lies in a body of CBOR, so that it can be written again in JSON.
#[derive(Debug, Clone)]
struct Place {
    key: Range<usize>,
    hash: Option<u128>,
    data: Range<usize>,
}

impl PutBody {
    /// An empty body. `record_bytes_max` is what the stream takes, key and data together; `expected_bytes` is how much will
    /// come, so that the buffer need not grow.
    #[must_use]
    pub fn new(stream: &StreamRef, format: Format, record_bytes_max: usize, expected_bytes: usize) -> Self {
        let expected = expected_bytes.min(limits::CALL_BYTES_MAX);
        let expected = if format == Format::Json { expected / 3 * 4 } else { expected };
        let mut body = Vec::with_capacity(expected + expected / 8 + 256);
        let (member, name) = stream.member();
        match format {
            Format::Json => {
                body.push(b'{');
                text(member, format, &mut body);
                body.push(b':');
                text(name, format, &mut body);
                body.extend_from_slice(b",\"Records\":[");
            }
            Format::Cbor => {
                head(5, 2, &mut body);
                text(member, format, &mut body);
                text(name, format, &mut body);
                text("Records", format, &mut body);
                // Of indefinite length: how many will come is not known yet.
                body.push(0x9f);
            }
        }
        PutBody { format, stream: stream.clone(), body, places: Vec::new(), bytes: 0, record_bytes_max }
    }

    /// Puts a record: partition key, explicit hash key if it shall not follow from the key, data.
    ///
    /// # Errors
    /// [`PutError`]; then the body is as it was.
    pub fn put(&mut self, key: &str, hash: Option<u128>, data: &[u8]) -> Result<(), PutError> {
        self.admit(key, data.len())?;
        self.open(key, hash);
        let start = match self.format {
            Format::Json => {
                base64_simd::STANDARD.encode_append(data, &mut self.body);
                self.body.len()
            }
            Format::Cbor => {
                head(2, data.len() as u64, &mut self.body);
                self.body.extend_from_slice(data);
                self.body.len() - data.len()
            }
        };
        self.close(key, hash, start..start + data.len());
        Ok(())
    }

    /// Puts an aggregate as one record, encoding it straight into the body where the format allows.
    ///
    /// # Errors
    /// As [`PutBody::put`].
    pub fn put_aggregate(
        &mut self,
        key: &str,
        hash: Option<u128>,
        aggregate: &Aggregate<'_>,
    ) -> Result<(), PutError> {
        let size = aggregate.size();
        if self.format == Format::Json {
            let mut encoded = Vec::with_capacity(size);
            aggregate.encode(&mut encoded);
            return self.put(key, hash, &encoded);
        }
        self.admit(key, size)?;
        self.open(key, hash);
        head(2, size as u64, &mut self.body);
        let start = self.body.len();
        aggregate.encode(&mut self.body);
        assert_eq!(self.body.len() - start, size, "an aggregate has the size it said");
        self.close(key, hash, start..start + size);
        Ok(())
    }

    /// Records in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Keys and data together, as the target counts them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The stream they go to.
    #[must_use]
    pub fn stream(&self) -> &StreamRef {
        &self.stream
    }

    /// How they are written.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The whole body, for the wire; what is left remembers where its records are.
    pub(super) fn seal(&mut self) -> Bytes {
        match self.format {
            Format::Json => self.body.extend_from_slice(b"]}"),
            Format::Cbor => self.body.push(0xff),
        }
        Bytes::from(std::mem::take(&mut self.body))
    }

    /// The same records in JSON; of a body in CBOR that was sealed.
    pub(super) fn in_json(&self, sealed: &[u8]) -> PutBody {
        assert_eq!(self.format, Format::Cbor, "only what is not in JSON is written again");
        let mut json = PutBody::new(&self.stream, Format::Json, self.record_bytes_max, self.bytes);
        for place in &self.places {
            let key = std::str::from_utf8(&sealed[place.key.clone()]).expect("it was written from a text");
            json.put(key, place.hash, &sealed[place.data.clone()]).expect("it was admitted before");
        }
        json
    }

    fn admit(&self, key: &str, data_bytes: usize) -> Result<(), PutError> {
        // Bytes first: counting the characters of a short key is all that is left then.
        let characters =
            if key.len() <= limits::KEY_CHARACTERS_MAX { key.len() } else { key.chars().count() };
        if !(1..=limits::KEY_CHARACTERS_MAX).contains(&characters) {
            return Err(PutError::Key { characters });
        }
        let more = key.len() + data_bytes;
        if more > self.record_bytes_max {
            return Err(PutError::TooLarge { bytes: more, most: self.record_bytes_max });
        }
        if self.len() == limits::CALL_RECORDS_MAX || self.bytes + more > limits::CALL_BYTES_MAX {
            return Err(PutError::Full { records: self.len(), bytes: self.bytes, more });
        }
        Ok(())
    }

    /// Up to where the data comes.
    fn open(&mut self, key: &str, hash: Option<u128>) {
        let body = &mut self.body;
        match self.format {
            Format::Json => {
                if !self.places.is_empty() {
                    body.push(b',');
                }
                body.extend_from_slice(b"{\"PartitionKey\":");
                text(key, Format::Json, body);
                if let Some(hash) = hash {
                    write!(body, ",\"ExplicitHashKey\":\"{hash}\"").expect("a Vec takes everything");
                }
                body.extend_from_slice(b",\"Data\":\"");
            }
            Format::Cbor => {
                head(5, 2 + u64::from(hash.is_some()), body);
                body.extend_from_slice(b"\x6cPartitionKey");
                text(key, Format::Cbor, body);
                let end = body.len();
                if let Some(hash) = hash {
                    body.extend_from_slice(b"\x6fExplicitHashKey");
                    text(&hash.to_string(), Format::Cbor, body);
                }
                body.extend_from_slice(b"\x64Data");
                self.places.push(Place { key: end - key.len()..end, hash, data: 0..0 });
            }
        }
    }

    fn close(&mut self, key: &str, hash: Option<u128>, data: Range<usize>) {
        self.bytes += key.len() + data.len();
        match self.format {
            Format::Json => {
                self.body.extend_from_slice(b"\"}");
                self.places.push(Place { key: 0..0, hash, data: 0..0 });
            }
            Format::Cbor => self.places.last_mut().expect("opened before").data = data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Blob;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "PascalCase")]
    struct Sent {
        stream_name: String,
        records: Vec<SentRecord>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "PascalCase")]
    struct SentRecord {
        partition_key: String,
        explicit_hash_key: Option<String>,
        data: Blob,
    }

    fn filled(format: Format) -> PutBody {
        let mut body = PutBody::new(&StreamRef::name("s"), format, 1 << 20, 0);
        body.put("k\"1", None, b"one").unwrap();
        body.put(&"é".repeat(256), Some(u128::MAX), &[0xff; 300]).unwrap();
        body.put("k", Some(0), b"").unwrap();
        body
    }

    #[test]
    fn both_formats_and_the_way_from_one_to_the_other_hold_the_same_records() {
        let json: Sent = Format::Json.decode(&filled(Format::Json).seal()).unwrap();
        let cbor: Sent = Format::Cbor.decode(&filled(Format::Cbor).seal()).unwrap();
        let mut sealed = filled(Format::Cbor);
        let bytes = sealed.seal();
        let again: Sent = Format::Json.decode(&sealed.in_json(&bytes).seal()).unwrap();
        assert_eq!(json, cbor);
        assert_eq!(json, again);
        assert_eq!(
            json.records[1].explicit_hash_key.as_deref(),
            Some("340282366920938463463374607431768211455")
        );
        assert_eq!(
            (json.stream_name.as_str(), json.records[1].data.0.len(), json.records.len()),
            ("s", 300, 3)
        );
        assert_eq!(filled(Format::Json).bytes(), 3 + 3 + 512 + 300 + 1);
    }

    #[test]
    fn limits_are_kept_and_a_refused_record_leaves_no_trace() {
        for format in [Format::Json, Format::Cbor] {
            let mut body = PutBody::new(&StreamRef::name("s"), format, 1_000, 0);
            assert_eq!(body.put("", None, b""), Err(PutError::Key { characters: 0 }));
            assert_eq!(body.put(&"é".repeat(257), None, b""), Err(PutError::Key { characters: 257 }));
            assert_eq!(
                body.put("k", None, &[0; 1_000]),
                Err(PutError::TooLarge { bytes: 1_001, most: 1_000 })
            );
            for _ in 0..500 {
                body.put("k", None, &[0; 999]).unwrap();
            }
            assert_eq!(
                body.put("k", None, b"x"),
                Err(PutError::Full { records: 500, bytes: 500_000, more: 2 })
            );
            let sent: Sent = format.decode(&body.seal()).unwrap();
            assert_eq!(sent.records.len(), 500);
            let mut large = PutBody::new(&StreamRef::name("s"), format, 6 << 20, 0);
            large.put("k", None, &vec![0; 5 << 20]).unwrap();
            assert!(matches!(large.put("k", None, &vec![0; 5 << 20]), Err(PutError::Full { .. })));
        }
    }
}
