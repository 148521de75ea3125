//! Answers read back, and byte by byte.

use super::*;
use crate::api::cbor::{Head, Reader};

fn sample(format: Format) -> Vec<u8> {
    let mut answer = Writer::new(format);
    answer.open_object();
    answer.key("a").text("plain");
    answer.key("b").text("q\"b\\n\nt\tu\u{1}ä[");
    answer.key("c").open_array();
    answer.integer(-1);
    answer.boolean(true);
    answer.open_object();
    answer.close_object();
    answer.text("x");
    answer.close_array();
    answer.key("d").time(1_700_000_000_123);
    answer.key("e").blob(b"\x00\xff\x10");
    answer.key("f").lossy_text(b"\xff");
    answer.key("g").count(1_000);
    answer.close_object();
    answer.into_bytes()
}

#[test]
fn what_is_written_in_json_reads_back_the_same() {
    let value: serde_json::Value = serde_json::from_slice(&sample(Format::Json)).unwrap();
    let expected = serde_json::json!({
        "a": "plain", "b": "q\"b\\n\nt\tu\u{1}ä[", "c": [-1, true, {}, "x"], "d": 1_700_000_000.123, "e": "AP8Q",
        "f": "\u{fffd}", "g": 1_000,
    });
    assert_eq!(value, expected);
}

#[test]
fn answers_in_cbor_have_these_bytes() {
    // If this fails, the code is wrong: SDKs read such bytes.
    let expected: Vec<u8> = [
        &b"\xbf"[..],
        b"\x61a\x65plain",
        b"\x61b\x6dq\"b\\n\nt\tu\x01\xc3\xa4[",
        b"\x61c\x9f\x20\xf5\xbf\xff\x61x\xff",
        b"\x61d\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b",
        b"\x61e\x43\x00\xff\x10",
        b"\x61f\x63\xef\xbf\xbd",
        b"\x61g\x19\x03\xe8",
        b"\xff",
    ]
    .concat();
    assert_eq!(sample(Format::Cbor), expected);
}

#[test]
fn integers_in_cbor_take_the_shortest_form() {
    for (value, bytes) in [
        (0, &b"\x00"[..]),
        (23, b"\x17"),
        (24, b"\x18\x18"),
        (255, b"\x18\xff"),
        (256, b"\x19\x01\x00"),
        (65_536, b"\x1a\x00\x01\x00\x00"),
        (1 << 32, b"\x1b\x00\x00\x00\x01\x00\x00\x00\x00"),
        (-1, b"\x20"),
        (-25, b"\x38\x18"),
        (i64::MIN, b"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff"),
    ] {
        let mut answer = Writer::new(Format::Cbor);
        answer.integer(value);
        let written = answer.into_bytes();
        assert_eq!(written, bytes, "{value}");
        match Reader::new(&written).head().unwrap() {
            Head::Unsigned(read) => assert_eq!(i128::from(read), i128::from(value)),
            Head::Negative(read) => assert_eq!(-1 - i128::from(read), i128::from(value)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn times_in_json_have_three_decimals() {
    for (time_ms, text) in [
        (0, "0.000"),
        (7, "0.007"),
        (1_000, "1.000"),
        (1_700_000_000_120, "1700000000.120"),
        (u64::MAX, "18446744073709551.615"),
    ] {
        let mut json = Writer::new(Format::Json);
        json.time(time_ms);
        assert_eq!(String::from_utf8(json.into_bytes()).unwrap(), text);
    }
}
