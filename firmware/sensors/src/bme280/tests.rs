use super::*;
use crate::testing::measure;
use embedded_hal::i2c::{ErrorKind, ErrorType, Operation};
use embedded_hal_mock::eh1::delay::NoopDelay;

/// A BME280 as its data sheet describes its registers.
struct Chip {
    registers: [u8; 256],
    is_there: bool,
}

impl Chip {
    /// Calibration and raw values of the example in the data sheet of the BMP280 (section 3.12): 25.08 °C, 100,653 Pa.
    /// Humidity's calibration is that of a real part.
    fn new(id: u8) -> Self {
        let mut registers = [0; 256];
        registers[0xd0] = id;
        let calibration: [u16; 12] = [
            27_504,
            26_435,
            0u16.wrapping_sub(1_000),
            36_477,
            0u16.wrapping_sub(10_685),
            3_024,
            2_855,
            140,
            0u16.wrapping_sub(7),
            15_500,
            0u16.wrapping_sub(14_600),
            6_000,
        ];
        for (at, value) in (0x88..).step_by(2).zip(calibration) {
            registers[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        registers[0xa1] = 75;
        registers[0xe1..0xe8].copy_from_slice(&[0x6d, 0x01, 0x00, 0x13, 0x05, 0x00, 0x1e]);
        let (pressure, temperature, humidity) = (415_148u32 << 4, 519_888u32 << 4, 0x6e10u16);
        registers[0xf7..0xfa].copy_from_slice(&pressure.to_be_bytes()[1..]);
        registers[0xfa..0xfd].copy_from_slice(&temperature.to_be_bytes()[1..]);
        registers[0xfd..0xff].copy_from_slice(&humidity.to_be_bytes());
        Self { registers, is_there: true }
    }

    fn reset(&mut self) {
        self.registers[0xf2..0xf6].fill(0);
    }
}

impl ErrorType for Chip {
    type Error = ErrorKind;
}

impl I2c for Chip {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        assert_eq!(address, 0x76);
        if !self.is_there {
            return Err(ErrorKind::Bus);
        }
        let mut at = 0;
        for operation in operations {
            match operation {
                Operation::Write([register]) => at = usize::from(*register),
                Operation::Write([0xe0, 0xb6]) => self.reset(),
                Operation::Write([register, value]) => self.registers[usize::from(*register)] = *value,
                Operation::Write(other) => panic!("write of {other:02x?}"),
                Operation::Read(out) => {
                    out.copy_from_slice(&self.registers[at..at + out.len()]);
                    if at == 0xf7 && self.registers[0xf4] & 0b1110_0000 == 0 {
                        out.fill(0x80); // temperature is skipped: what the chip does with the settings of its reset
                    }
                    if at == 0xf7 {
                        self.registers[0xf4] &= !0b11; // a forced measurement ends asleep
                    }
                }
            }
        }
        Ok(())
    }
}

#[test]
fn the_example_of_the_data_sheet_comes_out() {
    let mut chip = Chip::new(0x60);
    let values = measure(&mut Bme280::new(&mut chip, NoopDelay::new())).unwrap();
    assert_eq!(values[..2], [Some(2_508), Some(100_653)]);
    let humidity = values[2].unwrap();
    assert!((3_000..7_000).contains(&humidity), "{humidity}");
}

#[test]
fn a_chip_that_lost_its_power_for_a_moment_gives_no_nonsense() {
    let mut chip = Chip::new(0x60);
    let before = measure(&mut Bme280::new(&mut chip, NoopDelay::new())).unwrap();
    chip.is_there = false;
    assert_eq!(measure(&mut Bme280::new(&mut chip, NoopDelay::new())), Err(Fault::Bus));
    chip.is_there = true;
    chip.reset();
    assert_eq!(measure(&mut Bme280::new(&mut chip, NoopDelay::new())).unwrap(), before);
}

#[test]
fn a_bmp280_has_no_humidity_and_another_chip_no_reading() {
    let mut chip = Chip::new(0x58);
    chip.registers[0xa1] = 0;
    chip.registers[0xe1..0xe8].fill(0);
    chip.registers[0xfd..0xff].copy_from_slice(&[0x80, 0x00]);
    let values = measure(&mut Bme280::new(&mut chip, NoopDelay::new())).unwrap();
    assert_eq!(values, [Some(2_508), Some(100_653), None]);

    let mut other = Chip::new(0x55);
    assert_eq!(measure(&mut Bme280::new(&mut other, NoopDelay::new())), Err(Fault::Answer));
}
