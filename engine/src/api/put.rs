//! `PutRecord` and `PutRecords`, the requests that carry most bytes, in whichever format and however they were read.

use crate::api::address::StreamAddress;
use crate::api::check::{Path, base64_bytes};
use crate::api::{Call, Fields, Format, scan};
use crate::names::PartitionKey;
use serde_json::Value;

/// The data of a record as the request has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data<'a> {
    /// As JSON has it; not yet checked when it comes from the scanner.
    Base64(&'a [u8]),
    /// As CBOR has it.
    Bytes(&'a [u8]),
}

impl Data<'_> {
    /// Bytes of the data itself.
    pub(crate) fn len(self) -> usize {
        match self {
            Data::Base64(text) => base64_bytes(text),
            Data::Bytes(bytes) => bytes.len(),
        }
    }

    /// Appends the data itself to `out`; nothing when it is no base64.
    pub(crate) fn append_to(self, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Data::Base64(text) => base64_simd::STANDARD.decode_append(text, out).ok(),
            Data::Bytes(bytes) => {
                out.extend_from_slice(bytes);
                Some(())
            }
        }
    }
}

/// A record as the request has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawRecord<'a> {
    pub(crate) data: Data<'a>,
    /// Whether it may be absent is up to the stream.
    pub(crate) key: Option<PartitionKey<'a>>,
    pub(crate) hash: Option<&'a str>,
}

impl RawRecord<'_> {
    /// The partition key, empty when there is none.
    pub(crate) fn key_text(&self) -> &str {
        self.key.map_or("", PartitionKey::as_str)
    }

    /// Bytes of data and key, which is what limits count.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len() + self.key_text().len()
    }
}

/// A `PutRecord` or `PutRecords` that satisfies the model, except for the base64 of its data.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PutRequest<'a> {
    pub(crate) stream: StreamAddress<'a>,
    pub(crate) records: Vec<RawRecord<'a>>,
    pub(crate) after: Option<&'a str>,
    pub(crate) dry_run: bool,
    /// Whether it is a `PutRecords`.
    pub(crate) many: bool,
}

impl<'a> PutRequest<'a> {
    /// Scans the body of a `PutRecords`; `None` when it has to be read the general way.
    pub(crate) fn scan_many(call: &'a Call) -> Option<Self> {
        match call.format {
            Format::Json => scan::many(scan::json::Scanner::new(&call.body)),
            Format::Cbor => scan::many(scan::cbor::Scanner::new(&call.body)),
        }
    }

    /// Scans the body of a `PutRecord`; `None` when it has to be read the general way.
    pub(crate) fn scan_one(call: &'a Call) -> Option<Self> {
        match call.format {
            Format::Json => scan::one(scan::json::Scanner::new(&call.body)),
            Format::Cbor => scan::one(scan::cbor::Scanner::new(&call.body)),
        }
    }

    /// A `PutRecords` read the general way.
    pub(crate) fn many(fields: &'a Fields) -> Self {
        let record = |value: &'a Value| of_members(|name| value.get(name).and_then(Value::as_str));
        // The check has found all data, so no record is left out.
        let records = fields.list("Records").iter().filter_map(record).collect();
        PutRequest { records, many: true, ..PutRequest::around(fields) }
    }

    /// A `PutRecord` read the general way.
    pub(crate) fn one(fields: &'a Fields) -> Self {
        let records = of_members(|name| fields.text(name)).into_iter().collect();
        PutRequest { records, ..PutRequest::around(fields) }
    }

    fn around(fields: &'a Fields) -> Self {
        PutRequest {
            stream: StreamAddress::of(fields),
            records: Vec::new(),
            after: fields.text("SequenceNumberForOrdering"),
            dry_run: fields.is_true("DryRun"),
            many: false,
        }
    }

    /// Gives `with` the path of a member of the record at this place.
    pub(crate) fn path<T>(&self, at: usize, member: &'static str, with: impl FnOnce(Path<'_>) -> T) -> T {
        if self.many {
            let list = Path::Member(&Path::Root, "Records");
            with(Path::Member(&Path::Item(&list, at + 1), member))
        } else {
            with(Path::Member(&Path::Root, member))
        }
    }
}

fn of_members<'a>(text: impl Fn(&'static str) -> Option<&'a str>) -> Option<RawRecord<'a>> {
    Some(RawRecord {
        data: Data::Base64(text("Data")?.as_bytes()),
        key: text("PartitionKey").and_then(|key| PartitionKey::parse(key).ok()),
        hash: text("ExplicitHashKey"),
    })
}
