use super::*;
use crate::testing::{measure, word};
use embedded_hal::i2c::ErrorKind;
use embedded_hal_mock::eh1::delay::NoopDelay;
use embedded_hal_mock::eh1::i2c::{Mock, Transaction};
use std::vec::Vec;

fn command(code: u16) -> Transaction {
    Transaction::write(0x62, code.to_be_bytes().to_vec())
}

fn start() -> Transaction {
    command(0x21b1)
}

fn is_ready(status: u16) -> [Transaction; 2] {
    [command(0xe4b8), Transaction::read(0x62, word(status).to_vec())]
}

fn data(bytes: Vec<u8>) -> [Transaction; 2] {
    [command(0xec05), Transaction::read(0x62, bytes)]
}

/// 500 ppm, 25 °C, 37 %: the example of the data sheet.
fn example() -> Vec<u8> {
    [word(0x01f4), word(0x6667), word(0x5eb9)].concat()
}

fn expected() -> Vec<Option<i32>> {
    std::vec![Some(500), Some(2_500), Some(3_700)]
}

#[test]
fn it_is_started_once_and_read_when_it_has_something() {
    let mut script = std::vec![start()];
    script.extend(is_ready(0x8000));
    script.extend(is_ready(0x8006));
    script.extend(data(example()));
    script.extend(is_ready(0x8000));
    let mut bus = Mock::new(&script);
    let mut sensor = Scd4x::new(&mut bus, NoopDelay::new());
    assert_eq!(measure(&mut sensor), Err(Fault::NotReady));
    assert_eq!(measure(&mut sensor), Ok(expected()));
    assert_eq!(measure(&mut sensor), Err(Fault::NotReady));
    bus.done();
}

#[test]
fn a_chip_that_runs_since_before_the_restart_is_read_although_it_refuses_to_start() {
    let mut script = std::vec![start().with_error(ErrorKind::Other)];
    script.extend(is_ready(0x8006));
    script.extend(data(example()));
    let mut bus = Mock::new(&script);
    assert_eq!(measure(&mut Scd4x::new(&mut bus, NoopDelay::new())), Ok(expected()));
    bus.done();
}

#[test]
fn damage_is_a_fault_and_the_chip_works_afterwards() {
    let mut damaged = example();
    damaged[1] ^= 1;
    let mut script = std::vec![start()];
    script.extend(is_ready(0x8006));
    script.extend(data(damaged));
    script.extend(is_ready(0x8006));
    script.extend(data(example()));
    let mut bus = Mock::new(&script);
    let mut sensor = Scd4x::new(&mut bus, NoopDelay::new());
    assert_eq!(measure(&mut sensor), Err(Fault::Answer));
    // The driver knows that it was started and does not do it again.
    assert_eq!(measure(&mut sensor), Ok(expected()));
    bus.done();
}
