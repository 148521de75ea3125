//! The external RAM of the board as NOR flash: QEMU maps it to a file of the host, so it outlives the machine, killed or not.
//!
//! In: the traits of `embedded-storage-async`. Out: bytes of the file. Invariant: writing only clears bits, erasing works
//! by the page, as with a flash chip; what was written is in the file before the call returns. Not here: what is where
//! (`headwater_device::partition`).

use core::sync::atomic::{Ordering, compiler_fence};
use embedded_storage_async::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use headwater_device::partition::QEMU_MPS2;

/// The first 256 KiB of the 16 MiB of PSRAM.
const START: usize = 0x2100_0000;
const BYTES: usize = 256 << 10;

const _: () = assert!(QEMU_MPS2.layout.ring.end as usize <= BYTES, "the partition is inside the flash");
const _: () = assert!(QEMU_MPS2.page_bytes as usize == Flash::ERASE_SIZE, "host tools use the same page");
const _: () = assert!(QEMU_MPS2.word_bytes as usize == Flash::WRITE_SIZE, "host tools use the same word");

/// The whole chip.
pub(crate) struct Flash(&'static mut [u8; BYTES]);

impl Flash {
    /// Takes the chip.
    ///
    /// # Safety
    /// Called once.
    #[expect(unsafe_code, reason = "memory that the linker does not know")]
    pub(crate) unsafe fn take() -> Self {
        // SAFETY: RAM of the machine that `memory.x` does not give to the program; every byte pattern is a `[u8]`;
        // by the caller's promise nobody else holds it.
        Self(unsafe { &mut *(START as *mut [u8; BYTES]) })
    }

    /// The cells from `from` up to `to`, both multiples of `unit`.
    fn cells(&mut self, from: usize, to: usize, unit: usize) -> Result<&mut [u8], NorFlashErrorKind> {
        if !from.is_multiple_of(unit) || !to.is_multiple_of(unit) {
            return Err(NorFlashErrorKind::NotAligned);
        }
        self.0.get_mut(from..to).ok_or(NorFlashErrorKind::OutOfBounds)
    }
}

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, from: u32, out: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        let from = from as usize;
        out.copy_from_slice(self.cells(from, from + out.len(), Self::READ_SIZE)?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        BYTES
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        self.cells(from as usize, to as usize, Self::ERASE_SIZE)?.fill(0xff);
        written();
        Ok(())
    }

    async fn write(&mut self, from: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        let from = from as usize;
        let cells = self.cells(from, from + bytes.len(), Self::WRITE_SIZE)?;
        for (cell, byte) in cells.iter_mut().zip(bytes) {
            *cell &= byte;
        }
        written();
        Ok(())
    }
}

/// The compiler may not keep back what was written, nor swap it with what comes later: a kill may come between.
fn written() {
    compiler_fence(Ordering::SeqCst);
}
