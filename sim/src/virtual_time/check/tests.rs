//! The check itself: what is right passes, and each thing that can be wrong is told.

use super::super::truth::Boot;
use super::*;

const EPOCH: u64 = 1_790_000_000_000;
const SEED: u64 = 77;

/// A device with one boot of five places, taken at 1 s, 2 s …, four of them surely stored.
fn subject() -> Subject {
    let boot = Boot { number: 3, taken_ms: (1..=5).map(|n| n * 1_000).collect(), stored: 4 };
    Subject { seed: SEED, truth: Truth { boots: vec![boot], is_drained: true, ppm: 50, ..Truth::default() } }
}

fn reading_at(boot: u32, seq: u32, ms: u64) -> String {
    let mut value_text = String::new();
    write_value(&mut value_text, &value(SEED, BootId(boot), Seq(seq), ChannelId(0)), -2);
    // 1,790,000,000 is 2026-09-21T14:13:20Z.
    let (second, milli) = (20 + ms / 1_000, ms % 1_000);
    format!(
        "{{\"kind\":\"reading\",\"device\":\"virtual-00001\",\"boot\":{boot},\"seq\":{seq},\"channel\":\"temperature\",\
         {value_text}\"time\":\"2026-09-21T14:13:{second:02}.{milli:03}Z\",\"time_quality\":\"synced\"}}"
    )
}

fn reading(seq: u32) -> String {
    reading_at(3, seq, u64::from(seq + 1) * 1_000)
}

fn gap(boot: u32, first: u32, count: u32) -> String {
    format!(
        "{{\"kind\":\"gap\",\"device\":\"virtual-00001\",\"boot\":{boot},\"first\":{first},\"count\":{count}}}"
    )
}

fn findings(subject: Subject, records: &[String]) -> Findings {
    let mut check = Check::new(vec![subject], EPOCH);
    for (number, data) in records.iter().enumerate() {
        let number = format!("{number:056}");
        let key = "virtual-00001";
        check.handle(Stored {
            shard: "s/0",
            number: &number,
            key,
            arrived_ms: EPOCH + 10_000,
            data: data.as_bytes(),
        });
    }
    check.end().0
}

/// Lost, repeated, misordered, wrong.
fn told(records: &[String]) -> [u64; 4] {
    let Findings { lost, repeated, misordered, wrong, .. } = findings(subject(), records);
    [lost, repeated, misordered, wrong]
}

#[test]
fn what_was_stored_is_there_once_in_order() {
    let all = [reading(0), gap(3, 1, 2), reading(3)];
    let good = findings(subject(), &all);
    assert_eq!(good, Findings { stored: 2, gaps: 2, ..Findings::default() });
    let more = [reading(0), gap(3, 1, 2), reading(3), reading(4)];
    assert_eq!(told(&more), [0; 4], "the batch whose write was cut may be whole");
}

#[test]
fn holes_are_found_before_behind_and_between() {
    assert_eq!(told(&[reading(0), reading(3)]), [2, 0, 0, 0]);
    assert_eq!(told(&[reading(0), reading(1)]), [2, 0, 0, 0]);
    assert_eq!(told(&[gap(3, 1, 3)]), [1, 0, 0, 0]);
    assert_eq!(told(&[]), [4, 0, 0, 0]);
}

#[test]
fn repeats_disorder_and_inventions_are_found() {
    let good = [reading(0), reading(1), reading(2), reading(3)];
    let with = |more: &[String]| told(&[&good[..], more].concat());
    assert_eq!(with(&[reading(2)]), [0, 1, 0, 0]);
    assert_eq!(with(&[gap(3, 3, 2)]), [0, 1, 0, 0], "a gap over what is there");
    assert_eq!(with(&[gap(3, 4, 2)]), [0, 0, 0, 1], "more entries than were taken");
    assert_eq!(with(&[gap(4, 0, 1)]), [0, 0, 0, 1], "a boot that never was");
    assert_eq!(with(&[gap(2, 0, 1)])[2], 1, "an earlier boot after a later one");
    let off = reading_at(3, 0, 2_500);
    assert_eq!(told(&[off, reading(1), reading(2), reading(3)]), [0, 0, 0, 1], "a time off by 1.5 s");
    let changed = reading(1).replace("\"value\":", "\"value\":1");
    assert_eq!(told(&[reading(0), changed, reading(2), reading(3)]), [0, 0, 0, 1]);
    let mut late = subject();
    late.truth.is_drained = false;
    assert_eq!(findings(late, &good).wrong, 1);
}

#[test]
fn what_stands_in_another_order_is_misordered_and_not_lost() {
    let swapped = [reading(0), reading(2), reading(1), reading(3)];
    let found = findings(subject(), &swapped);
    assert_eq!((found.stored, found.misordered, found.lost, found.repeated), (4, 1, 0, 0));
    assert!(found.examples[0].contains("seq 1 stands after a later one"), "{:?}", found.examples);
}

/// A device with ten more boots of 30 places each: as many losses as a device cannot tell apart.
fn of_many_boots() -> Subject {
    let mut subject = subject();
    let boot = |number| Boot { number, taken_ms: vec![9_000; 30], stored: 30 };
    subject.truth.boots[0].stored = 5;
    subject.truth.boots.extend((4..14).map(boot));
    subject
}

#[test]
fn losses_of_boots_that_are_told_as_one_are_no_invention() {
    let records = |count| {
        let mut records = vec![gap(3, 0, count)];
        records.extend((6..14).map(|boot| gap(boot, 0, 30)));
        records
    };
    let found = |count| findings(of_many_boots(), &records(count));
    let whole = 5 + 30 + 30;
    assert_eq!(found(whole), Findings { gaps: u64::from(whole) + 240, ..Findings::default() });
    assert_eq!(found(5).lost, 60, "boots 4 and 5 are told nowhere");
    assert_eq!(found(5 + 1).lost, 59, "one entry too many hides one loss, not a whole boot");
    let mut in_ram = of_many_boots();
    in_ram.truth.boots[0].taken_ms.extend([9_500; 20]);
    assert_eq!(
        findings(in_ram, &records(whole)).lost,
        0,
        "merged losses count on from the last place in flash"
    );
    assert_eq!(found(whole + 192).wrong, 0, "eight deliveries that the device did not know of");
    assert_eq!(found(whole + 193).wrong, 1);
}

#[test]
fn only_a_gap_of_merged_losses_may_come_after_a_later_boot() {
    let mut records = vec![gap(3, 0, 5), gap(4, 0, 30), gap(3, 5, 30)];
    records.extend((6..14).map(|boot| gap(boot, 0, 30)));
    let found = |subject, records: &[String]| findings(subject, records);
    let good = found(of_many_boots(), &records);
    assert_eq!((good.misordered, good.lost, good.wrong), (0, 0, 0), "{:?}", good.examples);
    records[0] = gap(3, 0, 4);
    records[2] = gap(3, 4, 31);
    assert_eq!(found(of_many_boots(), &records).misordered, 1, "the boot itself had something there");
    let mut few = of_many_boots();
    few.truth.boots.truncate(8);
    assert_eq!(
        found(few, &[gap(3, 0, 5), gap(4, 0, 30), gap(3, 5, 30)]).misordered,
        1,
        "eight can be told apart"
    );
}

#[test]
fn a_device_that_need_not_merge_invents_nothing() {
    let mut two = subject();
    two.truth.boots.push(Boot { number: 4, taken_ms: vec![9_000; 3], stored: 0 });
    assert_eq!(
        findings(two, &[gap(3, 0, 6)]).wrong,
        1,
        "boot 4 stored nothing, so nothing of it can be missing"
    );
}

#[test]
fn times_are_read_as_the_calendar_has_them() {
    for (text, expected) in [
        ("1970-01-01T00:00:00.000Z", 0),
        ("2000-02-29T12:34:56.789Z", 951_827_696_789),
        ("2024-03-01T00:00:00.000Z", 1_709_251_200_000),
        ("2026-09-21T14:13:20.000Z", EPOCH),
    ] {
        assert_eq!(utc_ms(text), Some(expected), "{text}");
    }
    assert_eq!(utc_ms("soon"), None);
}
