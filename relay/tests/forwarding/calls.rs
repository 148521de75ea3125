//! Calls: full where they can be, never above a limit, one alone after a failure; memory that stays bounded.

use headwater_relay::{CallFailure, CallLimits, ForwardConfig, Offset, SourceId, TargetRate, WindowLimits};

use crate::shell::{HALF, MAX, Shell, THROTTLED, config, offsets, shard};

/// Lanes spread over all hash keys.
fn key(index: u64) -> u128 {
    u128::from(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64
}

#[test]
fn five_hundred_lanes_fill_a_call_also_over_many_shards() {
    let mut shell = Shell::new(config());
    let width = MAX / 10 + 1;
    let first = |index: u32| u128::from(index) * width;
    let map: Vec<_> =
        (0..10).map(|index| shard(index, first(index), first(index).saturating_add(width - 1))).collect();
    shell.forwarding.handle_targets(&map, shell.now_ms).unwrap();
    shell.source(1, &[]);
    for index in 0..5_000 {
        shell.append(1, key(index % 500));
    }
    for _ in 0..5 {
        let call = shell.call().unwrap();
        assert_eq!(call.entries.len(), 500);
        shell.ack(&call);
    }
}

#[test]
fn a_call_holds_no_more_records_and_bytes_than_allowed() {
    let calls = CallLimits { in_flight_max: 9, records_max: 10, bytes_max: 1_000, linger_ms: 0 };
    let mut shell = Shell::new(ForwardConfig { calls, ..config() });
    shell.source(1, &[]);
    for lane in 0..12 {
        shell.append_sized(1, lane, 40);
    }
    for (lane, data_bytes) in [(20, 490), (21, 490), (22, 1_990), (23, 5)] {
        shell.append_sized(1, lane, data_bytes);
    }
    let mut calls = Vec::new();
    while let Some(call) = shell.call() {
        calls.push((call.entries.len(), call.size_bytes));
    }
    // 10 of 50; two of 50 and one of 500; one of 500; the large one alone; the last.
    assert_eq!(calls, [(10, 500), (3, 600), (1, 500), (1, 2_000), (1, 15)]);
}

#[test]
fn calls_under_way_are_limited_and_the_last_place_is_for_live_data() {
    let calls = CallLimits { in_flight_max: 2, records_max: 1, ..config().calls };
    let mut shell = Shell::new(ForwardConfig { calls, ..config() });
    shell.source(1, &[]);
    shell.source(2, &[]);
    // Source 1 has a backlog of an hour, too much for one read.
    for lane in 0..5_000 {
        shell.append(1, lane);
    }
    shell.now_ms += 3_600_000;
    shell.append(2, 9_000);
    let live = shell.call().unwrap();
    assert_eq!(live.records[0].source, SourceId(2), "live data goes first");
    assert!(shell.call().is_none(), "the last place is kept");
    shell.ack(&live);
    let backlog = shell.call().unwrap();
    assert_eq!(backlog.records[0].source, SourceId(1));
    shell.append(2, 9_000);
    let live = shell.call().unwrap();
    assert_eq!(live.records[0].source, SourceId(2), "live data does not wait for the backlog's calls");
    assert_eq!(shell.forwarding.calls_in_flight(), 2);
    assert!(shell.call().is_none());
}

#[test]
fn a_call_that_is_not_full_waits_and_a_full_one_does_not() {
    let calls = CallLimits { linger_ms: 20, records_max: 3, ..CallLimits::default() };
    let mut shell = Shell::new(ForwardConfig { calls, ..ForwardConfig::default() });
    shell.source(1, &[]);
    shell.append(1, 1);
    shell.append(1, 2);
    assert!(shell.call().is_none());
    assert_eq!(shell.forwarding.poll_timeout(), Some(shell.now_ms + 20));
    let started_ms = shell.now_ms;
    assert_eq!(offsets(&shell.call_within(1_000).unwrap()), [0, 1]);
    assert_eq!(shell.now_ms, started_ms + 20);
    for lane in 3..6 {
        shell.append(1, lane);
    }
    assert_eq!(offsets(&shell.call().unwrap()), [2, 3, 4], "full");
}

#[test]
fn a_target_shard_gets_what_it_takes_and_the_others_go_on() {
    let target_rate = TargetRate { bytes_per_s: 1 << 20, records_per_s: 100, burst_ms: 500 };
    let mut shell = Shell::new(ForwardConfig { target_rate, ..config() });
    shell.forwarding.handle_targets(&[shard(1, 0, HALF - 1), shard(2, HALF, MAX)], shell.now_ms).unwrap();
    shell.source(1, &[]);
    for lane in 0..1_000 {
        shell.append(1, lane);
    }
    let started_ms = shell.now_ms;
    let first = shell.call().unwrap();
    assert_eq!(first.entries.len(), 50, "what the bucket holds");
    shell.ack(&first);
    assert!(shell.call().is_none());
    shell.append(1, MAX);
    let other = shell.call().unwrap();
    assert_eq!(other.entries[0].target.0, 2);
    shell.ack(&other);
    let sent = shell.drain(1_000).len();
    let elapsed_ms = shell.now_ms - started_ms;
    assert_eq!(sent, 950);
    assert!((9_400..10_600).contains(&elapsed_ms), "950 at 100 a second took {elapsed_ms} ms");
}

#[test]
fn a_throttled_shard_pauses_once_for_a_call_and_the_others_go_on() {
    let mut shell = Shell::new(config());
    shell.forwarding.handle_targets(&[shard(1, 0, HALF - 1), shard(2, HALF, MAX)], shell.now_ms).unwrap();
    shell.source(1, &[]);
    for lane in [1, 2, 3, HALF] {
        shell.append(1, lane);
    }
    let call = shell.call().unwrap();
    let outcomes: Vec<_> = call
        .entries
        .iter()
        .map(|entry| if entry.target.0 == 1 { THROTTLED } else { headwater_relay::SendOutcome::Acked })
        .collect();
    shell.answer(&call, &outcomes);
    shell.append(1, HALF);
    shell.append(1, 9);
    let other = shell.call().unwrap();
    assert_eq!(offsets(&other), [4], "only the shard that did not complain");
    shell.ack(&other);
    let started_ms = shell.now_ms;
    let again = shell.call_within(1_000).unwrap();
    let mut sent = offsets(&again);
    sent.sort_unstable();
    assert_eq!(sent, [0, 1, 2, 5]);
    assert!(shell.now_ms - started_ms <= 100, "one pause, not one for each record");
}

#[test]
fn after_a_call_that_failed_one_goes_alone_and_only_an_answer_opens_the_gate() {
    let calls = CallLimits { records_max: 1, ..config().calls };
    let mut shell = Shell::new(ForwardConfig { calls, ..config() });
    shell.source(1, &[]);
    for lane in 0..10 {
        shell.append(1, lane);
    }
    let calls: Vec<_> = std::iter::from_fn(|| shell.call()).collect();
    assert_eq!(calls.len(), 4);
    for call in &calls {
        shell.forwarding.handle_call_failed(call.id, CallFailure::Unknown, shell.now_ms).unwrap();
    }
    let try_out = shell.call_within(60_000).unwrap();
    assert!(shell.call_within(60_000).is_none(), "one, to see");
    shell.ack(&try_out);
    assert!(shell.call().is_some() && shell.call().is_some());
}

#[test]
fn nothing_is_tried_while_the_connection_is_away() {
    let mut shell = Shell::new(config());
    shell.source(1, &[]);
    shell.append(1, 1);
    shell.forwarding.handle_connection_lost(shell.now_ms);
    assert!(shell.call_within(3_600_000).is_none());
    shell.forwarding.handle_connection_restored();
    assert_eq!(shell.drain(60_000), [(1, 0)]);
}

#[test]
fn memory_is_bounded_and_a_source_that_is_stuck_leaves_room_for_others() {
    let memory = WindowLimits { records_max: 1_000, bytes_max: 50_000 };
    let mut shell = Shell::new(ForwardConfig { memory, ..config() });
    shell.forwarding.handle_targets(&[shard(2, HALF, MAX)], shell.now_ms).unwrap();
    shell.source(1, &[]);
    shell.source(2, &[]);
    // Nobody takes the keys of source 1.
    for _ in 0..10_000 {
        shell.append(1, 1);
    }
    shell.read();
    let state = shell.forwarding.drain_state(shell.now_ms);
    assert!(state.held_bytes <= 50_000 && state.held_bytes > 40_000, "{state:?}");
    assert_eq!(state.waiting_records, 10_000);
    for _ in 0..1_000 {
        shell.append(2, MAX);
    }
    assert_eq!(shell.drain(10_000).len(), 1_000, "the other source goes on");
    let state = shell.forwarding.drain_state(shell.now_ms);
    assert!(state.held_bytes <= 50_000, "{state:?}");
}

#[test]
fn an_answer_that_does_not_fit_its_question_changes_nothing() {
    let mut shell = Shell::new(config());
    shell.source(1, &[]);
    for lane in 0..3 {
        shell.append(1, lane);
    }
    let read = shell.forwarding.poll_read().unwrap();
    let records = shell.logs[&SourceId(1)].clone();
    let backwards = [records[1], records[0]];
    assert!(shell.forwarding.handle_records(&read, &backwards, Offset(2), shell.now_ms).is_err());
    assert!(
        shell.forwarding.handle_records(&read, &records, Offset(2), shell.now_ms).is_err(),
        "next is too low"
    );
    shell.forwarding.handle_records(&read, &records, Offset(3), shell.now_ms).unwrap();
    assert!(shell.forwarding.handle_records(&read, &records, Offset(3), shell.now_ms).is_err(), "answered");
    let call = shell.call().unwrap();
    let error = shell.forwarding.handle_outcomes(call.id, &[THROTTLED], shell.now_ms).unwrap_err();
    assert_eq!(error.to_string(), "1 outcomes, expected 3");
    shell.ack(&call);
    assert!(shell.forwarding.handle_outcomes(call.id, &[], shell.now_ms).is_err(), "settled");
    assert!(shell.forwarding.handle_tail(SourceId(9), Offset(1), shell.now_ms).is_err());
}
