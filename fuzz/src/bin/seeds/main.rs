//! Makes the seeds in `fuzz/corpus` and the dictionary: from requests as clients make them, and from what an engine and a
//! journal make of them. `cargo run --bin seeds` in `fuzz/`, after a change of the API or of a format.

mod scenarios;

use headwater_fuzz::world::World;
use headwater_fuzz::{calls, stored};
use headwater_journal::storage::SimDisk;
use headwater_journal::{AppendSet, Compression, Config, Core, ShardKey, StreamKey};
use scenarios::{QUEUE, SCENARIOS};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

fn keep(target: &str, name: &str, seed: &[u8]) {
    fs::write(corpus(target).join(name), seed).expect("a seed is written");
}

fn input(scenario: &[(&str, &str)]) -> Vec<u8> {
    scenario.iter().map(|(operation, body)| calls::encode(operation, body)).collect::<Vec<_>>().join(&b'\n')
}

fn main() {
    for target in
        ["records", "requests", "answers", "tokens", "formats", "runs", "recovery", "stored", "calls", "http"]
    {
        let _ = fs::remove_dir_all(corpus(target));
        fs::create_dir_all(corpus(target)).expect("the folder of the corpus can be made");
    }
    for (number, scenario) in SCENARIOS.iter().enumerate() {
        keep("calls", &format!("scenario-{number}"), &input(scenario));
        let world = World::new();
        calls::run(&world, &input(&scenario[..scenario.len() - 1]));
        let entries: Vec<_> =
            world.engine.meta_list(b"s/").into_iter().map(|(key, found)| (key, found.value)).collect();
        keep("stored", &format!("scenario-{number}"), &stored::encode(&input(&scenario[1..]), &entries));
        scenario.iter().for_each(|(operation, body)| request(operation, body));
    }
    queue();
    tokens();
    disk();
    programs();
    http();
    dictionary();
}

fn request(operation: &str, body: &str) {
    let call = calls::encode(operation, "");
    let number = call[0] - calls::encode(headwater_engine::fuzzing::operations()[0], "")[0];
    let cbor = headwater_engine::fuzzing::cbor(operation, body.as_bytes());
    for (how, body) in [(0, Some(body.as_bytes().to_vec())), (1, cbor)] {
        let Some(body) = body else { continue };
        let name = format!("{operation}-{}", ["json", "cbor"][usize::from(how)]);
        keep("requests", &name, &[&[number, how], &body[..]].concat());
        if operation.starts_with("PutRecord") {
            let many = if operation == "PutRecords" { 2 } else { 0 };
            keep("records", &name, &[&[how | many], &body[..]].concat());
        }
    }
}

/// Queues, whose bodies need what answers before them had.
fn queue() {
    keep("calls", "queue", &input(QUEUE));
    let world = World::new();
    calls::run(&world, &input(&QUEUE[..5]));
    let entries: Vec<_> =
        world.engine.meta_list(b"s/").into_iter().map(|(key, found)| (key, found.value)).collect();
    keep("stored", "queue", &stored::encode(&input(&QUEUE[3..]), &entries));
    QUEUE.iter().for_each(|(operation, body)| request(operation, body));
}

fn tokens() {
    let world = World::new();
    let ask = |operation: &str, body: &str| {
        let answer = world.runtime.block_on(async { world.engine.call(operation, body.as_bytes()).await });
        serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default()
    };
    for name in ["s", "t"] {
        ask("CreateStream", &format!(r#"{{"StreamName":"{name}","ShardCount":2}}"#));
    }
    let put = ask("PutRecord", r#"{"StreamName":"s","Data":"aGk=","PartitionKey":"k"}"#);
    let at = ask("GetShardIterator", r#"{"StreamName":"s","ShardId":"0","ShardIteratorType":"LATEST"}"#);
    let page = ask("ListShards", r#"{"StreamName":"s","MaxResults":1}"#);
    let streams = ask("ListStreams", r#"{"Limit":1}"#);
    let summary = ask("DescribeStreamSummary", r#"{"StreamName":"s"}"#);
    let texts = [
        ("number", &put["SequenceNumber"]),
        ("shard", &put["ShardId"]),
        ("iterator", &at["ShardIterator"]),
        ("page", &page["NextToken"]),
        ("streams", &streams["NextToken"]),
        ("arn", &summary["StreamDescriptionSummary"]["StreamARN"]),
    ];
    for (name, text) in texts {
        keep("tokens", name, text.as_str().unwrap_or_default().as_bytes());
    }
    // What is in tokens: a shard iterator of stream 1, and a receipt handle of queue 1.
    let inside = [&[1][..], &1_790_000_000_000_u64.to_be_bytes(), &[0, 0, 0, 1], &[0; 14], b"s"].concat();
    keep("tokens", "inside-iterator", &inside);
    keep("tokens", "inside-handle", &[&[1, 0, 0, 0, 1][..], &[0; 18]].concat());
    keep("tokens", "inside-page", &[&[3][..], &1_790_000_000_000_u64.to_be_bytes(), &[0, 0, 0, 1]].concat());
}

/// Blocks of a real journal, plain, compressed and sealed, and bodies of its runs.
fn disk() {
    let mut kinds = BTreeSet::new();
    for (number, compression) in [Compression::None, Compression::Lz4].into_iter().enumerate() {
        let disk = SimDisk::new(1);
        let config = Config {
            segment_bytes: 64 << 10,
            size_bytes_max: 1 << 20,
            reserve_bytes: 0,
            group_bytes_max: 16 << 10,
            staged_bytes_max: 64 << 10,
            compression,
            ..Config::default()
        };
        let (core, _) = Core::open_on(disk.clone(), config, 1_790_000_000_000, 7).expect("opens");
        core.keys().set(2, 7, StreamKey::new(&[7; 32]));
        core.keys().seal_with(2, Some(7));
        for round in 0..20 {
            let mut set = AppendSet::new();
            for stream in 1..=2 {
                set.batch(ShardKey { stream, shard: 0 });
                set.record(b"boiler-7", "the boiler is warm; ".repeat(20).as_bytes());
            }
            set.put(b"cursor", &[round], None);
            core.append(&set, 1_790_000_000_000).expect("has room");
            core.commit().expect("commits");
        }
        core.close(1_790_000_000_000);
        drop(core);
        for (name, bytes) in disk.image() {
            for block in bytes.chunks(4096) {
                let kind = String::from_utf8_lossy(&block[..4]).into_owned();
                let end = block.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                if kind.starts_with("HW") && kinds.insert((kind.clone(), number)) {
                    keep("formats", &format!("{kind}-{number}"), &block[..end]);
                }
            }
            keep("formats", &format!("name-{}", name.replace('.', "-")), name.as_bytes());
        }
    }
    for how in 0..6 {
        keep(
            "runs",
            &format!("coder-{how}"),
            &[&[1, how, 0, 60][..], "boiler ".repeat(60).as_bytes()].concat(),
        );
    }
    // Flags, count, first; a record of a key and a payload of one byte each.
    keep(
        "runs",
        "plain",
        &[&[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0][..], &[0, 1, 1, b'k', b'v']].concat(),
    );
    let front = [&[0; 4][..], &[5, 0, 0, 0], &[0x50, 0, 1, 1, b'k', b'v']].concat();
    keep("runs", "lz4", &[&[0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0][..], &front].concat());
    for settings in 0..16 {
        keep(
            "recovery",
            &format!("settings-{settings}"),
            &[settings, 40, settings % 8, 0, 0x10, settings, 0xff],
        );
    }
    keep("recovery", "forged", &[2, 30, 0x81, 2, 0, 200, 9, 0x85, 2, 0, 1, 5, 2, 0, 1]);
}

fn programs() {
    let program = [
        8 * 5 + 3,
        b'a',
        b'"',
        0,
        0xff,
        b'\\',
        1,
        1,
        8 * 3 + 5,
        9,
        9,
        0xff,
        0xff,
        1,
        8 * 3 + 6,
        1,
        2,
        3,
        4,
        5,
        6,
    ];
    keep("answers", "each", &[&program[..], &[2, 8 + 4, 1, 2, 3, 7, 0, 8 * 3 + 4, 1]].concat());
    keep("answers", "deep", &[1; 64]);
}

fn http() {
    const SIGNED: &str = "X-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0\r\n";
    let post = |operation: &str, more: &str, body: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Kinesis_20131202.{operation}\r\n{SIGNED}{more}\r\n{body}"
        )
    };
    keep("http", "list", post("ListStreams", "Content-Length: 2\r\n", "{}").as_bytes());
    let twice = post("ListStreams", "Content-Length: 2\r\n", "{}").repeat(2);
    keep("http", "twice", twice.as_bytes());
    keep(
        "http",
        "chunked",
        post("DescribeLimits", "Transfer-Encoding: chunked\r\n", "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n").as_bytes(),
    );
    keep(
        "http",
        "half",
        post("PutRecord", "Content-Length: 99\r\nExpect: 100-continue\r\n", "{\"Str").as_bytes(),
    );
    keep(
        "http",
        "preflight",
        b"OPTIONS / HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\nAccess-Control-Request-Headers: a\r\n\r\n",
    );
    keep("http", "query", b"GET /?X-Amz-Algorithm=a&X-Amz-Credential=b HTTP/1.1\r\nHost: x\r\n\r\n");
    // The preface, empty settings, a request of static headers (POST, /, http), a ping, a reset, a window, a goodbye.
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        [&[0, 0, u8::try_from(payload.len()).unwrap_or(0), kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let frames = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 4, 1, &[0x83, 0x84, 0x86, 0x41, 1, b'x']),
        frame(0, 1, 1, b"{}"),
        frame(6, 0, 0, &[0; 8]),
        frame(3, 0, 1, &[0, 0, 0, 8]),
        frame(8, 0, 0, &[0, 0, 1, 0]),
        frame(7, 0, 0, &[0; 8]),
    ];
    keep("http", "http2", &frames.concat());
}

/// Words that requests consist of.
fn dictionary() {
    let operations = headwater_engine::fuzzing::operations();
    let mut words: BTreeSet<&str> =
        operations.iter().flat_map(|operation| headwater_engine::fuzzing::members(operation)).collect();
    words.extend([
        "HWSEGMNT",
        "HWGR",
        "HWTRAILR",
        "HWSNAPSH",
        "shardId-000000000000",
        "TRIM_HORIZON",
        "s/d/",
        "s/l/",
        "s/c/",
        "s/q/p/",
    ]);
    let lines: Vec<String> = words.iter().map(|word| format!("\"{word}\"\n")).collect();
    fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("words.dict"), lines.concat())
        .expect("the dictionary is written");
}
