use super::*;
use crate::testing::{measure, word};
use embedded_hal::i2c::ErrorKind;
use embedded_hal_mock::eh1::delay::NoopDelay;
use embedded_hal_mock::eh1::i2c::{Mock, Transaction};
use std::vec::Vec;

const HIGH_REPEATABILITY: u8 = 0xfd;

fn answer(temperature: u16, humidity: u16) -> Vec<u8> {
    [word(temperature), word(humidity)].concat()
}

fn measurement(answer: Vec<u8>) -> [Transaction; 2] {
    [Transaction::write(0x44, std::vec![HIGH_REPEATABILITY]), Transaction::read(0x44, answer)]
}

#[test]
fn raw_words_become_degrees_and_per_cent() {
    // T = -45 + 175 · raw / 65535, RH = -6 + 125 · raw / 65535, cut to 0..100.
    for (raw, expected) in
        [((0x6666, 0x8000), (2_500, 5_650)), ((0, 0), (-4_500, 0)), ((u16::MAX, u16::MAX), (13_000, 10_000))]
    {
        let mut bus = Mock::new(&measurement(answer(raw.0, raw.1)));
        let values = measure(&mut Sht4x::new(&mut bus, NoopDelay::new()));
        assert_eq!(values, Ok(std::vec![Some(expected.0), Some(expected.1)]), "{raw:04x?}");
        bus.done();
    }
}

#[test]
fn a_flipped_bit_is_a_fault_and_not_a_reading() {
    for bit in 0..48 {
        let mut bytes = answer(0x6666, 0x8000);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let mut bus = Mock::new(&measurement(bytes));
        assert_eq!(measure(&mut Sht4x::new(&mut bus, NoopDelay::new())), Err(Fault::Answer), "bit {bit}");
        bus.done();
    }
}

#[test]
fn a_chip_that_is_not_there_is_a_fault_of_the_bus() {
    let command = Transaction::write(0x45, std::vec![HIGH_REPEATABILITY]).with_error(ErrorKind::Bus);
    let mut bus = Mock::new(&[command]);
    assert_eq!(measure(&mut Sht4x::secondary(&mut bus, NoopDelay::new())), Err(Fault::Bus));
    bus.done();
}
