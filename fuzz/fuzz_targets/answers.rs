//! Answers in JSON and CBOR, read by decoders that are not ours: both are well-formed and say the same. Input: a program of
//! what is written.
#![no_main]

use ciborium::Value as Cbor;
use headwater_fuzz::{bounded, decoder_bytes};
use libfuzzer_sys::fuzz_target;
use serde_json::Value as Json;

fuzz_target!(|input: &[u8]| {
    bounded(2 * decoder_bytes(input), || {
        let [json, cbor] = headwater_engine::fuzzing::answers(input);
        let json: Json = serde_json::from_slice(&json).expect("an answer is JSON");
        let mut rest = &cbor[..];
        let cbor: Cbor = ciborium::from_reader(&mut rest).expect("an answer is CBOR");
        assert!(rest.is_empty(), "an answer is one item");
        same(&json, &cbor);
    });
});

fn same(json: &Json, cbor: &Cbor) {
    match (json, cbor) {
        (Json::Bool(a), Cbor::Bool(b)) => assert_eq!(a, b),
        (Json::String(a), Cbor::Text(b)) => assert_eq!(a, b),
        (Json::String(a), Cbor::Bytes(b)) => assert_eq!(a.len(), b.len().div_ceil(3) * 4),
        (Json::Number(a), Cbor::Integer(b)) => assert_eq!(a.as_i64().map(i128::from), Some((*b).into())),
        (Json::Number(seconds), Cbor::Tag(1, ms)) => {
            let ms = i128::from(ms.as_integer().expect("a time is an integer"));
            let seconds = seconds.as_f64().expect("a time in JSON is a number");
            assert!((seconds * 1_000.0 - ms as f64).abs() <= ms as f64 / 1e15 + 1e-6, "{seconds} {ms}");
        }
        (Json::Array(a), Cbor::Array(b)) => {
            assert_eq!(a.len(), b.len());
            a.iter().zip(b).for_each(|(a, b)| same(a, b));
        }
        (Json::Object(a), Cbor::Map(b)) => {
            assert_eq!(a.len(), b.len());
            for (name, value) in b {
                same(&a[name.as_text().expect("names are text")], value);
            }
        }
        other => panic!("not the same: {other:?}"),
    }
}
