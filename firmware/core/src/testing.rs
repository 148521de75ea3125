//! NOR flash in memory with the properties that matter: writes only clear bits, erasing works by the page, a word of
//! flash with ECC is programmed once between erases, and the power can go at any byte of a write or an erase.
//!
//! In: seeds and budgets. Out: what flash would hold. Invariant: what breaks a rule of the chip panics, because it
//! would be a bug of the code under test. Host only.

use embedded_storage_async::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// xorshift64: the one source of chance in tests.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Equal seeds give equal sequences.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`, which is at least 1.
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next_u64() >> 16) % n
    }

    /// True once in `one_in` times; never for 0.
    pub fn chance(&mut self, one_in: u64) -> bool {
        one_in != 0 && self.below(one_in) == 0
    }
}

/// Why a flash operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashFault {
    /// The power is gone; nothing works until [`FlashModel::power_up`].
    PowerCut,
    /// Beyond the chip.
    Bounds,
    /// The chip refused: as asked by [`FlashModel::refuse`], or to program a word that a power cut left half done.
    Refused,
}

impl fmt::Display for FlashFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PowerCut => "power is gone",
            Self::Bounds => "address is beyond the chip",
            Self::Refused => "chip refused",
        })
    }
}

impl std::error::Error for FlashFault {}

impl NorFlashError for FlashFault {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::PowerCut | Self::Refused => NorFlashErrorKind::Other,
            Self::Bounds => NorFlashErrorKind::OutOfBounds,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Erased,
    Programmed,
    /// Its programming was cut before a bit changed: it reads as erased, but the chip knows better and refuses.
    Doubtful,
}

/// A chip with pages of `PAGE` bytes and words of `WORD` bytes.
#[derive(Clone, Debug)]
pub struct FlashModel<const PAGE: usize, const WORD: usize> {
    bytes: Vec<u8>,
    words: Vec<Word>,
    erases: Vec<u32>,
    written: u64,
    cut_after: Option<u64>,
    refusals: u32,
    worn: Option<usize>,
    dead: bool,
    ecc: bool,
    rng: Rng,
}

impl<const PAGE: usize, const WORD: usize> FlashModel<PAGE, WORD> {
    /// A new chip: erased, with ECC, the power on. `seed` decides what a torn byte looks like.
    pub fn erased(pages: usize, seed: u64) -> Self {
        Self {
            bytes: vec![0xff; pages * PAGE],
            words: vec![Word::Erased; pages * PAGE / WORD],
            erases: vec![0; pages],
            written: 0,
            cut_after: None,
            refusals: 0,
            worn: None,
            dead: false,
            ecc: true,
            rng: Rng::new(seed),
        }
    }

    /// A chip that holds `content` from its start on, as another firmware left it.
    pub fn holding(content: &[u8], pages: usize, seed: u64) -> Self {
        let mut chip = Self::erased(pages, seed);
        chip.bytes[..content.len()].copy_from_slice(content);
        chip.words[..content.len().div_ceil(WORD)].fill(Word::Programmed);
        chip
    }

    /// The power comes back; nothing is planned to fail.
    pub fn power_up(&mut self) {
        (self.dead, self.cut_after, self.refusals) = (false, None, 0);
    }

    /// The power goes after `bytes` more written or erased bytes.
    pub fn cut_after(&mut self, bytes: u64) {
        self.cut_after = Some(bytes);
    }

    /// The power goes now.
    pub fn cut(&mut self) {
        self.dead = true;
    }

    /// The next `operations` writes or erases fail without effect.
    pub fn refuse(&mut self, operations: u32) {
        self.refusals = operations;
    }

    /// From now on a page takes no erasing any more.
    pub fn wear_out(&mut self, page: usize) {
        self.worn = Some(page);
    }

    /// Whether the power is gone.
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// Bytes of the chip.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes programmed since the chip was made.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How often each page was erased.
    pub fn erases(&self) -> &[u32] {
        &self.erases
    }

    /// What the chip holds, to be damaged at will.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn begin(&mut self) -> Result<(), FlashFault> {
        if self.dead {
            return Err(FlashFault::PowerCut);
        }
        if let Some(left) = self.refusals.checked_sub(1) {
            self.refusals = left;
            return Err(FlashFault::Refused);
        }
        Ok(())
    }

    /// Takes one byte of the budget.
    fn spend(&mut self) -> Result<(), FlashFault> {
        match &mut self.cut_after {
            Some(0) => {
                self.dead = true;
                Err(FlashFault::PowerCut)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Reads; the chip never waits.
    ///
    /// # Errors
    /// Without power or beyond the chip.
    pub fn read_now(&self, offset: u32, out: &mut [u8]) -> Result<(), FlashFault> {
        if self.dead {
            return Err(FlashFault::PowerCut);
        }
        let at = offset as usize;
        out.copy_from_slice(self.bytes.get(at..at + out.len()).ok_or(FlashFault::Bounds)?);
        Ok(())
    }

    /// Erases whole pages.
    ///
    /// # Errors
    /// Without power, when it goes meanwhile, or when refused.
    pub fn erase_now(&mut self, from: u32, to: u32) -> Result<(), FlashFault> {
        self.begin()?;
        let (from, to) = (from as usize, to as usize);
        assert!(from.is_multiple_of(PAGE) && to.is_multiple_of(PAGE), "erase of a part of a page");
        if to > self.bytes.len() {
            return Err(FlashFault::Bounds);
        }
        for page in (from..to).step_by(PAGE) {
            if self.worn == Some(page / PAGE) {
                return Err(FlashFault::Refused);
            }
            self.erases[page / PAGE] += 1;
            // No chip promises an order: a torn erase may leave the beginning of the page, or its end.
            let backwards = self.rng.chance(2);
            for i in 0..PAGE {
                let at = if backwards { page + PAGE - 1 - i } else { page + i };
                if let Err(fault) = self.spend() {
                    // Cells on their way to erased may read as anything.
                    self.bytes[at] |= self.rng.next_u64().to_le_bytes()[0];
                    return Err(fault);
                }
                self.bytes[at] = 0xff;
            }
            // Only a whole erase makes words programmable again.
            self.words[page / WORD..(page + PAGE) / WORD].fill(Word::Erased);
        }
        Ok(())
    }

    /// Programs whole words.
    ///
    /// # Errors
    /// Without power, when it goes meanwhile, or when refused.
    pub fn write_now(&mut self, offset: u32, data: &[u8]) -> Result<(), FlashFault> {
        self.begin()?;
        let start = offset as usize;
        assert!(start.is_multiple_of(WORD) && data.len().is_multiple_of(WORD), "write of a part of a word");
        if start + data.len() > self.bytes.len() {
            return Err(FlashFault::Bounds);
        }
        for (at, &byte) in (start..).zip(data) {
            let word = at / WORD;
            if at.is_multiple_of(WORD) {
                match self.words[word] {
                    Word::Erased => self.words[word] = Word::Programmed,
                    Word::Programmed if !self.ecc => {}
                    Word::Programmed => panic!("a word at {at:#x} was programmed twice"),
                    Word::Doubtful => return Err(FlashFault::Refused),
                }
            }
            if let Err(fault) = self.spend() {
                // Some of the bits made it.
                self.bytes[at] &= byte | self.rng.next_u64().to_le_bytes()[0];
                if self.bytes[word * WORD..(word + 1) * WORD].iter().all(|&byte| byte == 0xff) {
                    self.words[word] = Word::Doubtful;
                }
                return Err(fault);
            }
            assert!(byte & !self.bytes[at] == 0, "a bit at {at:#x} was to be set without erasing");
            self.bytes[at] &= byte;
            self.written += 1;
        }
        Ok(())
    }
}

/// Delegates the flash traits to whatever gives access to a model.
macro_rules! nor_flash {
    ($type:ty, |$this:ident| $chip:expr) => {
        impl<const PAGE: usize, const WORD: usize> ErrorType for $type {
            type Error = FlashFault;
        }
        impl<const PAGE: usize, const WORD: usize> ReadNorFlash for $type {
            const READ_SIZE: usize = 1;
            async fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), FlashFault> {
                let $this = self;
                $chip.read_now(offset, out)
            }
            fn capacity(&self) -> usize {
                let $this = self;
                $chip.bytes.len()
            }
        }
        impl<const PAGE: usize, const WORD: usize> NorFlash for $type {
            const WRITE_SIZE: usize = WORD;
            const ERASE_SIZE: usize = PAGE;
            async fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashFault> {
                let $this = self;
                $chip.erase_now(from, to)
            }
            async fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), FlashFault> {
                let $this = self;
                $chip.write_now(offset, data)
            }
        }
    };
}

/// A chip that outlives the device soldered to it, on one thread.
#[derive(Clone, Debug)]
pub struct SharedFlash<const PAGE: usize, const WORD: usize>(pub Rc<RefCell<FlashModel<PAGE, WORD>>>);

/// A chip that outlives the device soldered to it, across threads.
#[derive(Clone, Debug)]
pub struct SyncFlash<const PAGE: usize, const WORD: usize>(pub Arc<Mutex<FlashModel<PAGE, WORD>>>);

nor_flash!(FlashModel<PAGE, WORD>, |this| this);
nor_flash!(SharedFlash<PAGE, WORD>, |this| this.0.borrow_mut());
nor_flash!(SyncFlash<PAGE, WORD>, |this| this.0.lock().expect("no holder of this lock panics"));
