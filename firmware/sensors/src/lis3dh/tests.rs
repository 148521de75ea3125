use super::*;
use crate::testing::{get, measure};
use embedded_hal_mock::eh1::i2c::Mock;

// The register file matters here, not the order in which a driver writes it: a chip with registers answers.
use chip::Registers;

mod chip {
    use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, Operation};

    /// A LIS3DH as its data sheet describes its registers.
    pub(super) struct Registers {
        pub(super) bytes: [u8; 0x80],
        pub(super) written: usize,
    }

    impl Registers {
        pub(super) fn at_rest(x: i16, y: i16, z: i16) -> Self {
            let mut bytes = [0; 0x80];
            bytes[0x0f] = 0x33; // WHO_AM_I
            bytes[0x20] = 0x07; // CTRL_REG1 after power came on
            bytes[0x27] = 0x0f; // STATUS_REG: all axes have data
            for (at, value) in [(0x28, x), (0x2a, y), (0x2c, z)] {
                // Left aligned, twelve bits in high resolution.
                bytes[at..at + 2].copy_from_slice(&(value << 4).to_le_bytes());
            }
            Self { bytes, written: 0 }
        }
    }

    impl ErrorType for Registers {
        type Error = ErrorKind;
    }

    impl I2c for Registers {
        fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
            assert_eq!(address, 0x19);
            let mut at = 0;
            for operation in operations {
                match operation {
                    // The highest bit of a register's address stands for counting on.
                    Operation::Write([register]) => at = usize::from(register & 0x7f),
                    Operation::Write([register, value]) => {
                        self.bytes[usize::from(*register)] = *value;
                        self.written += 1;
                    }
                    Operation::Write(other) => panic!("write of {other:02x?}"),
                    Operation::Read(out) => out.copy_from_slice(&self.bytes[at..at + out.len()]),
                }
            }
            Ok(())
        }
    }
}

#[test]
fn a_chip_at_rest_feels_one_g_downwards() {
    let mut chip = Registers::at_rest(0, -12, 1_002);
    assert_eq!(measure(&mut Lis3dh::secondary(&mut chip)), Ok(std::vec![Some(0), Some(-12), Some(1_002)]));
    assert_eq!(chip.bytes[0x20] & 0x0f, 0x07, "all axes are on, normal power");
    assert_ne!(chip.bytes[0x20] & 0xf0, 0, "a data rate is set");
}

#[test]
fn a_chip_that_forgot_its_settings_is_set_up_again() {
    let mut chip = Registers::at_rest(1, 2, 3);
    measure(&mut Lis3dh::secondary(&mut chip)).unwrap();
    let (settings, written) = (chip.bytes, chip.written);
    chip.bytes[0x20..0x26].fill(0);
    measure(&mut Lis3dh::secondary(&mut chip)).unwrap();
    assert_eq!(chip.bytes, settings);
    assert!(chip.written > written);
}

#[test]
fn before_its_first_measurement_it_has_nothing_new() {
    let mut chip = Registers::at_rest(1, 2, 3);
    chip.bytes[0x27] = 0;
    assert_eq!(measure(&mut Lis3dh::secondary(&mut chip)), Err(Fault::NotReady));
}

#[test]
fn another_chip_at_its_address_is_not_read() {
    let mut bus = Mock::new(&[get(0x18, 0x0f, &[0x32])]);
    assert_eq!(measure(&mut Lis3dh::new(&mut bus)), Err(Fault::Answer));
    bus.done();
}
