use super::*;
use crate::testing::{get, measure, set};
use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

#[test]
fn an_lm75_gives_half_degrees_of_both_signs() {
    // Table of the data sheet: nine bits, left aligned; lower bits are to be ignored.
    for (bytes, expected) in [
        ([0x19, 0x00], 2_500),
        ([0x00, 0x80], 50),
        ([0xff, 0xff], -50),
        ([0xe7, 0x00], -2_500),
        ([0x7d, 0x7f], 12_500),
    ] {
        let mut bus = Mock::new(&[get(0x4f, 0x00, &bytes)]);
        assert_eq!(measure(&mut Lm75::new(&mut bus, 0x4f)), Ok(std::vec![Some(expected)]), "{bytes:02x?}");
        bus.done();
    }
}

#[test]
fn a_tmp102_gives_sixteenths() {
    for (bytes, expected) in
        [([0x64, 0x00], 10_000), ([0x00, 0x40], 25), ([0xff, 0xf0], -6), ([0xc9, 0x00], -5_500)]
    {
        let mut bus = Mock::new(&[get(0x49, 0x00, &bytes)]);
        assert_eq!(
            measure(&mut Tmp102::at(&mut bus, false, true)),
            Ok(std::vec![Some(expected)]),
            "{bytes:02x?}"
        );
        bus.done();
    }
}

#[test]
fn a_tmp105_is_told_to_use_twelve_bits_before_it_is_read() {
    let mut bus = Mock::new(&[set(0x48, 0x01, 0x60), get(0x48, 0x00, &[0x15, 0x70])]);
    assert_eq!(measure(&mut Tmp105::new(&mut bus)), Ok(std::vec![Some(2_144)]));
    bus.done();
}

#[test]
fn a_thermometer_that_is_not_there_is_a_fault_of_the_bus() {
    let absent = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
    let mut bus = Mock::new(&[get(0x48, 0x00, &[0, 0]).with_error(absent)]);
    assert_eq!(measure(&mut Lm75::new(&mut bus, 0x48)), Err(Fault::Bus));
    bus.done();
    let mut bus = Mock::new(&[Transaction::write(0x48, std::vec![0x01, 0x60]).with_error(absent)]);
    assert_eq!(measure(&mut Tmp105::new(&mut bus)), Err(Fault::Bus));
    bus.done();
}
