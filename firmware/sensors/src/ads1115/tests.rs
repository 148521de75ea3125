use super::*;
use crate::testing::measure;
use embedded_hal::i2c::{ErrorKind, ErrorType, Operation};
use embedded_hal_mock::eh1::delay::NoopDelay;

/// An ADS1115 as its data sheet describes it: a conversion is started by the highest bit of the configuration, the
/// multiplexer chooses the input, and the bit reads as 1 once it is done.
struct Chip {
    inputs_mv: [i32; 4],
    config: u16,
    result: i16,
    /// Looks until a conversion is done.
    takes: u32,
    looks: u32,
    is_there: bool,
}

impl Chip {
    fn new(inputs_mv: [i32; 4]) -> Self {
        Self { inputs_mv, config: 0x8583, result: 0, takes: 1, looks: 0, is_there: true }
    }

    fn start(&mut self, config: u16) {
        self.config = config;
        self.looks = self.takes;
        let mux = usize::from(config >> 12 & 0b111);
        let full_scale = [6_144, 4_096, 2_048, 1_024, 512, 256][usize::from(config >> 9 & 0b111)];
        let input = |at: usize| mux.checked_sub(at).map_or(0, |mux| self.inputs_mv[mux]);
        // Below 4 it is the difference of two inputs.
        let counts = input(4) * (1 << 15) / full_scale;
        self.result = i16::try_from(counts.clamp(-(1 << 15), (1 << 15) - 1)).unwrap();
    }
}

impl ErrorType for Chip {
    type Error = ErrorKind;
}

impl I2c for Chip {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        assert_eq!(address, 0x49);
        if !self.is_there {
            return Err(ErrorKind::Bus);
        }
        let mut at = 0;
        for operation in operations {
            match operation {
                Operation::Write([register]) => at = *register,
                Operation::Write([1, high, low]) => {
                    let config = u16::from_be_bytes([*high, *low]);
                    if config & 0x8000 == 0 { self.config = config } else { self.start(config) }
                }
                Operation::Write(other) => panic!("write of {other:02x?}"),
                Operation::Read(out) if at == 0 => out.copy_from_slice(&self.result.to_be_bytes()),
                Operation::Read(out) => {
                    let done = self.looks == 0;
                    self.looks = self.looks.saturating_sub(1);
                    let config = if done { self.config | 0x8000 } else { self.config & 0x7fff };
                    out.copy_from_slice(&config.to_be_bytes());
                }
            }
        }
        Ok(())
    }
}

fn sensor(chip: &mut Chip) -> Ads1115<&mut Chip, NoopDelay> {
    Ads1115::new(chip, NoopDelay::new(), TargetAddr::Vdd, FullScaleRange::Within4_096V)
}

#[test]
fn four_inputs_are_measured_one_after_the_other() {
    let mut chip = Chip::new([0, 1_234, 3_300, 4_000]);
    assert_eq!(
        measure(&mut sensor(&mut chip)),
        Ok(std::vec![Some(0), Some(12_340), Some(33_000), Some(40_000)])
    );
    assert_eq!(chip.config >> 5 & 0b111, 0b111, "860 conversions a second");
    assert_eq!(chip.config >> 9 & 0b111, 0b001, "4.096 V");
}

#[test]
fn a_converter_that_never_ends_is_given_up() {
    let mut chip = Chip { takes: 1_000, ..Chip::new([1; 4]) };
    assert_eq!(measure(&mut sensor(&mut chip)), Err(Fault::Answer));
}

#[test]
fn a_chip_that_is_not_there_is_a_fault_of_the_bus() {
    let mut chip = Chip { is_there: false, ..Chip::new([1; 4]) };
    assert_eq!(measure(&mut sensor(&mut chip)), Err(Fault::Bus));
}

#[test]
fn counts_of_both_signs_are_rounded() {
    for (counts, full_scale, expected) in
        [(i16::MAX, 4_096, 40_959), (i16::MIN, 4_096, -40_960), (1, 2_048, 1), (-1, 2_048, -1), (3, 256, 0)]
    {
        assert_eq!(tenths_mv(counts, full_scale), expected, "{counts} of {full_scale} mV");
    }
}
