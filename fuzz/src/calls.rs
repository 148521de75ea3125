//! Calls of operations, as an input describes them.
//!
//! ```text
//! input := call ('\n' call)*
//! call  := operation, one byte from '0' on | body in JSON
//! ```
//! A text `$Name` in a body stands for the last value that an answer had under this name (`$ShardIterator`, `$StreamARN`,
//! `$ReceiptHandle` …), so that one call goes on where another ended.

use crate::world::World;
use headwater_engine::fuzzing;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The operations, in the order of their bytes.
pub static OPERATIONS: LazyLock<Vec<&'static str>> = LazyLock::new(fuzzing::operations);

/// The byte of the first operation.
const FIRST: u8 = b'0';
/// Calls of one input: what makes a stream, fills it and reads it, twice.
const CALLS_MAX: usize = 24;

/// The operation of a byte.
#[must_use]
pub fn operation(byte: u8) -> &'static str {
    OPERATIONS[usize::from(byte.wrapping_sub(FIRST)) % OPERATIONS.len()]
}

/// One call as an input has it.
#[must_use]
pub fn encode(operation: &str, body: &str) -> Vec<u8> {
    let number = OPERATIONS.iter().position(|name| *name == operation).expect("an operation of the model");
    let byte = FIRST + u8::try_from(number).expect("57 operations");
    [&[byte], body.as_bytes()].concat()
}

/// Makes the calls one after the other, each answered before the next.
///
/// # Panics
/// When an answer is not one that the model lets its operation give.
pub fn run(world: &World, input: &[u8]) {
    all(world, input, false);
}

/// The same on an engine whose metadata is damaged, where operations may fail too.
///
/// # Panics
/// As [`run`].
pub fn on_damaged(world: &World, input: &[u8]) {
    all(world, input, true);
}

fn all(world: &World, input: &[u8], damaged: bool) {
    let mut said = BTreeMap::new();
    for call in input.split(|&byte| byte == b'\n').take(CALLS_MAX) {
        let Some((&byte, body)) = call.split_first() else { continue };
        one(world, operation(byte), &filled(body, &said), &mut said, damaged);
    }
}

fn one(world: &World, operation: &str, body: &[u8], said: &mut BTreeMap<String, Value>, damaged: bool) {
    let answer = world.runtime.block_on(async { world.engine.call(operation, body).await });
    let text = || String::from_utf8_lossy(&answer.body).into_owned();
    let read = match &answer.body[..] {
        b"" => Ok(Value::Null),
        body => serde_json::from_slice::<Value>(body),
    };
    let Ok(read) = read else { panic!("{operation} answers no JSON: {}", text()) };
    match answer.status {
        200 => remember(&read, said),
        // An event stream.
        406 => {}
        status => {
            assert!(
                matches!(status, 400 | 413) || damaged && matches!(status, 500 | 503),
                "{operation} answers {status}: {}",
                text()
            );
            let error = read["__type"].as_str().unwrap_or_default();
            assert!(
                fuzzing::may_answer(operation, error),
                "{operation} does not declare {error}: {}",
                text()
            );
        }
    }
}

fn remember(value: &Value, said: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if value.is_string() {
                    said.insert(name.clone(), value.clone());
                }
                remember(value, said);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| remember(value, said)),
        _ => {}
    }
}

/// The body with what was said filled in; as it is when it is no JSON.
fn filled(body: &[u8], said: &BTreeMap<String, Value>) -> Vec<u8> {
    if !body.contains(&b'$') {
        return body.to_vec();
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else { return body.to_vec() };
    fill(&mut value, said);
    value.to_string().into_bytes()
}

fn fill(value: &mut Value, said: &BTreeMap<String, Value>) {
    match value {
        Value::String(text) => {
            if let Some(known) = text.strip_prefix('$').and_then(|name| said.get(name)) {
                *value = known.clone();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| fill(value, said)),
        Value::Object(members) => members.values_mut().for_each(|value| fill(value, said)),
        _ => {}
    }
}

/// Changes an input without breaking it: a value for another, a member more or fewer, a call more or fewer, another operation.
/// `seed` decides.
#[must_use]
pub fn mutate(input: &[u8], seed: u32) -> Vec<u8> {
    let mut chance = u64::from(seed);
    let mut calls: Vec<(u8, Value)> = input
        .split(|&byte| byte == b'\n')
        .filter_map(|call| Some((*call.first()?, serde_json::from_slice(&call[1..]).ok()?)))
        .collect();
    if calls.is_empty() {
        calls.push((FIRST, Value::Object(Map::new())));
    }
    let at = below(&mut chance, calls.len());
    match below(&mut chance, 10) {
        0 => calls[at].0 = FIRST + u8::try_from(below(&mut chance, OPERATIONS.len())).unwrap_or(0),
        1 => {
            let call = calls[at].clone();
            let to = below(&mut chance, calls.len() + 1);
            calls.insert(to, call);
        }
        2 if calls.len() > 1 => drop(calls.remove(at)),
        3 => {
            let with = below(&mut chance, calls.len());
            calls.swap(at, with);
        }
        4 | 5 => member(&mut calls[at], &mut chance),
        _ => {
            let pool: Vec<Value> = calls.iter().flat_map(|(_, body)| leaves(body)).collect();
            replace(&mut calls[at].1, &pool, &mut chance);
        }
    }
    let calls: Vec<Vec<u8>> =
        calls.iter().map(|(byte, body)| [&[*byte], body.to_string().as_bytes()].concat()).collect();
    calls.join(&b'\n')
}

/// A member of the operation's input that is not there yet, or one fewer.
fn member((byte, body): &mut (u8, Value), chance: &mut u64) {
    let names = fuzzing::members(operation(*byte));
    let Some(members) = body.as_object_mut().filter(|_| !names.is_empty()) else { return };
    let name = names[below(chance, names.len())];
    if members.remove(name).is_none() {
        members.insert(name.to_owned(), interesting(name, chance));
    }
}

fn interesting(name: &str, chance: &mut u64) -> Value {
    const TEXTS: [&str; 12] = [
        "s",
        "t",
        "shardId-000000000000",
        "shardId-000000000001",
        "TRIM_HORIZON",
        "LATEST",
        "AT_SEQUENCE_NUMBER",
        "AFTER_SEQUENCE_NUMBER",
        "AT_TIMESTAMP",
        "340282366920938463463374607431768211455",
        "aGk=",
        "",
    ];
    const NUMBERS: [i64; 14] =
        [-1, 0, 1, 2, 10, 24, 100, 8_760, 10_000, 10_001, 43_200, 1_790_000_000, i32::MAX as i64, i64::MAX];
    match below(chance, 8) {
        0 | 1 => Value::String(format!("${name}")),
        2 | 3 => Value::from(TEXTS[below(chance, TEXTS.len())]),
        4 => Value::Bool(below(chance, 2) == 0),
        5 => serde_json::json!([{ "Data": "aGk=", "PartitionKey": "k" }]),
        6 => serde_json::json!(["$StreamName", "ALL"]),
        _ => Value::from(NUMBERS[below(chance, NUMBERS.len())]),
    }
}

fn leaves(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(members) => members.values().flat_map(leaves).collect(),
        Value::Array(values) => values.iter().flat_map(leaves).collect(),
        leaf => vec![leaf.clone()],
    }
}

/// Puts something else in the place of one value.
fn replace(value: &mut Value, pool: &[Value], chance: &mut u64) {
    match value {
        Value::Object(members) if !members.is_empty() && below(chance, 12) > 0 => {
            let at = below(chance, members.len());
            let (name, value) = members.iter_mut().nth(at).expect("one of them");
            if value.is_object() || value.is_array() || pool.is_empty() || below(chance, 3) > 0 {
                if value.is_object() || value.is_array() {
                    return replace(value, pool, chance);
                }
                let name = name.clone();
                *value = interesting(&name, chance);
            } else {
                *value = pool[below(chance, pool.len())].clone();
            }
        }
        Value::Array(values) if !values.is_empty() && below(chance, 4) > 0 => {
            let at = below(chance, values.len());
            if below(chance, 3) == 0 {
                let copy = values[at].clone();
                values.push(copy);
            } else {
                replace(&mut values[at], pool, chance);
            }
        }
        value => *value = interesting("StreamName", chance),
    }
}

/// A number below `count`, by splitmix64.
fn below(state: &mut u64, count: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((mixed ^ (mixed >> 31)) % count.max(1) as u64).unwrap_or(0)
}
