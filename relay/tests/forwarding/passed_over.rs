//! A sink that does without the newest while too much waits.

use crate::shell::{Shell, config};
use headwater_relay::{DropReason, Offset, SourceId};

/// Ten of lane 1, of which none is delivered; then `more` come of which the newest five are passed over, again and again.
fn passed_over(times: u64) -> Shell {
    let mut shell = Shell::new(config());
    shell.source(1, &[]);
    (0..10).for_each(|_| shell.append(1, 1));
    for _ in 0..times {
        let from = shell.logs[&SourceId(1)].len() as u64 + 5;
        (0..10).for_each(|_| shell.append(1, 1));
        let range = Offset(from)..Offset(from + 5);
        let passed =
            shell.forwarding.handle_passed_over(SourceId(1), range, DropReason::Quota).expect("as told");
        assert_eq!(passed.map(|passed| passed.end), Some(Offset(from + 5)));
        shell.store();
    }
    shell
}

#[test]
fn the_newest_are_passed_over_and_what_is_older_goes_in_order() {
    let shell = passed_over(2);
    assert_eq!(shell.ledger(1), [0, 0, 10, 20], "counted at once");
    let stored = &shell.stored[&SourceId(1)];
    assert_eq!(stored.done, [Offset(15)..Offset(20), Offset(25)..Offset(30)]);
    assert_eq!(stored.ledger.dropped, [0, 10, 0, 0]);
    let mut shell = shell.restart(config());
    assert_eq!(shell.ledger(1), [0, 0, 10, 20]);
    shell.append(1, 1);
    let sent: Vec<u64> = shell.drain(1_000).into_iter().map(|(_, offset)| offset).collect();
    assert_eq!(sent, (0..15).chain(20..25).chain([30]).collect::<Vec<_>>());
    assert_eq!((shell.checkpoint(1), shell.ledger(1)), (31, [21, 0, 10, 0]));
}

#[test]
fn what_is_passed_over_without_a_break_is_one_range() {
    let mut shell = passed_over(1);
    for _ in 0..100 {
        let from = shell.logs[&SourceId(1)].len() as u64;
        shell.append(1, 1);
        let range = Offset(from)..Offset(from + 1);
        shell.forwarding.handle_passed_over(SourceId(1), range, DropReason::Quota).unwrap();
        shell.store();
    }
    assert_eq!(shell.stored[&SourceId(1)].done, [Offset(15)..Offset(120)]);
    assert_eq!(shell.ledger(1), [0, 0, 105, 15]);
}

#[test]
fn ranges_that_are_passed_over_are_bounded_and_then_grow() {
    let mut shell = passed_over(40);
    let progress = shell.forwarding.progress(SourceId(1)).unwrap();
    assert_eq!(progress.done.len(), headwater_relay::limits::REGIONS_MAX - 2);
    let [delivered, _, dropped, waiting] = shell.ledger(1);
    assert!(delivered == 0 && dropped > 200 && dropped + waiting == 410, "{dropped} {waiting}");
    let sent = shell.drain(1_000);
    assert!(sent.is_sorted());
    assert_eq!(sent.len() as u64, waiting);
    assert_eq!(shell.ledger(1), [waiting, 0, dropped, 0]);
}

#[test]
fn nothing_behind_what_was_passed_over_is_read_before_that_is_stored() {
    let mut shell = passed_over(0);
    shell.stores = false;
    shell.drain(100);
    let range = Offset(10)..Offset(15);
    (0..5).for_each(|_| shell.append(1, 1));
    let passed = shell.forwarding.handle_passed_over(SourceId(1), range.clone(), DropReason::Quota).unwrap();
    assert_eq!(passed, Some(range));
    shell.append(1, 1);
    assert_eq!(shell.drain(1_000), [], "a crash would send 10 to 14 behind it");
    shell.stores = true;
    shell.store();
    assert_eq!(shell.drain(1_000), [(1, 15)]);
}

#[test]
fn the_oldest_that_are_left_out_behind_records_in_memory_are_not_sent_by_the_next_start() {
    let mut shell = Shell::new(config());
    shell.source(1, &[]);
    (0..30).for_each(|_| shell.append(1, 1));
    let read = shell.forwarding.poll_read().unwrap();
    let records = shell.logs[&SourceId(1)][..10].to_vec();
    shell.forwarding.handle_records(&read, &records, Offset(10), shell.now_ms).unwrap();
    let told = shell.forwarding.handle_dropped(SourceId(1), Offset(20), DropReason::Quota).unwrap();
    assert_eq!(told, [Offset(10)..Offset(20)]);
    assert!(
        shell.forwarding.poll_read().is_none(),
        "a start that knows nothing of it would send it behind this"
    );
    shell.store();
    let stored = &shell.stored[&SourceId(1)];
    assert_eq!((stored.checkpoint, &stored.done[..]), (Offset(0), &[Offset(10)..Offset(20)][..]));
    let mut shell = shell.restart(config());
    let sent: Vec<u64> = shell.drain(1_000).into_iter().map(|(_, offset)| offset).collect();
    assert_eq!(sent, (0..10).chain(20..30).collect::<Vec<_>>());
    assert_eq!((shell.checkpoint(1), shell.ledger(1)), (30, [20, 0, 10, 0]));
}

#[test]
fn the_oldest_can_be_left_out_however_often_while_what_is_in_memory_cannot_be_sent() {
    let mut shell = Shell::new(config());
    shell.source(1, &[]);
    let mut left_out = Vec::new();
    for round in 0..40u64 {
        (0..3).for_each(|_| shell.append(1, 1));
        shell.read();
        (0..7).for_each(|_| shell.append(1, 1));
        // All but the two newest.
        let to = Offset(round * 10 + 8);
        let told = shell.forwarding.handle_dropped(SourceId(1), to, DropReason::Quota).unwrap();
        assert_eq!(told.last().map(|range| range.end), Some(to), "round {round}");
        left_out.extend(told.into_iter().flat_map(|range| range.start.0..range.end.0));
        shell.store();
        assert!(shell.stored[&SourceId(1)].done.len() < headwater_relay::limits::REGIONS_MAX);
    }
    let mut shell = shell.restart(config());
    let sent: Vec<u64> = shell.drain(60_000).into_iter().map(|(_, offset)| offset).collect();
    assert!(
        sent.is_sorted() && sent.iter().all(|offset| !left_out.contains(offset)),
        "{sent:?} {left_out:?}"
    );
    assert_eq!(sent.len() + left_out.len(), 400);
    assert_eq!(shell.ledger(1), [sent.len() as u64, 0, left_out.len() as u64, 0]);
}

#[test]
fn children_of_a_shard_that_was_left_out_whole_wait_until_that_is_stored() {
    let mut shell = Shell::new(config());
    shell.source(1, &[]);
    shell.source(2, &[1]);
    (0..5).for_each(|_| shell.append(1, 1));
    shell.forwarding.handle_source_end(SourceId(1), Offset(5), shell.now_ms).unwrap();
    (0..3).for_each(|_| shell.append(2, 1));
    shell.stores = false;
    shell.forwarding.handle_dropped(SourceId(1), Offset(5), DropReason::Quota).unwrap();
    assert_eq!(
        shell.drain(1_000),
        [],
        "a start that does not know would send the parent's behind the child's"
    );
    shell.stores = true;
    shell.store();
    assert_eq!(shell.drain(1_000), [(2, 0), (2, 1), (2, 2)]);
}
