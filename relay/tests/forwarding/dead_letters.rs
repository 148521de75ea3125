//! Records that the target does not take: set aside, counted, and never in the way for ever.

use crate::shell::{RETRY, Shell, THROTTLED, config, offsets};
use headwater_relay::{
    CallFailure, DeadReason, ForwardConfig, Offset, RecordRef, SendOutcome, SourceId, limits,
};

fn dead(shell: &Shell) -> Vec<(u64, DeadReason)> {
    shell.dead.iter().map(|dead| (dead.record.offset.0, dead.reason)).collect()
}

#[test]
fn the_checkpoint_passes_a_rejected_record_when_its_dead_letter_is_durable_and_its_lane_when_the_progress_is()
{
    let mut shell = Shell::new(config());
    shell.stores = false;
    shell.source(1, &[]);
    for lane in [5, 1, 1] {
        shell.append(1, lane);
    }
    let call = shell.call().unwrap();
    shell.answer(&call, &[RETRY, SendOutcome::Rejected]);
    let dead = shell.forwarding.poll_dead_letter().unwrap();
    assert_eq!((dead.record.offset, dead.reason), (Offset(1), DeadReason::Rejected));
    assert_eq!(shell.forwarding.progress(SourceId(1)).unwrap().set_aside, []);
    shell.forwarding.handle_dead_letter_stored(dead.record).unwrap();
    assert!(shell.forwarding.handle_dead_letter_stored(dead.record).is_err(), "told once");
    let call = shell.call_within(1_000).unwrap();
    assert_eq!(offsets(&call), [0], "2 waits until a crash cannot bring 1 back behind it");
    let due = shell.forwarding.poll_progress(shell.now_ms).unwrap();
    assert_eq!((due.progress.checkpoint, &due.progress.set_aside[..]), (Offset(0), &[Offset(1)][..]));
    shell.forwarding.handle_progress_stored(SourceId(1), due.version, shell.now_ms).unwrap();
    let last = shell.call().unwrap();
    assert_eq!(offsets(&last), [2]);
    shell.ack(&last);
    shell.ack(&call);
    assert_eq!(shell.checkpoint(1), 3);
    assert_eq!(shell.forwarding.progress(SourceId(1)).unwrap().set_aside, [], "the checkpoint says it now");
    assert_eq!(shell.ledger(1), [2, 1, 0, 0]);
}

#[test]
fn a_start_neither_sends_nor_counts_again_what_is_set_aside() {
    let mut shell = Shell::new(config());
    shell.source(1, &[]);
    for lane in [5, 1, 1] {
        shell.append(1, lane);
    }
    let call = shell.call().unwrap();
    shell.answer(&call, &[RETRY, SendOutcome::Rejected]);
    assert_eq!(shell.stored[&SourceId(1)].set_aside, [Offset(1)]);
    let mut shell = shell.restart(config());
    assert_eq!(shell.drain(1_000), [(1, 0), (1, 2)]);
    assert_eq!(shell.ledger(1), [2, 1, 0, 0]);
}

#[test]
fn a_record_that_fails_is_set_aside_after_its_tries_and_throttling_is_not_one() {
    let mut shell = Shell::new(ForwardConfig { tries_max: 3, ..config() });
    shell.source(1, &[]);
    shell.append(1, 1);
    shell.append(1, 1);
    let mut others = 2;
    for outcome in [RETRY, THROTTLED, RETRY, THROTTLED, THROTTLED, RETRY] {
        // Its shard takes another record before each try.
        shell.append(1, 2);
        while let Some(call) = shell.call_within(60_000) {
            let outcomes: Vec<_> = offsets(&call)
                .iter()
                .map(|offset| if *offset == 0 { outcome } else { SendOutcome::Acked })
                .collect();
            let is_tried = offsets(&call).contains(&0);
            shell.answer(&call, &outcomes);
            if is_tried {
                break;
            }
        }
        others += 1;
    }
    shell.drain(1_000);
    assert_eq!(dead(&shell), [(0, DeadReason::Failed { tries: 3 })]);
    assert_eq!((shell.checkpoint(1), shell.ledger(1)), (others, [others - 1, 1, 0, 0]));
}

#[test]
fn a_shard_that_takes_nothing_for_days_kills_no_record_and_does_not_wait_for_one_for_ever() {
    let mut shell = Shell::new(ForwardConfig { tries_max: 3, ..config() });
    shell.source(1, &[]);
    for lane in 0..20 {
        shell.append(1, lane);
    }
    let mut tries = 0;
    while tries < 20 * 1_000 {
        let call = shell.call_within(60_000).unwrap();
        tries += call.entries.len();
        shell.answer(&call, &vec![RETRY; call.entries.len()]);
    }
    assert_eq!(dead(&shell), [], "it may be the shard's fault");
    assert_eq!(shell.drain(60_000).len(), 20);
    // A lane that nobody stands beside.
    shell.append(1, 1);
    let mut tries = 0;
    while let Some(call) = shell.call_within(60_000) {
        tries += 1;
        shell.answer(&call, &[RETRY]);
    }
    let all = 3 * limits::ALONE_FACTOR;
    assert_eq!((tries, dead(&shell)), (all, vec![(20, DeadReason::Failed { tries: all })]));
}

#[test]
fn a_record_at_fault_is_out_of_the_way_in_a_minute_while_others_are_taken() {
    let mut shell = Shell::new(ForwardConfig { tries_max: 20, ..config() });
    shell.source(1, &[]);
    shell.append(1, 1);
    let begun_ms = shell.now_ms;
    while shell.dead.is_empty() {
        shell.append(1, 2);
        let call = shell.call_within(60_000).unwrap();
        let outcomes: Vec<_> = offsets(&call)
            .iter()
            .map(|offset| if *offset == 0 { RETRY } else { SendOutcome::Acked })
            .collect();
        shell.answer(&call, &outcomes);
        shell.now_ms += 100;
    }
    let took_ms = shell.now_ms - begun_ms;
    assert!((10_000..100_000).contains(&took_ms), "{took_ms} ms");
}

#[test]
fn a_target_that_is_away_kills_no_record() {
    let mut shell = Shell::new(ForwardConfig { tries_max: 1, ..config() });
    shell.source(1, &[]);
    shell.append(1, 1);
    for _ in 0..50 {
        let call = shell.call_within(60_000).unwrap();
        shell.forwarding.handle_call_failed(call.id, CallFailure::Unknown, shell.now_ms).unwrap();
    }
    assert_eq!(shell.drain(60_000), [(1, 0)]);
    assert_eq!(dead(&shell), []);
}

#[test]
fn the_record_for_which_a_call_is_refused_is_found_by_halves() {
    let mut shell = Shell::new(config());
    shell.source(1, &[]);
    for lane in 0..64 {
        shell.append(1, lane);
    }
    let mut refused = 0;
    while let Some(call) = shell.call_within(1_000) {
        if offsets(&call).contains(&37) {
            refused += 1;
            shell.forwarding.handle_call_failed(call.id, CallFailure::Refused, shell.now_ms).unwrap();
            shell.store();
        } else {
            shell.ack(&call);
        }
    }
    assert_eq!(dead(&shell), [(37, DeadReason::Rejected)]);
    assert_eq!(refused, 6, "64, then 16 suspects at once, 8, 4, 2, 1");
    assert_eq!((shell.checkpoint(1), shell.ledger(1)), (64, [63, 1, 0, 0]));
}

#[test]
fn a_record_too_large_for_the_target_is_never_sent() {
    let mut shell = Shell::new(ForwardConfig { record_bytes_max: 1_000, ..config() });
    shell.source(1, &[]);
    for data_bytes in [990, 991, 10] {
        shell.append_sized(1, 1, data_bytes);
    }
    assert_eq!(shell.drain(1_000), [(1, 0), (1, 2)]);
    assert_eq!(dead(&shell), [(1, DeadReason::TooLarge { size_bytes: 1_001, bytes_max: 1_000 })]);
    // The target's limit was raised meanwhile.
    shell.forwarding.handle_record_bytes_max(2_000);
    shell.append_sized(1, 1, 1_500);
    assert_eq!(shell.drain(1_000), [(1, 3)]);
}

#[test]
fn what_was_never_given_out_cannot_be_confirmed() {
    let mut shell = Shell::new(config());
    shell.source(1, &[]);
    shell.append(1, 1);
    shell.read();
    let record = RecordRef { source: SourceId(1), offset: Offset(0) };
    let error = shell.forwarding.handle_dead_letter_stored(record).unwrap_err();
    assert_eq!(error.to_string(), "offset 0 of source 1 is no dead letter");
}
