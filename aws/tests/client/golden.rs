//! What botocore and AWS's aggregation library make of the same input. If this fails, the code is wrong.

use crate::support::{python, skip};
use headwater_aws::kpl::{Aggregate, deaggregate};
use headwater_aws::{Credentials, Endpoint, Region, Scope, Secret, Signable, Timestamp, Variant, sign};
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn golden(name: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/client/golden").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn text<'a>(case: &'a Value, member: &str) -> &'a str {
    case[member].as_str().unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn signed(case: &Value) -> String {
    let token = case["token"].as_str().map(Secret::new);
    let credentials = Credentials::new(text(case, "id"), Secret::new(text(case, "secret")), token);
    let headers: Vec<(&str, &str)> = case["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    let body = unhex(text(case, "body"));
    let request =
        Signable { method: text(case, "method"), path: text(case, "path"), headers: &headers, body: &body };
    let scope = Scope { region: text(case, "region"), service: text(case, "service") };
    let time = Timestamp::parse_basic(text(case, "time")).unwrap();
    let signature = sign(&request, &credentials, scope, time);
    assert_eq!(signature.date, text(case, "time"));
    signature.authorization
}

#[test]
fn signatures_are_those_of_botocore() {
    let cases = golden("signatures.json");
    assert!(cases.len() >= 50);
    for case in &cases {
        assert_eq!(signed(case), text(case, "authorization"), "{case}");
    }
}

#[test]
fn endpoints_are_those_of_botocore() {
    let cases = golden("endpoints.json");
    assert!(cases.len() >= 50);
    for case in &cases {
        let region = Region::parse(text(case, "region")).unwrap();
        let variant = Variant {
            fips: case["fips"].as_bool().unwrap(),
            dual_stack: case["dual_stack"].as_bool().unwrap(),
        };
        let endpoint = Endpoint::of_region(text(case, "service"), &region, variant);
        assert_eq!(endpoint.host(), text(case, "host"), "{case}");
        assert!(endpoint.is_aws());
    }
}

fn records(case: &Value) -> Vec<(String, Option<u128>, Vec<u8>)> {
    let records = case["records"].as_array().unwrap().iter();
    let read = |record: &Value| {
        let hash = record["hash"].as_str().map(|hash| hash.parse().unwrap());
        (text(record, "key").to_owned(), hash, unhex(text(record, "data")))
    };
    records.map(read).collect()
}

fn aggregated(records: &[(String, Option<u128>, Vec<u8>)]) -> Vec<u8> {
    let mut aggregate = Aggregate::new();
    for (key, hash, data) in records {
        aggregate.put(key, *hash, data).unwrap();
    }
    let mut bytes = Vec::new();
    aggregate.encode(&mut bytes);
    bytes
}

#[test]
fn aggregates_are_those_of_the_library_of_aws_byte_by_byte() {
    for case in &golden("aggregates.json") {
        let (records, bytes) = (records(case), unhex(text(case, "bytes")));
        let read: Vec<_> = deaggregate(&bytes)
            .expect("it is an aggregate")
            .into_iter()
            .map(|record| (record.key.to_owned(), record.hash, record.data.to_vec()))
            .collect();
        assert_eq!(read, records);
        assert_eq!(hex(&aggregated(&records)), text(case, "bytes"));
    }
}

/// Runs the generator in one of its ways; nothing where that Python lacks a library.
fn generator(test: &str, way: &str, library: &str, input: &Value) -> Option<Value> {
    let Some(python) = python() else {
        skip(test, "HEADWATER_PYTHON names no Python with botocore");
        return None;
    };
    let has = Command::new(&python)
        .args(["-c", &format!("import {library}")])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    if !has.success() {
        skip(test, &format!("the Python of HEADWATER_PYTHON has no {library}"));
        return None;
    }
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/client/golden/generate.py");
    let mut child = Command::new(python);
    let mut child =
        child.arg("-B").arg(script).arg(way).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{test}: the generator failed");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn botocore_signs_as_the_golden_file_says() {
    let cases = Value::Array(golden("signatures.json"));
    if let Some(again) = generator("golden::botocore", "sign", "botocore", &cases) {
        assert_eq!(again, cases);
    }
}

#[test]
fn the_library_of_aws_reads_what_we_aggregate() {
    let cases: Vec<Vec<_>> = (1..40_u8)
        .map(|count| {
            let record = |at: u8| {
                let key = format!("gerät-{}", at % 7);
                let hash = at.is_multiple_of(3).then(|| u128::from(at) << 120 | 5);
                (key, hash, vec![at; usize::from(at) * 37 % 400])
            };
            (0..count).map(record).collect()
        })
        .collect();
    let input: Vec<Value> = cases.iter().map(|records| hex(&aggregated(records)).into()).collect();
    let Some(read) = generator("golden::aws_kinesis_agg", "disaggregate", "aws_kinesis_agg", &input.into())
    else {
        return;
    };
    for (case, read) in cases.iter().zip(read.as_array().unwrap()) {
        let read = records(&serde_json::json!({ "records": read }));
        assert_eq!(read.len(), case.len());
        for (theirs, ours) in read.iter().zip(case) {
            // A record without a hash key is given the first of the table by that library.
            assert!(theirs.1 == ours.1 || ours.1.is_none(), "{theirs:?} {ours:?}");
            assert_eq!((&theirs.0, &theirs.2), (&ours.0, &ours.2));
        }
    }
}
