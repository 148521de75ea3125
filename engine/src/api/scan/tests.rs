//! The scanner against the general way.

use crate::api::cbor::samples::{STYLES, Style, encode};
use crate::api::check::Member;
use crate::api::put::{Data, PutRequest};
use crate::api::{Call, Fields, Format, Writer, model};

fn table(many: bool) -> &'static [Member] {
    if many { model::PUT_RECORDS } else { model::PUT_RECORD }
}

/// A request with its data decoded, by which both ways can be compared.
#[derive(Debug, PartialEq)]
struct Meaning<'a>(PutRequest<'a>, Vec<Vec<u8>>);

/// `None` when data is no base64, which whoever decodes it finds.
fn meaning(mut request: PutRequest<'_>) -> Option<Meaning<'_>> {
    let mut all = Vec::new();
    for record in &mut request.records {
        let mut data = Vec::new();
        record.data.append_to(&mut data)?;
        assert_eq!(record.data.len(), data.len());
        all.push(data);
        record.data = Data::Bytes(b"");
    }
    Some(Meaning(request, all))
}

/// Whatever the scanner takes (and the decoder after it), the general way takes with the same meaning.
fn hold_together(format: Format, body: &[u8], many: bool) -> bool {
    let call = Call { body: body.to_vec().into(), format };
    let scanned = if many { PutRequest::scan_many(&call) } else { PutRequest::scan_one(&call) };
    let Some(scanned) = scanned.and_then(meaning) else { return false };
    let fields = Fields::read(&call, table(many)).unwrap_or_else(|error| panic!("{error}: {body:x?}"));
    let general = if many { PutRequest::many(&fields) } else { PutRequest::one(&fields) };
    assert_eq!(Some(scanned), meaning(general), "{body:x?}");
    true
}

fn json(body: &str, many: bool) -> bool {
    hold_together(Format::Json, body.as_bytes(), many)
}

const MANY: &str = r#"{"StreamName": "s", "Records": [ {"Data":"aGk=","PartitionKey":"a"}, {"PartitionKey":"ä b", "ExplicitHashKey":"12", "Data":""} ]}"#;
const ONE: &str = r#"{"StreamARN":"arn:aws:kinesis:r:000000000000:stream/s","Data":"aGk=","PartitionKey":"k","SequenceNumberForOrdering":"49"}"#;

#[test]
fn plain_requests_are_taken() {
    for (text, many) in [(MANY, true), (ONE, false)] {
        assert!(json(text, many));
        for style in [Style::Indefinite, Style::Definite] {
            assert!(hold_together(Format::Cbor, &encode(text, table(many), style), many), "{style:?}");
        }
    }
    assert!(json(r#"{"Records":[{"Data":"aGk="}]}"#, true), "whether a key is needed, the stream decides");
}

#[test]
fn everything_else_goes_the_general_way() {
    for body in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"Records":[]}"#,
        r#"{"Records":[{}]}"#,
        r#"{"Records":[{"Data":"aGk=","PartitionKey":"a\n"}]}"#,
        r#"{"Records":[{"Data":"aGk=","PartitionKey":""}]}"#,
        r#"{"Records":[{"Data":"aGk=","PartitionKey":"a","X":1}]}"#,
        r#"{"Records":[{"Data":"aGk=","PartitionKey":"a","Data":"aGk="}]}"#,
        r#"{"Records":[{"Data":"aGk=","PartitionKey":"a"}],"DryRun":true}"#,
        r#"{"Records":[{"Data":"aGk=","PartitionKey":"a"}]} x"#,
        r#"{"Records":[{"Data":"aGk=","PartitionKey":"a"},]}"#,
        r#"{"Records":[{"Data":"aGk=","PartitionKey":null}]}"#,
        r#"{"Records":[{"Data":"aGk=","PartitionKey":"a","ExplicitHashKey":"01"}]}"#,
    ] {
        assert!(!json(body, true), "{body}");
    }
    for (body, many) in [
        (r#"{"Records":[]}"#, true),
        (r#"{"Records":[{"PartitionKey":"a"}]}"#, true),
        (r#"{"Records":[{"Data":"","PartitionKey":""}]}"#, true),
        (r#"{"Records":[{"Data":"","PartitionKey":null}]}"#, true),
        (r#"{"Records":[{"Data":"","ExplicitHashKey":"01"}]}"#, true),
        (r#"{"Records":[{"Data":"","Other":1}]}"#, true),
        (r#"{"Records":[{"Data":""}],"DryRun":true}"#, true),
        (r#"{"Data":"","SequenceNumberForOrdering":"x"}"#, false),
        (r#"{"StreamName":"a b","Data":""}"#, false),
    ] {
        for style in STYLES {
            assert!(!hold_together(Format::Cbor, &encode(body, table(many), style), many), "{body}");
        }
    }
}

#[test]
fn a_member_that_is_there_twice_is_not_taken() {
    const RECORD: [(&str, &str); 3] = [("Data", "aGk="), ("PartitionKey", "a"), ("ExplicitHashKey", "12")];
    const REST: [(&str, &str); 3] = [
        ("StreamName", "s"),
        ("StreamARN", "arn:aws:kinesis:r:000000000000:stream/s"),
        ("SequenceNumberForOrdering", "49"),
    ];
    for twice in RECORD.iter().chain(&REST) {
        for format in [Format::Json, Format::Cbor] {
            let body = |last: Option<&(&str, &str)>| {
                let mut writer = Writer::new(format);
                writer.open_object();
                for (name, value) in RECORD.iter().chain(&REST).chain(last) {
                    match (*name, format) {
                        ("Data", Format::Cbor) => writer.key(name).blob(value.as_bytes()),
                        _ => writer.key(name).text(value),
                    }
                }
                writer.close_object();
                writer.into_bytes()
            };
            assert!(hold_together(format, &body(None), false));
            assert!(!hold_together(format, &body(Some(twice)), false), "{twice:?} {format:?}");
        }
    }
}

#[test]
fn damaged_requests_in_json_never_mean_something_else() {
    // Every cut, and every byte replaced by ones that matter to JSON and base64.
    for (text, many) in [(MANY, true), (ONE, false)] {
        for at in 0..text.len() {
            hold_together(Format::Json, &text.as_bytes()[..at], many);
            for byte in *b"\"\\{}[],: \x00\xff0=A/" {
                let mut body = text.as_bytes().to_vec();
                body[at] = byte;
                hold_together(Format::Json, &body, many);
                body.insert(at, byte);
                hold_together(Format::Json, &body, many);
            }
        }
    }
}

#[test]
fn damaged_requests_in_cbor_never_mean_something_else() {
    for (text, many) in [(MANY, true), (ONE, false)] {
        for style in STYLES {
            let plain = encode(text, table(many), style);
            for at in 0..plain.len() {
                hold_together(Format::Cbor, &plain[..at], many);
                for byte in 0..=255 {
                    let mut body = plain.clone();
                    body[at] = byte;
                    hold_together(Format::Cbor, &body, many);
                    body.insert(at, byte);
                    hold_together(Format::Cbor, &body, many);
                }
            }
        }
    }
}

#[test]
fn what_is_beyond_the_limits_of_the_model_is_not_taken() {
    let record = |name: &str, value: &str| {
        let (many, one) = (table(true), table(false));
        let json = format!(r#"{{"Data":"","{name}":"{value}"}}"#);
        let list = format!(r#"{{"Records":[{json}]}}"#);
        let in_cbor = [
            hold_together(Format::Cbor, &encode(&json, one, Style::Definite), false),
            name.starts_with("Stream")
                || hold_together(Format::Cbor, &encode(&list, many, Style::Definite), true),
        ];
        let in_json = [self::json(&json, false), name.starts_with("Stream") || self::json(&list, true)];
        in_cbor == [true; 2] && in_json == [true; 2]
    };
    for (name, character, most) in
        [("PartitionKey", "ä", 256), ("ExplicitHashKey", "1", 39), ("StreamName", "x", 128)]
    {
        assert!(record(name, &character.repeat(most)), "{name}");
        assert!(!record(name, &character.repeat(most + 1)), "{name}");
    }
    let ordering = |digits| format!(r#"{{"Data":"","SequenceNumberForOrdering":"{}"}}"#, "1".repeat(digits));
    assert!(json(&ordering(129), false) && !json(&ordering(130), false));

    let list = |records| format!(r#"{{"Records":[{}]}}"#, vec![r#"{"Data":""}"#; records].join(","));
    assert!(json(&list(500), true) && !json(&list(501), true));
    assert!(!hold_together(Format::Cbor, &encode(&list(501), table(true), Style::Indefinite), true));

    for (bytes, taken) in [(10 << 20, true), ((10 << 20) + 1, false)] {
        for format in [Format::Json, Format::Cbor] {
            let mut writer = Writer::new(format);
            writer.open_object();
            writer.key("Data").blob(&vec![0; bytes]);
            writer.close_object();
            assert_eq!(hold_together(format, &writer.into_bytes(), false), taken, "{format:?}");
        }
    }
}
