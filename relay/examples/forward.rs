//! What deciding costs: CPU µs per record through the whole loop, for many lanes and for one, with few and with many records waiting.
//!
//! `cargo run --release -p headwater-relay --example forward`

#![expect(clippy::print_stdout, reason = "a bench prints its numbers")]

use std::collections::VecDeque;

use headwater_relay::{
    Call, ForwardConfig, Forwarding, Offset, Progress, Record, SendOutcome, SourceId, TargetId, TargetRate,
    TargetShard, WindowLimits,
};

const RECORDS: u64 = 1_000_000;

const ROUND_TRIP_MS: u64 = 20;

fn main() {
    println!("lanes  memory   calls  records/call  CPU µs/record");
    for (lanes, memory) in [(500, 20_000), (500, 200_000), (20, 20_000), (1, 20_000)] {
        let started_us = cpu_us();
        let calls = forward(lanes, memory, RECORDS);
        let used_us = cpu_us() - started_us;
        let per_call = RECORDS as f64 / calls as f64;
        println!("{lanes:>5} {memory:>7} {calls:>7} {per_call:>13.1} {:>14.3}", used_us / RECORDS as f64);
    }
}

/// CPU time of this thread, so that what else runs on the machine does not count.
fn cpu_us() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this bench needs Linux");
    let nanoseconds: f64 =
        text.split(' ').next().and_then(|field| field.parse().ok()).expect("a number comes first");
    nanoseconds / 1_000.0
}

/// Forwards so many records of so many lanes to four shards and returns the number of calls. One record in 5,000 is throttled.
fn forward(lanes: u64, memory: usize, records: u64) -> u64 {
    let mut forwarding = Forwarding::new(ForwardConfig {
        memory: WindowLimits { records_max: memory, bytes_max: 1 << 30 },
        // The bench asks what deciding costs, not how fast a shard is.
        target_rate: TargetRate { bytes_per_s: 1 << 40, records_per_s: 1 << 30, burst_ms: 1_000 },
        ..ForwardConfig::default()
    });
    let source = SourceId(1);
    let quarter = u128::MAX / 4;
    let first = |index: u32| u128::from(index) * (quarter + 1);
    let map = (0..4).map(|index| TargetShard {
        id: TargetId(index),
        first: first(index),
        last: first(index).saturating_add(quarter),
    });
    let map = map.collect::<Vec<_>>();
    forwarding.handle_targets(&map, 0).expect("the map is right");
    forwarding.handle_source(source, &[], &Progress::new(Offset(0))).expect("new");
    forwarding.handle_tail(source, Offset(records), 0).expect("known");
    // Spread over all hash keys, as MD5 spreads keys.
    let key = |offset: u64| u128::from((offset % lanes).wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64;
    let (mut now_ms, mut calls, mut sent, mut page) = (0, 0, 0u64, Vec::new());
    // Calls under way and when their answers come.
    let mut flying: VecDeque<(u64, Call)> = VecDeque::new();
    let mut outcomes = Vec::new();
    loop {
        while let Some(read) = forwarding.poll_read() {
            let until = records.min(read.from.0 + read.records_max as u64);
            page.clear();
            page.extend((read.from.0..until).map(|offset| Record {
                offset: Offset(offset),
                data_bytes: 200,
                key_bytes: 12,
                lane: key(offset),
                arrival_ms: now_ms,
                is_packed: false,
            }));
            forwarding.handle_records(&read, &page, Offset(until), now_ms).expect("as asked for");
        }
        while let Some(call) = forwarding.poll_call(now_ms) {
            calls += 1;
            flying.push_back((now_ms + ROUND_TRIP_MS, call));
        }
        while let Some(due) = forwarding.poll_progress(now_ms) {
            forwarding.handle_progress_stored(source, due.version, now_ms).expect("known");
            if due.progress.checkpoint == Offset(records) {
                return calls;
            }
        }
        // Virtual time: waiting costs nothing.
        let answer_ms = flying.front().map(|(at_ms, _)| *at_ms);
        let next_ms = [answer_ms, forwarding.poll_timeout()].into_iter().flatten().min();
        now_ms = now_ms.max(next_ms.expect("something is under way or due"));
        while let Some((_, call)) = flying.pop_front_if(|(at_ms, _)| *at_ms <= now_ms) {
            outcomes.clear();
            outcomes.extend(call.entries.iter().map(|_| {
                sent += 1;
                if sent % 5_000 == 0 { SendOutcome::Retry { is_throttled: true } } else { SendOutcome::Acked }
            }));
            forwarding.handle_outcomes(call.id, &outcomes, now_ms).expect("under way");
        }
    }
}
