//! The radio's firmware, which is not ours to ship: a person flashes it once, to a place of its own.
//!
//! In: 256 KiB of flash. Out: three parts, if they are whole. `radio-image` beside this crate makes the region; all numbers are
//! little-endian, every part begins at a multiple of four:
//! ```text
//! 0   8 bytes  "HWRADIO1"
//! 8   u32      bytes of the firmware   43439A0.bin
//! 12  u32      bytes of the tables of countries   43439A0_clm.bin
//! 16  u32      bytes of the settings of the board   nvram_rp2040.bin
//! 20  u32      CRC-32 (ISO-HDLC) of bytes 0 to 19 and of everything from 24 to the end of the third part
//! 24  ...      the parts
//! ```
//! Not here: the radio.

use core::ops::Range;
use crc::{CRC_32_ISO_HDLC, Crc};
use cyw43::{A4, Aligned};

/// Where it is, as the processor sees it; behind it are the device's own pages.
const REGION: Range<usize> = 0x1018_0000..0x101c_0000;

const MAGIC: &[u8; 8] = b"HWRADIO1";
const HEADER_BYTES: usize = 24;
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// What the radio needs to start.
pub(crate) struct Blob {
    pub(crate) firmware: &'static Aligned<A4, [u8]>,
    pub(crate) countries: &'static [u8],
    pub(crate) board: &'static Aligned<A4, [u8]>,
}

/// Looks for it.
pub(crate) fn find() -> Option<Blob> {
    // SAFETY: flash that is always mapped, that the linker gives nothing else (memory.x), and that this program never writes.
    #[expect(unsafe_code, reason = "memory that the linker does not know")]
    let region = unsafe { core::slice::from_raw_parts(REGION.start as *const u8, REGION.len()) };
    let [firmware, countries, board] = parts(region)?;
    Some(Blob { firmware: aligned(firmware)?, countries, board: aligned(board)? })
}

/// The three parts of a region that is whole.
fn parts(region: &[u8]) -> Option<[&[u8]; 3]> {
    let number = |at: usize| region.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    if !region.starts_with(MAGIC) {
        return None;
    }
    let mut parts = [&region[..0]; 3];
    let mut end = HEADER_BYTES;
    for (index, part) in parts.iter_mut().enumerate() {
        let bytes = usize::try_from(number(MAGIC.len() + 4 * index)?).ok()?;
        let start = end.checked_next_multiple_of(4)?;
        end = start.checked_add(bytes)?;
        *part = region.get(start..end).filter(|part| !part.is_empty())?;
    }
    let mut digest = CHECKSUM.digest();
    digest.update(&region[..HEADER_BYTES - 4]);
    digest.update(&region[HEADER_BYTES..end]);
    (digest.finalize() == number(HEADER_BYTES - 4)?).then_some(parts)
}

/// Bytes whose place is a multiple of four, as the radio's driver wants to know.
fn aligned(bytes: &'static [u8]) -> Option<&'static Aligned<A4, [u8]>> {
    if !bytes.as_ptr().addr().is_multiple_of(4) {
        return None;
    }
    let bytes = core::ptr::from_ref(bytes) as *const Aligned<A4, [u8]>;
    // SAFETY: `Aligned` is `repr(C)`: an array of no elements that only asks for alignment, checked above, and then the bytes.
    #[expect(unsafe_code, reason = "the driver's type cannot be made of bytes at an address")]
    let bytes = unsafe { &*bytes };
    Some(bytes)
}
