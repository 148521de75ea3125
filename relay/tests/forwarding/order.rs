//! Order per lane: through failures, resharding on both sides, and packing.

use crate::shell::{HALF, MAX, RETRY, Shell, config, offsets, refs, shard};
use headwater_relay::{Added, CallFailure, Offset, Packing, SendOutcome, SourceId};

#[test]
fn a_lane_waits_for_its_outcome_and_the_others_go_on() {
    // Lane 1 has 0, 1 and 3, lane 2 has 2.
    let mut shell = Shell::new(config());
    shell.source(1, &[]);
    for lane in [1, 1, 2, 1] {
        shell.append(1, lane);
    }
    let first = shell.call().unwrap();
    assert_eq!(offsets(&first), [0, 2], "one record of each lane");
    assert!(shell.call().is_none(), "both lanes wait");
    shell.append(1, 3);
    let second = shell.call().unwrap();
    assert_eq!(offsets(&second), [4], "another lane does not");
    shell.answer(&first, &[RETRY, SendOutcome::Acked]);
    assert_eq!(shell.checkpoint(1), 0);
    let again = shell.call_within(1_000).unwrap();
    assert_eq!(offsets(&again), [0], "only what failed, and before what follows it");
    shell.ack(&again);
    assert_eq!(shell.drain(0), [(1, 1), (1, 3)]);
    assert_eq!(shell.checkpoint(1), 4, "4 is still under way");
    shell.ack(&second);
    assert_eq!(shell.checkpoint(1), 5);
}

#[test]
fn an_answer_that_got_lost_sends_everything_again_in_order() {
    let mut shell = Shell::new(config());
    shell.source(1, &[]);
    for lane in [1, 2, 1] {
        shell.append(1, lane);
    }
    let call = shell.call().unwrap();
    shell.forwarding.handle_call_failed(call.id, CallFailure::Unknown, shell.now_ms).unwrap();
    assert!(
        shell.forwarding.handle_call_failed(call.id, CallFailure::Unknown, shell.now_ms).is_err(),
        "settled once"
    );
    assert_eq!(offsets(&shell.call_within(1_000).unwrap()), [0, 1]);
}

#[test]
fn a_child_is_not_read_before_its_parents_are_done() {
    // 1 and 2 merge into 3; 4 is a child of 3, which is empty.
    let mut shell = Shell::new(config());
    for (id, parents) in [(1, vec![]), (2, vec![]), (3, vec![1, 2]), (4, vec![3])] {
        shell.source(id, &parents);
    }
    for source in [4, 1, 2] {
        shell.append(source, 7);
    }
    shell.forwarding.handle_source_end(SourceId(3), Offset(0), shell.now_ms).unwrap();
    shell.forwarding.handle_source_end(SourceId(1), Offset(1), shell.now_ms).unwrap();
    assert_eq!(shell.drain(0), [(1, 0), (2, 0)], "2 is not closed");
    assert!(shell.forwarding.handle_source_forgotten(SourceId(2)).is_err());
    shell.forwarding.handle_source_end(SourceId(2), Offset(1), shell.now_ms).unwrap();
    assert_eq!(shell.drain(0), [(4, 0)]);
    assert!(shell.forwarding.is_drained(SourceId(3)), "an empty shard is done when its parents are");
    let error = shell.forwarding.handle_source_forgotten(SourceId(2)).unwrap_err();
    assert_eq!(error.to_string(), "source 2 is not drained, or that is not stored");
    shell.now_ms += 1_000;
    shell.store();
    shell.forwarding.handle_source_forgotten(SourceId(2)).unwrap();
}

#[test]
fn what_waits_is_routed_anew_and_what_is_under_way_settles_first() {
    // Two records of a low lane, two of a high one; the target splits while the first of each are under way.
    let mut shell = Shell::new(config());
    shell.source(1, &[]);
    for lane in [1, 1, HALF + 1, HALF + 1, 2] {
        shell.append(1, lane);
    }
    let call = shell.call().unwrap();
    assert_eq!(offsets(&call), [0, 2, 4]);
    shell.forwarding.handle_targets(&[shard(1, 0, HALF - 1), shard(2, HALF, MAX)], shell.now_ms).unwrap();
    assert!(shell.call().is_none(), "all lanes have one under way");
    shell.ack(&call);
    let call = shell.call().unwrap();
    let targets: Vec<_> = call.entries.iter().map(|entry| entry.target.0).collect();
    assert_eq!((offsets(&call), targets), (vec![1, 3], vec![1, 2]));
}

#[test]
fn keys_that_no_shard_takes_wait_for_another_map() {
    let mut shell = Shell::new(config());
    shell.source(1, &[]);
    shell.forwarding.handle_targets(&[shard(1, 0, HALF - 1)], shell.now_ms).unwrap();
    shell.append(1, MAX);
    shell.append(1, 1);
    assert_eq!(shell.drain(1_000), [(1, 1)]);
    let overlapping = [shard(1, 0, HALF), shard(2, HALF, MAX)];
    assert!(shell.forwarding.handle_targets(&overlapping, shell.now_ms).is_err());
    shell.forwarding.handle_targets(&[shard(1, 0, HALF - 1), shard(2, HALF, MAX)], shell.now_ms).unwrap();
    assert_eq!(shell.drain(0), [(1, 0)]);
}

fn packing(bytes_max: u64) -> Packing {
    let added = |added: Added| {
        let key = if added.is_new_key { u64::from(added.key_bytes) + 2 } else { 0 };
        key + u64::from(added.data_bytes) + 6
    };
    Packing { bytes_max, records_max: 1_000, frame_bytes: 30, added }
}

#[test]
fn an_aggregate_holds_one_target_shard_and_is_packed_again_after_a_reshard() {
    let mut shell = Shell::new(headwater_relay::ForwardConfig { packing: Some(packing(50_000)), ..config() });
    shell.source(1, &[]);
    for lane in [1, HALF, 1, HALF, 2] {
        shell.append(1, lane);
    }
    let call = shell.call().unwrap();
    assert_eq!(call.entries.len(), 1, "one shard, one aggregate");
    assert_eq!(offsets(&call), [0, 2, 1, 3, 4], "lane by lane, each in order");
    assert_eq!(call.size_bytes, 30 + 10 + 3 * 12 + 5 * 96, "frame, outer key, keys, records");
    shell.append(1, 9);
    assert!(shell.call().is_none(), "one aggregate of a shard under way");
    shell.forwarding.handle_targets(&[shard(1, 0, HALF - 1), shard(2, HALF, MAX)], shell.now_ms).unwrap();
    assert_eq!(offsets(&shell.call().unwrap()), [5], "another shard has none, and no record of these lanes");
    shell.answer(&call, &[RETRY]);
    let again = shell.call_within(1_000).unwrap();
    let entry = &again.entries[0];
    assert_eq!(entry.target.0, 2, "the other shard still waits");
    assert_eq!(refs(&again), [(1, 1), (1, 3)]);
}

#[test]
fn what_is_an_aggregate_already_goes_as_it_is() {
    let mut shell = Shell::new(headwater_relay::ForwardConfig { packing: Some(packing(50_000)), ..config() });
    shell.source(1, &[]);
    for lane in [1, 1, 1, 1] {
        shell.append(1, lane);
    }
    shell.logs.get_mut(&SourceId(1)).unwrap()[2].is_packed = true;
    let mut calls = Vec::new();
    while let Some(call) = shell.call() {
        calls.push((offsets(&call), call.size_bytes));
        shell.ack(&call);
    }
    assert_eq!(calls, [(vec![0, 1], 30 + 10 + 12 + 2 * 96), (vec![2], 100), (vec![3], 100)]);
}

#[test]
fn an_aggregate_keeps_its_size_and_lanes_share_it() {
    let mut shell = Shell::new(headwater_relay::ForwardConfig { packing: Some(packing(2_000)), ..config() });
    shell.source(1, &[]);
    for _ in 0..50 {
        shell.append(1, 1);
    }
    shell.append(1, 2);
    let call = shell.call().unwrap();
    assert!(call.size_bytes <= 2_000 && call.size_bytes > 1_000, "{}", call.size_bytes);
    assert!(offsets(&call).contains(&50), "a busy lane leaves room for a quiet one: {:?}", offsets(&call));
    shell.ack(&call);
    let rest = shell.drain(1_000);
    assert_eq!(rest.len() + call.records.len(), 51);
    assert_eq!(shell.checkpoint(1), 51);
}
