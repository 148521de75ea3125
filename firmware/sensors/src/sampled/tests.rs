use super::*;
use crate::testing::Standing;
use crate::{Probe, Quantity};
use core::cell::{Cell, RefCell};
use embassy_futures::block_on;
use std::string::{String as Text, ToString};
use std::vec::Vec as Many;

fn air() -> [Quantity; 2] {
    [Quantity::new("temperature", "°C", -2, 1_000), Quantity::new("humidity", "%", -1, 5_000)]
}

fn ask(sampler: &mut impl Sampler, channel: u8) -> Option<i32> {
    match block_on(sampler.sample(ChannelId(channel))) {
        Some(Value::Fixed(raw)) => Some(raw),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_measurement_serves_a_turn_of_all_channels_and_no_later_one() {
    let (clock, measured) = (Standing::default(), Cell::new(0));
    let probe = Probe::new(air(), || {
        measured.set(measured.get() + 1);
        Ok([measured.get() * 10, measured.get() * 10 + 1])
    });
    let mut sampler = Sampled::new(probe, &clock);
    assert_eq!((ask(&mut sampler, 0), ask(&mut sampler, 1), measured.get()), (Some(10), Some(11), 1));
    // The next turn of the first channel: its value was taken, so it is measured anew.
    assert_eq!((ask(&mut sampler, 0), measured.get()), (Some(20), 2));
    // The second comes long after: what was measured beside the first is too old by now.
    clock.0.set(FRESH_MS + 1);
    assert_eq!((ask(&mut sampler, 1), measured.get()), (Some(31), 3));
    // A channel that does not exist has nothing to say.
    assert_eq!(ask(&mut sampler, 2), None);
}

#[test]
fn a_sensor_that_fails_says_so_once_and_says_when_it_works_again() {
    let (clock, state) = (Standing::default(), RefCell::new(Ok([1, 2])));
    let mut sampler = Sampled::new(Probe::new(air(), || *state.borrow()), &clock).named(&["attic"]);
    let turns = |count: u32, sampler: &mut Sampled<_, _>| {
        let mut said = Many::<Text>::new();
        for _ in 0..count {
            clock.0.set(clock.0.get() + 1_000);
            ask(sampler, 0);
            said.extend(Sampler::poll_log(sampler).map(|(_, text)| text.to_string()));
        }
        said
    };
    assert!(turns(5, &mut sampler).is_empty());
    *state.borrow_mut() = Err(Fault::NotReady);
    assert!(turns(50, &mut sampler).is_empty());
    *state.borrow_mut() = Err(Fault::Bus);
    assert!(turns(u32::from(FAULTS_TOLD) - 1, &mut sampler).is_empty());
    assert_eq!(turns(500, &mut sampler), ["sensor of attic does not answer"]);
    *state.borrow_mut() = Ok([1, 2]);
    assert_eq!(turns(500, &mut sampler), ["sensor of attic works again"]);
}

#[test]
fn several_sensors_are_one_table_and_the_fault_of_one_is_not_that_of_the_others() {
    let clock = Standing::default();
    let good = Sampled::new(Probe::new(air(), || Ok([7, 8])), &clock);
    let bad = Sampled::new(Probe::new(air(), || Err(Fault::Bus)), &clock)
        .named(&["cellar", "a name that is too long"]);
    let one = [Quantity::new("battery", "V", -3, 60_000)];
    let mut all = good.and(bad).and(Sampled::new(Probe::new(one, || Ok([3_700])), &clock));

    let channels = all.channels();
    let names: Many<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!(names, ["temperature", "humidity", "cellar", "a name that is t", "battery"]);
    assert_eq!((channels[4].unit.as_str(), channels[4].exponent), ("V", -3));
    let periods: Many<u32> = (0..5).map(|channel| all.period_ms(ChannelId(channel))).collect();
    assert_eq!(periods, [1_000, 5_000, 1_000, 5_000, 60_000]);
    let values: Many<Option<i32>> = (0..5).map(|channel| ask(&mut all, channel)).collect();
    assert_eq!(values, [Some(7), Some(8), None, None, Some(3_700)]);
}
