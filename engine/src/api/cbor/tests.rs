//! Requests in CBOR mean what the same requests mean in JSON; what is no request is refused.

use super::samples::{STYLES, Style, encode};
use super::*;
use crate::api::check::Member;
use crate::api::{Call, ErrorType, Fields, Format, model};

fn read(body: &[u8], members: &'static [Member]) -> Result<Fields, String> {
    let call = Call { body: body.to_vec().into(), format: Format::Cbor };
    Fields::read(&call, members).map_err(|error| {
        assert!(matches!(error.error, ErrorType::Serialization | ErrorType::Validation), "{error}");
        error.message
    })
}

/// Why a body of one member is refused.
fn refusal(name: &str, value: &[u8], members: &'static [Member]) -> String {
    let head = 0x60 + u8::try_from(name.len()).unwrap();
    let body = [&[0xa1, head][..], name.as_bytes(), value].concat();
    read(&body, members).err().unwrap_or_else(|| panic!("{name} {value:x?} was taken"))
}

#[test]
fn requests_mean_the_same_in_both_formats() {
    let requests: [(&str, &'static [Member]); 6] = [
        (
            r#"{"StreamName":"s","ShardCount":3,"Tags":{"k":"v","ä":""},"StreamModeDetails":{"StreamMode":"PROVISIONED"}}"#,
            model::CREATE_STREAM,
        ),
        (
            r#"{"StreamName":"s","ShardId":"shardId-000000000000","ShardIteratorType":"AT_TIMESTAMP","Timestamp":1700000000.123}"#,
            model::GET_SHARD_ITERATOR,
        ),
        (r#"{"ShardIterator":"AAAA","Limit":10000,"DryRun":false,"StreamARN":null}"#, model::GET_RECORDS),
        (
            r#"{"Records":[{"Data":"aGk=","PartitionKey":"a"},{"Data":"","PartitionKey":"ä","ExplicitHashKey":"12"}],"StreamName":"s"}"#,
            model::PUT_RECORDS,
        ),
        (r#"{"TagKeys":["a","b"],"StreamName":"s"}"#, model::REMOVE_TAGS_FROM_STREAM),
        (r#"{"Unknown":{"deep":[1,-2,2.5,null,true,"x"]},"Limit":5,"Limitless":[[]]}"#, model::LIST_STREAMS),
    ];
    for (json, members) in requests {
        let call = Call::json(json.as_bytes().to_vec().into());
        let expected = Fields::read(&call, members).unwrap_or_else(|error| panic!("{json}: {error}"));
        for style in STYLES {
            let found =
                read(&encode(json, members, style), members).unwrap_or_else(|why| panic!("{json}: {why}"));
            for member in members {
                assert_eq!(found.raw(member.name), expected.raw(member.name), "{json} {style:?}");
            }
        }
    }
}

#[test]
fn refusals_have_the_words_they_have_in_json() {
    let body = encode(
        r#"{"StreamName":"","Records":[{"Data":"","PartitionKey":""}]}"#,
        model::PUT_RECORDS,
        Style::Indefinite,
    );
    let json = Call::json(br#"{"StreamName":"","Records":[{"Data":"","PartitionKey":""}]}"#.to_vec().into());
    let expected = Fields::read(&json, model::PUT_RECORDS).err().unwrap().message;
    assert_eq!(read(&body, model::PUT_RECORDS).err().unwrap(), expected);
    let string = "class java.lang.String can not be converted to ";
    assert_eq!(refusal("Limit", b"\x61x", model::LIST_STREAMS), format!("{string}an Integer"));
    assert_eq!(refusal("Data", b"\x64aGk=", model::PUT_RECORD), format!("{string}a Blob"));
    assert_eq!(refusal("Timestamp", b"\x61x", model::GET_SHARD_ITERATOR), format!("{string}an Double"));
    assert_eq!(refusal("Records", b"\x01", model::PUT_RECORDS), "Expected list or null");
    assert_eq!(refusal("Records", b"\x81\x01", model::PUT_RECORDS), "Expected null");
    assert_eq!(refusal("Tags", b"\x80", model::ADD_TAGS_TO_STREAM), "Start of list found where not expected");
    assert_eq!(
        refusal("StreamName", b"\x41x", model::DELETE_STREAM),
        "class java.nio.HeapByteBuffer can not be converted to an String"
    );
}

#[test]
fn times_are_milliseconds_as_the_service_counts_them() {
    for (value, time_ms) in [
        (&b"\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b"[..], 1_700_000_000_123),
        (b"\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b", 1_700_000_000_123),
        (b"\xc1\x00", 0),
        (b"\xc1\x20", 0),
        // 1.7e9 as a double: the RFC's seconds. 1.7e12: what LocalStack's clients write.
        (b"\xc1\xfb\x41\xd9\x54\xfc\x40\x00\x00\x00", 1_700_000_000_000),
        (b"\xc1\xfb\x42\x78\xbc\xfe\x56\x80\x00\x00", 1_700_000_000_000),
    ] {
        let body = [&b"\xa1\x77StreamCreationTimestamp"[..], value].concat();
        let fields = read(&body, model::LIST_SHARDS).unwrap();
        assert_eq!(fields.time_ms("StreamCreationTimestamp"), Some(time_ms), "{value:x?}");
    }
}

#[test]
fn numbers_of_every_width_are_read() {
    for (value, number) in [
        (&b"\x05"[..], 5),
        (b"\x18\x05", 5),
        (b"\x19\x00\x05", 5),
        (b"\x1a\x00\x00\x00\x05", 5),
        (b"\x1b\x00\x00\x00\x00\x00\x00\x00\x05", 5),
        (b"\xf9\x45\x00", 5),
        (b"\xfa\x40\xa0\x00\x00", 5),
        (b"\xfb\x40\x14\x00\x00\x00\x00\x00\x00", 5),
        (b"\xf9\x45\x40", 5),
    ] {
        let body = [&b"\xbf\x65Limit"[..], value, b"\xff"].concat();
        assert_eq!(read(&body, model::LIST_STREAMS).unwrap().integer("Limit"), Some(number), "{value:x?}");
    }
    // Beyond what a table allows, whatever the width: no wrap, and shown as it is.
    assert!(
        refusal("Limit", b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff", model::LIST_STREAMS)
            .contains("'9223372036854775807'")
    );
    assert!(
        refusal("Limit", b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", model::LIST_STREAMS)
            .contains("'-9223372036854775808'")
    );
}

#[test]
fn half_floats_are_those_of_the_rfc() {
    // RFC 8949, appendix A.
    for (bits, value) in [
        (0x0000, 0.0),
        (0x3c00, 1.0),
        (0x3e00, 1.5),
        (0x7bff, 65_504.0),
        (0x0001, 5.960_464_477_539_063e-8),
        (0x0400, 0.000_061_035_156_25),
        (0xc400, -4.0),
        (0x7c00, f64::INFINITY),
        (0xfc00, f64::NEG_INFINITY),
    ] {
        assert_eq!(half(bits), value, "{bits:x}");
    }
    assert!(half(0x7e00).is_nan());
}

#[test]
fn hostile_bodies_are_refused() {
    let deep = [&b"\xa1\x61x"[..], &[0x81; 200_000], b"\x00"].concat();
    let tags = [&b"\xa1\x61x"[..], &[0xc1; 200_000], b"\x00"].concat();
    for body in [
        &b""[..],
        b"\x00",
        b"\x80",
        b"\xff",
        b"\xa0\x00",
        b"\xbf",
        b"\xbf\x65Limit\xff",
        b"\xa1\x65Limit",
        b"\xa1\x65Limit\xff",
        b"\xa1\x65Limit\x1c",
        b"\xa1\x65Limit\xf8\x14",
        b"\xa1\x65Limi",
        // Lengths of 2^63 and more.
        b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xa1\x7b\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\xa1\x61x\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xa1\x61x\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xa1\x61x\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
        // Chunks of another kind, chunks in chunks.
        b"\xa1\x61x\x7f\x41a\xff",
        b"\xa1\x61x\x5f\x5f\xff\xff",
        b"\xa1\x69NextToken\x7f\x41a\xff",
        b"\xa1\x69NextToken\x62\xc3\x28",
        &deep,
        &tags,
    ] {
        let why = read(body, model::LIST_STREAMS).err();
        assert_eq!(why.as_deref(), Some(""), "{:x?}", &body[..body.len().min(40)]);
    }
    let token = b"\x69NextToken\x61a";
    let twice = [&b"\xa2"[..], token, token].concat();
    assert_eq!(read(&twice, model::LIST_STREAMS).err().unwrap(), "member `NextToken` appears twice");
    assert_eq!(
        refusal("Tags", b"\xa2\x61k\x60\x61k\x60", model::ADD_TAGS_TO_STREAM),
        "member `k` appears twice"
    );
    assert_eq!(read(b"\xa1\x01\x02", model::LIST_STREAMS).err().unwrap(), "the name of a member is not text");
    assert_eq!(refusal("Limit", b"\xc2\x41\x05", model::LIST_STREAMS), "tag 2 found where not expected");
    for not_finite in [&b"\xf9\x7e\x00"[..], b"\xf9\x7c\x00", b"\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00"] {
        let why = refusal("Limit", not_finite, model::LIST_STREAMS);
        assert_eq!(why, "class java.math.BigDecimal can not be converted to an Integer");
        refusal("StreamCreationTimestamp", not_finite, model::LIST_SHARDS);
    }
    let many = [&b"\xa1\x67TagKeys\x9f"[..], &[0x60; crate::limits::CBOR_ITEMS_MAX], b"\xff"].concat();
    assert_eq!(read(&many, model::REMOVE_TAGS_FROM_STREAM).err().unwrap(), "the request has too many values");
}

#[test]
fn no_damage_makes_a_reader_panic() {
    let body = encode(
        r#"{"StreamName":"s","ShardCount":3,"Tags":{"k":"v"},"Unknown":[{"a":1.5}],"StreamModeDetails":{"StreamMode":"ON_DEMAND"}}"#,
        model::CREATE_STREAM,
        Style::Indefinite,
    );
    for at in 0..body.len() {
        let _ = read(&body[..at], model::CREATE_STREAM);
        for byte in 0..=255 {
            let mut damaged = body.clone();
            damaged[at] = byte;
            let _ = read(&damaged, model::CREATE_STREAM);
        }
    }
}
