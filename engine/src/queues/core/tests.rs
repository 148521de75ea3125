//! Claims of the core, one by one.

use super::*;
use crate::limits;

const FOREVER: usize = usize::MAX;

fn at(position: u64) -> Position {
    Position { position, index: 0 }
}

fn ask(records: usize) -> Ask {
    Ask { side: Side::Live, records, bytes: FOREVER, timeout_ms: 30_000, not_before_ms: 0 }
}

fn dead(records: usize) -> Ask {
    Ask { side: Side::Dead, ..ask(records) }
}

fn view(id: u32, parents: &[u32], end: Option<u64>) -> ShardView {
    ShardView { id: ShardId(id), parents: parents.iter().copied().map(ShardId).collect(), end: end.map(at) }
}

/// Gives a shard the records `positions`, one a ms, and says it has no more.
fn feed(core: &mut QueueCore, shard: u32, positions: std::ops::Range<u64>) {
    let fetch = core.fetches().into_iter().find(|fetch| fetch.shard == ShardId(shard)).unwrap();
    let fresh: Vec<Fresh> = positions
        .clone()
        .map(|position| Fresh { position: at(position), time_ms: position, bytes: 100 })
        .collect();
    assert!(core.fetch_began(&fetch));
    core.fetched(&fetch, &fresh, at(positions.end), true);
}

fn queue(shards: u32, records: u64) -> QueueCore {
    let mut core = QueueCore::new(Some(3));
    let views: Vec<_> = (0..shards).map(|id| view(id, &[], None)).collect();
    for id in 0..shards {
        core.begin(ShardId(id), at(1));
    }
    core.set_shards(&views);
    (0..shards).for_each(|id| feed(&mut core, id, 1..records + 1));
    core.commit();
    core
}

fn positions(claimed: &[Claimed]) -> Vec<(u32, u64)> {
    claimed.iter().map(|claimed| (claimed.shard.0, claimed.position.position)).collect()
}

fn receipt(side: Side, claimed: &Claimed) -> Receipt {
    Receipt { side, shard: claimed.shard, position: claimed.position, serial: claimed.entry.serial }
}

#[test]
fn a_record_is_nobody_elses_until_its_timeout_and_then_comes_back_counted() {
    let mut core = queue(1, 3);
    let first = core.claim(0, &ask(2));
    assert_eq!(positions(&first), [(0, 1), (0, 2)]);
    assert_eq!(positions(&core.claim(0, &ask(10))), [(0, 3)]);
    assert_eq!(core.claim(29_999, &ask(10)), []);
    assert_eq!(core.next_visible_ms(0, Side::Live), Some(30_000));
    let again = core.claim(30_000, &ask(1));
    assert_eq!((positions(&again), again[0].entry.count(), again[0].entry.first_ms), (vec![(0, 1)], 2, 0));
    let stale = core.judge(30_001, &receipt(Side::Live, &first[0]), Verdict::Acknowledge);
    assert_eq!(stale, Err(Refusal::Stale));
    // Let go and not received by anybody since: the handle is still the newest.
    assert_eq!(core.judge(30_001, &receipt(Side::Live, &first[1]), Verdict::Acknowledge), Ok(()));
    assert_eq!(positions(&core.claim(90_000, &ask(10))), [(0, 3), (0, 1)], "longest visible first");
}

#[test]
fn a_repeated_acknowledgement_succeeds_and_other_verdicts_on_a_done_record_do_not() {
    let mut core = queue(1, 1);
    let claimed = core.claim(0, &ask(1));
    let receipt = receipt(Side::Live, &claimed[0]);
    assert_eq!(core.judge(1, &receipt, Verdict::Acknowledge), Ok(()));
    assert_eq!(core.judge(2, &receipt, Verdict::Acknowledge), Ok(()));
    assert_eq!(core.judge(2, &receipt, Verdict::Hide(0)), Err(Refusal::Gone));
    assert_eq!(core.claim(u64::MAX, &ask(1)), []);
}

#[test]
fn a_record_received_too_often_is_a_dead_letter_until_it_is_restored() {
    let mut core = queue(1, 1);
    let mut last = None;
    for count in 1..=3 {
        let claimed = core.claim(u64::from(count) * 30_000, &ask(1));
        assert_eq!(claimed[0].entry.count(), count);
        last = Some(claimed[0]);
    }
    assert_eq!(core.claim(119_999, &dead(1)), [], "its last receive is under way");
    assert_eq!(core.next_visible_ms(90_000, Side::Dead), Some(120_000));
    assert_eq!(core.claim(120_000, &ask(1)), []);
    let late = core.judge(120_000, &receipt(Side::Live, &last.unwrap()), Verdict::Acknowledge);
    assert_eq!(late, Err(Refusal::Stale));
    let letter = core.claim(120_000, &dead(1))[0];
    assert_eq!((letter.entry.count(), letter.entry.first_ms), (4, 30_000));
    assert_eq!(core.claim(120_000, &dead(1)), [], "dead letters are invisible too");
    let handle = receipt(Side::Dead, &letter);
    assert_eq!(core.judge(120_000, &handle, Verdict::Hide(0)), Ok(()));
    assert_eq!(core.judge(120_000, &handle, Verdict::Restore), Ok(()));
    assert_eq!(core.judge(120_001, &handle, Verdict::Restore), Ok(()), "a repeat of the same");
    assert_eq!(core.judge(120_001, &handle, Verdict::Acknowledge), Err(Refusal::Stale));
    let restored = core.claim(120_001, &ask(1))[0];
    assert_eq!((restored.entry.count(), restored.entry.first_ms), (1, 30_000));
    assert_eq!(core.judge(120_001, &handle, Verdict::Restore), Err(Refusal::Stale));
    assert_eq!(core.take_tally(), Tally { expired: 0, dead: 1 });
}

#[test]
fn hiding_a_record_for_no_time_gives_it_back_and_may_make_it_a_dead_letter() {
    let mut core = queue(1, 1);
    for _ in 0..3 {
        let claimed = core.claim(5, &ask(1));
        assert_eq!(core.judge(5, &receipt(Side::Live, &claimed[0]), Verdict::Hide(0)), Ok(()));
    }
    assert_eq!((core.claim(5, &ask(1)).len(), core.claim(5, &dead(1)).len()), (0, 1));
    assert!(core.is_short(5, Side::Dead, 1));
}

#[test]
fn no_timeout_at_all_gives_each_record_once_a_receive() {
    let mut core = queue(2, 2);
    let now = Ask { timeout_ms: 0, ..ask(10) };
    assert_eq!(core.claim(7, &now).len(), 4);
    assert_eq!(core.claim(7, &now).len(), 4);
}

#[test]
fn another_number_of_receives_changes_what_is_not_a_dead_letter_yet() {
    let mut core = queue(1, 2);
    (0..3).for_each(|i| drop(core.claim(i * 30_000, &Ask { records: 1, ..ask(1) })));
    // The first was received twice and the second once, or so: rotate until one is dead.
    let mut core = queue(1, 1);
    (0..3).for_each(|i| drop(core.claim(i * 30_000, &ask(1))));
    core.set_receives_max(90_000, Some(10));
    assert_eq!(core.claim(90_000, &ask(1)), [], "what is a dead letter stays one");
    let mut core = queue(1, 1);
    (0..3).for_each(|i| drop(core.claim(i * 30_000, &ask(1))));
    core.set_receives_max(60_001, None);
    assert_eq!(core.claim(90_000, &ask(1)).len(), 1, "it was still under way");
    core.set_receives_max(90_000, Some(1));
    assert_eq!((core.claim(120_000, &ask(1)).len(), core.claim(120_000, &dead(1)).len()), (0, 1));
}

#[test]
fn shards_give_in_turn() {
    let mut core = queue(3, 30);
    let turns: Vec<u32> = (0..6).map(|_| core.claim(0, &ask(10))[0].shard.0).collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn an_answer_is_bounded_in_bytes_but_never_empty_for_them() {
    let mut core = queue(1, 10);
    assert_eq!(core.claim(0, &Ask { bytes: 250, ..ask(10) }).len(), 2);
    assert_eq!(core.claim(0, &Ask { bytes: 1, ..ask(10) }).len(), 1);
    assert_eq!(core.claim(30_000, &Ask { bytes: 250, ..ask(10) }).len(), 2);
}

#[test]
fn children_wait_until_their_parents_were_delivered() {
    let mut core = queue(2, 3);
    core.set_shards(&[view(0, &[], Some(4)), view(1, &[], Some(4)), view(2, &[0, 1], None)]);
    assert!(core.fetches().is_empty(), "both parents have records, the child waits");
    assert_eq!(core.claim(0, &ask(10)).len(), 6);
    assert_eq!(core.fetches().iter().map(|fetch| fetch.shard.0).collect::<Vec<_>>(), [2]);
    feed(&mut core, 2, 1..3);
    assert_eq!(positions(&core.claim(0, &ask(10))), [(2, 1), (2, 2)]);
    // A parent that is closed but has not been read to its end holds its child back.
    let mut core = queue(1, 2);
    core.set_shards(&[view(0, &[], Some(9)), view(1, &[0], None)]);
    core.claim(0, &ask(10));
    assert_eq!(core.fetches().iter().map(|fetch| fetch.shard.0).collect::<Vec<_>>(), [0]);
    feed(&mut core, 0, 3..9);
    assert_eq!(core.fetches(), []);
    assert_eq!(core.claim(0, &ask(10)).len(), 6);
    assert_eq!(core.fetches().iter().map(|fetch| fetch.shard.0).collect::<Vec<_>>(), [1]);
}

#[test]
fn what_the_stream_no_longer_has_is_passed_by_and_counted() {
    let mut core = queue(1, 6);
    let claimed = core.claim(0, &ask(2));
    // 3 and 4 are over before anyone asked.
    assert_eq!(positions(&core.claim(0, &Ask { not_before_ms: 5, ..ask(10) })), [(0, 5), (0, 6)]);
    core.expire_before(ShardId(0), at(2));
    core.expire(ShardId(0), at(2));
    assert_eq!(core.judge(1, &receipt(Side::Live, &claimed[0]), Verdict::Hide(1)), Err(Refusal::Gone));
    assert_eq!(core.take_tally(), Tally { expired: 4, dead: 0 });
    core.set_shards(&[]);
    assert_eq!(core.take_tally(), Tally { expired: 2, dead: 0 });
    assert!(core.open().next().is_none() && !core.is_full());
}

#[test]
fn too_many_open_records_hold_new_ones_back() {
    let records = limits::QUEUE_IN_FLIGHT_MAX as u64 + 5;
    let mut core = queue(1, records);
    let claimed = core.claim(0, &ask(FOREVER));
    core.commit();
    assert_eq!(claimed.len(), limits::QUEUE_IN_FLIGHT_MAX);
    assert!(core.is_full() && core.fetches().is_empty() && core.claim(0, &ask(1)).is_empty());
    assert!(core.is_short(0, Side::Live, 1));
    assert_eq!(core.claim(30_000, &ask(1)).len(), 1, "those that came back are still given");
    core.judge(1, &receipt(Side::Live, &claimed[9]), Verdict::Acknowledge).unwrap();
    assert_eq!(positions(&core.claim(1, &ask(5))), [(0, claimed.len() as u64 + 1)]);
}

#[test]
fn a_step_that_was_not_stored_is_as_if_it_was_never_made() {
    let mut core = queue(2, 5);
    let claimed = core.claim(0, &ask(3));
    core.judge(0, &receipt(Side::Live, &claimed[0]), Verdict::Hide(0)).unwrap();
    core.commit();
    let before: Vec<_> = core.open().collect();
    assert_eq!(core.claim(1, &Ask { not_before_ms: 4, ..ask(10) }).len(), 2 + 2 + 1);
    core.judge(1, &receipt(Side::Live, &claimed[1]), Verdict::Acknowledge).unwrap();
    core.rollback();
    assert_eq!(core.open().collect::<Vec<_>>(), before);
    assert_eq!(core.take_tally().expired, 0);
    assert_eq!(core.claim(1, &ask(10)).len(), 8, "everything but the two in flight");
}

#[test]
fn a_receive_that_could_not_be_answered_does_not_count() {
    let mut core = queue(1, 1);
    let claimed = core.claim(0, &ask(1));
    core.release(1, &claimed[0]);
    let again = core.claim(1, &ask(1));
    assert_eq!(again[0].entry.count(), 1);
    core.release(2, &claimed[0]);
    assert_eq!(core.claim(2, &ask(1)), [], "an older receive gives nothing back");
}
