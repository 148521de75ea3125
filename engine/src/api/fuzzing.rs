//! Doors for the fuzz targets: everything of the API that takes bytes from outside, one call each. Only with the feature
//! `fuzzing`.
//!
//! In: bytes that may be anything. Out: nothing; a door panics when what it holds true of the code behind it does not hold.
//! Not here: operations, which the targets call through the public face.

use super::check::{Member, Shape, whole};
use super::put::{Data, PutRequest};
use super::token::{self, Kind, Token};
use super::{ApiError, Call, Fields, Format, Writer, fields, model};
use crate::consumers::ConsumerArn;
use crate::hash::HashKey;
use crate::names::{PartitionKey, ShardId, StreamArn, StreamName};
use crate::queues::fuzzing as queues;
use crate::sequence::SequenceNumber;
use serde_json::{Map, Value};

fn call(body: &[u8], cbor: bool) -> Call {
    Call { body: body.to_vec().into(), format: if cbor { Format::Cbor } else { Format::Json } }
}

/// The names of the model's operations.
#[must_use]
pub fn operations() -> Vec<&'static str> {
    model::OPERATIONS.iter().map(|operation| operation.name).collect()
}

/// The names of the members of an operation's input.
#[must_use]
pub fn members(operation: &str) -> Vec<&'static str> {
    input(operation).iter().map(|member| member.name).collect()
}

fn input(operation: &str) -> &'static [Member] {
    let found = model::OPERATIONS.iter().find(|declared| declared.name == operation);
    found.map_or(&[], |declared| declared.input)
}

/// Whether the model lets `operation` answer `error`.
#[must_use]
pub fn may_answer(operation: &str, error: &str) -> bool {
    model::may_answer(operation, error)
}

/// A `PutRecord` or `PutRecords`: what the scanner takes the general way takes with the same meaning.
///
/// # Panics
/// When it does not.
pub fn records(body: &[u8], cbor: bool, many: bool) {
    let call = call(body, cbor);
    let scanned = if many { PutRequest::scan_many(&call) } else { PutRequest::scan_one(&call) };
    let Some(scanned) = scanned.and_then(decoded) else { return };
    let members = if many { model::PUT_RECORDS } else { model::PUT_RECORD };
    let fields = match Fields::read(&call, members) {
        Ok(fields) => fields,
        Err(error) => panic!("the scanner takes what the general way refuses: {error}"),
    };
    let general = if many { PutRequest::many(&fields) } else { PutRequest::one(&fields) };
    assert_eq!(Some(scanned), decoded(general));
}

/// A request with its data decoded and taken out; `None` when data is no base64.
fn decoded(mut request: PutRequest<'_>) -> Option<(PutRequest<'_>, Vec<Vec<u8>>)> {
    let mut all = Vec::new();
    for record in &mut request.records {
        let mut data = Vec::new();
        record.data.append_to(&mut data)?;
        assert_eq!(record.data.len(), data.len());
        all.push(data);
        record.data = Data::Bytes(b"");
    }
    Some((request, all))
}

/// The body of any operation, read in one format, means the same when it is written in the other.
///
/// # Panics
/// When it does not.
pub fn request(operation: &str, body: &[u8], cbor: bool) {
    let members = input(operation);
    let map = match fields::unchecked(&call(body, cbor), members) {
        Ok(map) => map,
        // Its body is what the client gets to see.
        Err(error) => return drop((error.body(Format::Json), error.body(Format::Cbor))),
    };
    let other = if cbor {
        serde_json::to_vec(&map).ok()
    } else {
        let mut writer = Writer::new(Format::Cbor);
        structure(&map, members, &mut writer).map(|()| writer.into_bytes())
    };
    let Some(other) = other else { return };
    match (Fields::read(&call(body, cbor), members), fields::unchecked(&call(&other, !cbor), members)) {
        (Ok(_), Ok(again)) => assert!(same(&map, &again, members), "{map:?} became {again:?}"),
        (Ok(_), Err(error)) => panic!("refused in the other format: {error}: {map:?}"),
        (Err(error), _) => {
            let refused = Fields::read(&call(&other, !cbor), members).err();
            assert_eq!(kind(Some(error)), kind(refused), "{map:?}");
        }
    }
}

fn kind(error: Option<ApiError>) -> Option<&'static str> {
    error.map(|error| error.error.name())
}

/// A request in CBOR that means what a JSON body means; `None` when the body is none or cannot be said in CBOR.
#[must_use]
pub fn cbor(operation: &str, json: &[u8]) -> Option<Vec<u8>> {
    let map = fields::unchecked(&call(json, false), input(operation)).ok()?;
    let mut writer = Writer::new(Format::Cbor);
    structure(&map, input(operation), &mut writer)?;
    Some(writer.into_bytes())
}

fn structure(map: &Map<String, Value>, members: &'static [Member], writer: &mut Writer) -> Option<()> {
    writer.open_object();
    for member in members {
        if let Some(value) = map.get(member.name) {
            writer.key(member.name);
            write(value, member.shape, writer)?;
        }
    }
    writer.close_object();
    Some(())
}

/// Writes a value as CBOR; `None` when its type is another than the model's.
fn write(value: &Value, shape: Shape, writer: &mut Writer) -> Option<()> {
    match (shape, value) {
        (_, Value::Null) => writer.raw(&[0xf6]),
        (Shape::Text(_), Value::String(text)) => writer.text(text),
        (Shape::Boolean, Value::Bool(value)) => writer.boolean(*value),
        (Shape::Integer { .. }, Value::Number(number)) => writer.integer(number.as_i64()?),
        (Shape::Timestamp, Value::Number(number)) => {
            // Beyond it a float has no milliseconds.
            let exact = number.as_f64().is_some_and(|seconds| (0.0..1e11).contains(&seconds));
            writer.time(fields::time_ms(value).filter(|_| exact)?);
        }
        (Shape::Blob { .. }, Value::String(text)) => {
            writer.blob(&base64_simd::STANDARD.decode_to_vec(text).ok()?);
        }
        (Shape::List { member, .. }, Value::Array(values)) => {
            writer.open_array();
            values.iter().try_for_each(|value| write(value, *member, writer))?;
            writer.close_array();
        }
        (Shape::Map { .. }, Value::Object(values)) => {
            writer.open_object();
            for (name, value) in values {
                writer.text(name);
                writer.text(value.as_str()?);
            }
            writer.close_object();
        }
        (Shape::Structure(members), Value::Object(values)) => structure(values, members, writer)?,
        _ => return None,
    }
    Some(())
}

fn same(a: &Map<String, Value>, b: &Map<String, Value>, members: &'static [Member]) -> bool {
    members.iter().all(|member| match (a.get(member.name), b.get(member.name)) {
        (Some(a), Some(b)) => same_value(a, b, member.shape),
        (None, None) => true,
        _ => false,
    })
}

fn same_value(a: &Value, b: &Value, shape: Shape) -> bool {
    match (shape, a, b) {
        (Shape::Timestamp, Value::Number(_), Value::Number(_)) => {
            let ms = [a, b].map(|value| fields::time_ms(value).unwrap_or(0));
            // What is a float in the other format may differ in its last digit.
            ms[0].abs_diff(ms[1]) <= 1 + (ms[0] >> 50)
        }
        (Shape::Integer { .. }, Value::Number(a), Value::Number(b)) => {
            let (a, b) = (whole(a), whole(b));
            a == b || a.unsigned_abs() > 1 << 52 && a.abs_diff(b) <= a.unsigned_abs() >> 50
        }
        (Shape::List { member, .. }, Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b, *member))
        }
        (Shape::Structure(members), Value::Object(a), Value::Object(b)) => same(a, b, members),
        _ => a == b,
    }
}

/// Writes an answer in JSON and in CBOR, as the bytes say: an operation and what it needs, again and again.
#[must_use]
pub fn answers(program: &[u8]) -> [Vec<u8>; 2] {
    [Format::Json, Format::Cbor].map(|format| {
        let mut writer = Writer::new(format);
        writer.open_object();
        let (mut rest, mut open, mut name) = (program, vec![true], 0);
        while let Some((&verb, after)) = rest.split_first() {
            rest = after;
            let in_object = open.last() == Some(&true);
            if verb % 8 == 0 && open.len() > 1 {
                if in_object {
                    writer.close_object()
                } else {
                    writer.close_array()
                }
                open.pop();
                continue;
            }
            if in_object {
                name += 1;
                writer.key(&format!("Member{name}"));
            }
            value(verb, &mut rest, &mut writer, &mut open);
        }
        while let Some(object) = open.pop() {
            if object { writer.close_object() } else { writer.close_array() }
        }
        writer.into_bytes()
    })
}

fn value(verb: u8, rest: &mut &[u8], writer: &mut Writer, open: &mut Vec<bool>) {
    let length = rest.len().min(usize::from(verb >> 3) * 3);
    let (bytes, after) = rest.split_at(length);
    let word = bytes.iter().take(8).fold(0_u64, |word, &byte| word << 8 | u64::from(byte));
    match verb % 8 {
        // A parser of JSON goes 128 deep.
        1 | 2 if open.len() < 100 => {
            open.push(verb % 8 == 1);
            return if verb % 8 == 1 { writer.open_object() } else { writer.open_array() };
        }
        3 => writer.lossy_text(bytes),
        4 => writer.blob(bytes),
        5 => writer.integer(word.cast_signed()),
        6 => writer.time(word >> 12),
        _ => writer.boolean(verb & 8 == 8),
    }
    *rest = after;
}

/// Tokens, receipt handles and names, from text as it came and from tokens whose check is right: what is read is written
/// again as it was read.
///
/// # Panics
/// When it is not.
pub fn tokens(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    names(&text);
    let mut sealed = bytes.to_vec();
    sealed.extend_from_slice(&token::check(bytes));
    for text in [&*text, &base64_simd::STANDARD.encode_to_string(sealed)] {
        for kind in [Kind::ShardIterator, Kind::ListShards, Kind::ListStreams, Kind::ListStreamConsumers] {
            let Some(token) = Token::open(text, kind) else { continue };
            assert_eq!(token.seal(kind), text);
            for now_ms in [0, token.issued_ms, token.issued_ms.saturating_add(300_001), u64::MAX] {
                drop((Token::iterator(text, now_ms), Token::page(text, kind, now_ms)));
            }
            let number = SequenceNumber {
                generation: token.shard.shard.0,
                position: token.position,
                stream: token.shard.stream,
                shard: token.shard.shard,
            };
            assert_eq!(SequenceNumber::parse(&number.to_string()), Ok(number));
        }
    }
    queues::handles(bytes);
}

fn names(text: &str) {
    if let Ok(number) = SequenceNumber::parse(text) {
        assert_eq!(number.to_string(), text);
    }
    if let Ok(name) = StreamName::parse(text) {
        assert_eq!(name.as_str(), text);
        let arn = StreamArn::new("us-east-1", "000000000000", name).to_string();
        assert!(StreamArn::parse(&arn).is_ok());
    }
    if let Ok(arn) = StreamArn::parse(text) {
        // Of the partitions only `aws` is written again.
        assert_eq!(StreamArn::parse(&arn.to_string()), Ok(arn));
    }
    if let Ok(key) = HashKey::parse(text) {
        assert_eq!(HashKey::parse(&key.to_string()), Ok(key));
    }
    if let Ok(shard) = ShardId::parse(text) {
        assert_eq!(ShardId::parse(&shard.to_string()), Ok(shard));
    }
    if let Ok(key) = PartitionKey::parse(text) {
        assert_eq!(key.as_str(), text);
    }
    drop(ConsumerArn::parse(text));
}
