//! Draining after an outage: shares, caps, the newest first, and counts that add up.

use headwater_relay::{Drain, DrainOrder, DropReason, ForwardConfig, Offset, SourceId, TargetRate, WireCost};

use crate::shell::{RETRY, Shell, config, offsets, refs};

fn newest() -> ForwardConfig {
    let drain = Drain { order: DrainOrder::Newest, jump_records_min: 10, ..Drain::default() };
    let read = headwater_relay::WindowLimits { records_max: 10, bytes_max: 1 << 20 };
    ForwardConfig { drain, read, ..config() }
}

/// A link of 100 KB/s with nothing around the records, and target shards that are no limit.
fn capped(live_percent: u8) -> ForwardConfig {
    let wire = WireCost { percent: 100, record_bytes: 0, call_bytes: 0 };
    let drain = Drain { live_percent, bytes_per_s: Some(100_000), wire, ..Drain::default() };
    let target_rate = TargetRate { bytes_per_s: 1 << 30, records_per_s: 1 << 20, burst_ms: 500 };
    ForwardConfig { drain, target_rate, ..config() }
}

#[test]
fn the_cap_of_the_link_holds_and_the_backlog_gets_what_live_data_leaves() {
    // Source 1: an hour of backlog in 200 lanes. Source 2: 20 KB/s of live data.
    let mut shell = Shell::new(capped(70));
    shell.source(1, &[]);
    shell.source(2, &[]);
    for index in 0..20_000u64 {
        shell.append(1, u128::from(index % 200));
    }
    shell.now_ms += 3_600_000;
    let started_ms = shell.now_ms;
    let (mut live, mut backlog, mut late_ms) = (0u64, 0u64, 0);
    while shell.now_ms < started_ms + 10_000 {
        for lane in 0..2 {
            shell.append(2, 1_000 + lane + u128::from(shell.now_ms % 100));
        }
        let next_ms = shell.now_ms + 10;
        while let Some(call) = shell.call() {
            for (source, offset) in refs(&call) {
                if source == 2 {
                    let arrival_ms = shell.logs[&SourceId(2)][usize::try_from(offset).unwrap()].arrival_ms;
                    late_ms = late_ms.max(shell.now_ms - arrival_ms);
                    live += 1;
                } else {
                    backlog += 1;
                }
            }
            shell.ack(&call);
        }
        shell.now_ms = next_ms;
    }
    let sent = (live + backlog) * 100;
    assert!((980_000..=1_025_000).contains(&sent), "{sent} bytes in ten seconds of 100 KB/s");
    assert!((1_990..=2_000).contains(&live), "{live} live records");
    assert!(late_ms <= 250, "live data was {late_ms} ms late");
}

#[test]
fn live_data_beyond_its_share_leaves_the_rest_to_the_backlog() {
    let mut shell = Shell::new(capped(70));
    shell.source(1, &[]);
    shell.source(2, &[]);
    for index in 0..20_000u64 {
        shell.append(1, u128::from(index % 200));
    }
    shell.now_ms += 3_600_000;
    let started_ms = shell.now_ms;
    let mut sent = [0u64; 3];
    while shell.now_ms < started_ms + 10_000 {
        for lane in 0..20 {
            shell.append(2, 1_000 + lane);
        }
        while let Some(call) = shell.call() {
            refs(&call).iter().for_each(|(source, _)| sent[*source as usize] += 1);
            shell.ack(&call);
        }
        shell.now_ms += 10;
    }
    let share = sent[2] * 100 / (sent[1] + sent[2]);
    assert!((67..=73).contains(&share), "{share} percent: {sent:?}");
}

#[test]
fn oldest_keeps_the_order_of_a_lane_through_a_backlog() {
    let mut shell = Shell::new(config());
    shell.source(1, &[]);
    for _ in 0..50 {
        shell.append(1, 1);
    }
    shell.now_ms += 3_600_000;
    shell.append(1, 1);
    let order: Vec<_> = (0..51).map(|offset| (1, offset)).collect();
    assert_eq!(shell.drain(1_000), order);
}

/// A source with a backlog of an hour whose live data goes ahead after the first read, of ten records: 0 to 99 are the hole.
fn behind() -> Shell {
    let mut shell = Shell::new(newest());
    shell.source(1, &[]);
    for index in 0..100u64 {
        shell.append(1, u128::from(index % 5));
    }
    shell.now_ms += 3_600_000;
    shell
}

#[test]
fn newest_lets_live_data_go_ahead_and_the_checkpoint_stays() {
    let mut shell = behind();
    let first = shell.call().unwrap();
    let mut sent = offsets(&first);
    sent.sort_unstable();
    assert_eq!(
        sent,
        [0, 1, 2, 3, 4],
        "what was read before live data went ahead is in the hole like the rest"
    );
    shell.append(1, 0);
    shell.append(1, 1);
    shell.ack(&first);
    let mut order = offsets(&first);
    while let Some(call) = shell.call_within(1_000) {
        order.extend(offsets(&call));
        shell.ack(&call);
        let first_open = (0..102).find(|offset| !order.contains(offset)).unwrap_or(102);
        assert_eq!(shell.checkpoint(1), first_open, "{order:?}");
    }
    let place = |offset: u64| order.iter().position(|sent| *sent == offset).unwrap();
    assert!(place(100) < place(50) && place(101) < place(50), "{order:?}");
    for lane in 0..5 {
        let in_hole: Vec<_> =
            order.iter().filter(|offset| (0..100).contains(*offset) && *offset % 5 == lane).collect();
        assert!(in_hole.is_sorted(), "within the hole a lane keeps its order: {in_hole:?}");
    }
    assert_eq!((shell.checkpoint(1), shell.ledger(1)), (102, [102, 0, 0, 0]));
}

#[test]
fn a_start_in_the_middle_of_a_drain_sends_nothing_twice_that_was_stored() {
    let mut shell = behind();
    let first = shell.call().unwrap();
    shell.ack(&first);
    for lane in 0..8 {
        shell.append(1, 50 + lane);
    }
    // All but the hole is acked.
    let mut sent = Vec::new();
    while let Some(call) = shell.call() {
        let outcomes: Vec<_> = offsets(&call)
            .iter()
            .map(|offset| if (5..100).contains(offset) { RETRY } else { headwater_relay::SendOutcome::Acked })
            .collect();
        shell.answer(&call, &outcomes);
    }
    shell.now_ms += 2_000;
    shell.store();
    let stored = shell.stored[&SourceId(1)].clone();
    assert_eq!((stored.checkpoint, &stored.done[..]), (Offset(5), &[Offset(100)..Offset(108)][..]));
    let mut shell = shell.restart(newest());
    shell.append(1, 1);
    while let Some(call) = shell.call_within(1_000) {
        sent.extend(offsets(&call));
        shell.ack(&call);
    }
    sent.sort_unstable();
    let expected: Vec<_> = (5..100).chain([108]).collect();
    assert_eq!(sent, expected);
    assert_eq!((shell.checkpoint(1), shell.ledger(1)), (109, [109, 0, 0, 0]));
}

#[test]
fn live_data_is_on_time_while_six_hours_are_drained() {
    // Ten devices at a record a second each, a link of 100 KB/s that is away for six hours.
    let wire = WireCost { percent: 134, record_bytes: 40, call_bytes: 1_500 };
    let drain = Drain { bytes_per_s: Some(100_000), order: DrainOrder::Newest, wire, ..Drain::default() };
    let mut shell = Shell::new(ForwardConfig { drain, ..ForwardConfig::default() });
    shell.source(1, &[]);
    let append = |shell: &mut Shell| (0..10).for_each(|lane| shell.append(1, lane));
    for second in 0..6 * 3_600 {
        if second == 5 {
            shell.forwarding.handle_connection_lost(shell.now_ms);
        }
        append(&mut shell);
        shell.now_ms += 1_000;
        if let Some(call) = shell.call() {
            assert!(second < 5);
            shell.ack(&call);
        }
    }
    shell.forwarding.handle_connection_restored();
    let started_ms = shell.now_ms;
    let mut late_ms = Vec::new();
    let mut seconds = 0;
    while shell.checkpoint(1) < 216_000 {
        seconds += 1;
        assert!(seconds < 3_600, "{:?}", shell.forwarding.drain_state(shell.now_ms));
        append(&mut shell);
        while let Some(call) = shell.call_within(started_ms + seconds * 1_000 - shell.now_ms) {
            shell.now_ms += 50;
            for offset in offsets(&call) {
                let arrival_ms = shell.logs[&SourceId(1)][usize::try_from(offset).unwrap()].arrival_ms;
                if arrival_ms >= started_ms {
                    late_ms.push(shell.now_ms - arrival_ms);
                }
            }
            shell.ack(&call);
            if shell.now_ms >= started_ms + seconds * 1_000 {
                break;
            }
        }
    }
    late_ms.sort_unstable();
    let p99_ms = late_ms[late_ms.len() * 99 / 100];
    assert!(
        late_ms.len() > 5_000 && p99_ms < 2_000,
        "p99 {p99_ms} ms of {} records in {seconds} s",
        late_ms.len()
    );
}

#[test]
fn ranges_are_bounded_and_beyond_them_live_data_waits_in_line() {
    let mut shell = Shell::new(newest());
    shell.source(1, &[]);
    // Nothing of an outage is delivered before the next comes.
    for _ in 0..40 {
        for index in 0..50u64 {
            shell.append(1, u128::from(index));
        }
        shell.now_ms += 3_600_000;
        shell.read();
    }
    assert!(
        shell.forwarding.progress(SourceId(1)).unwrap().done.len() < headwater_relay::limits::REGIONS_MAX
    );
    assert_eq!(shell.drain(60_000).len(), 2_000);
    assert_eq!((shell.checkpoint(1), shell.ledger(1)), (2_000, [2_000, 0, 0, 0]));
}

#[test]
fn what_left_the_log_unsent_is_counted_under_its_reason() {
    let mut shell = Shell::new(ForwardConfig { read: newest().read, ..config() });
    shell.source(1, &[]);
    for _ in 0..100 {
        shell.append(1, 1);
    }
    let read = shell.forwarding.poll_read().unwrap();
    // 3 and 4 could not be read back.
    let mut records = shell.logs[&SourceId(1)][..8].to_vec();
    records.drain(3..5);
    shell.forwarding.handle_records(&read, &records, Offset(8), shell.now_ms).unwrap();
    let read = shell.forwarding.poll_read().unwrap();
    shell.forwarding.handle_dropped(SourceId(1), Offset(60), DropReason::Quota).unwrap();
    let records = shell.logs[&SourceId(1)][8..10].to_vec();
    let late = shell.forwarding.handle_records(&read, &records, Offset(10), shell.now_ms);
    assert!(late.is_err(), "the read counts as answered");
    assert_eq!(
        shell.ledger(1),
        [0, 0, 52, 48],
        "what is left out is a hole, the rest is over after what came before it"
    );
    let sent = shell.drain(1_000);
    assert_eq!(sent.len(), 6 + 40, "what was in memory is sent");
    assert_eq!(shell.ledger(1), [46, 0, 54, 0]);
    let (ledger, _) = shell.forwarding.ledger(SourceId(1)).unwrap();
    assert_eq!(ledger.dropped, [0, 52, 2, 0]);
    let stored = &shell.stored[&SourceId(1)];
    assert_eq!(
        stored.ledger.to_words()[1..],
        ledger.to_words()[1..],
        "the stored counts are those of the checkpoint"
    );
}

#[test]
fn the_end_of_a_drain_is_foreseen() {
    let mut shell = Shell::new(capped(70));
    shell.source(1, &[]);
    for index in 0..60_000u64 {
        shell.append(1, u128::from(index % 200));
    }
    assert_eq!(shell.forwarding.drain_state(shell.now_ms).eta_ms, None, "nothing moves yet");
    let started_ms = shell.now_ms;
    while shell.now_ms < started_ms + 31_000 {
        match shell.call() {
            Some(call) => shell.ack(&call),
            None => shell.now_ms += 5,
        }
    }
    let eta_ms = shell.forwarding.drain_state(shell.now_ms).eta_ms.unwrap();
    assert!((27_000..31_000).contains(&eta_ms), "60,000 at 1,000 a second, 31 s gone: {eta_ms}");
    shell.drain(1_000);
    assert_eq!(shell.forwarding.drain_state(shell.now_ms).eta_ms, Some(0));
}
