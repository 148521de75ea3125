//! Records on flash pages: the one codec of the ring, of the settings area and of the vault.
//!
//! ```text
//! record | len u16 | kind u8 | format u8 = 1 | CRC-32/ISCSI u32 | payload: len bytes | 0 up to a whole word |
//! ```
//! Integers little endian; the checksum covers the first four bytes and the payload. Erased flash reads as a length
//! of 0xffff, which no record has. Invariant: every word is programmed at most once between two erases, so flash
//! with ECC works. Not here: which page comes next, what a payload means.

use crate::limits::{PAGE_BYTES_MIN, RECORD_BYTES_MAX, RECORD_PREFIX_BYTES, SCRATCH_BYTES, WORD_BYTES_MAX};
use embedded_storage_async::nor_flash::NorFlash;
use serde::Serialize;

const FORMAT: u8 = 1;
const ERASED: u16 = 0xffff;
pub(crate) const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

/// What a record is. The numbers are on flash: never change or reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    RingHeader = 0xa7,
    Data = 0xd1,
    Mark = 0xc2,
    AreaHeader = 0xb1,
    Boot = 0xb4,
    Config = 0xe8,
    Orders = 0x9a,
    VaultHeader = 0xa5,
    VaultPart = 0x95,
    VaultEnd = 0x9c,
    /// Of newer firmware, whatever number it has on flash: passed over, so that what is behind it is found. Never written.
    Unknown = 0,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::RingHeader,
        Self::Data,
        Self::Mark,
        Self::AreaHeader,
        Self::Boot,
        Self::Config,
        Self::Orders,
        Self::VaultHeader,
        Self::VaultPart,
        Self::VaultEnd,
    ];

    fn from_byte(byte: u8) -> Self {
        Self::ALL.into_iter().find(|&kind| kind as u8 == byte).unwrap_or(Self::Unknown)
    }
}

/// A record that was read; its payload is in the scratch until the next access.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) len: usize,
    /// Offset in the page of what follows.
    pub(crate) next: u32,
}

/// A flash and the scratch that records pass through.
pub(crate) struct Io<F> {
    pub(crate) flash: F,
    scratch: [u8; SCRATCH_BYTES],
}

impl<F: NorFlash> Io<F> {
    pub(crate) const PAGE: u32 = to_u32(F::ERASE_SIZE);
    const WORD: usize = F::WRITE_SIZE;
    const FITS: () = {
        assert!(F::ERASE_SIZE >= PAGE_BYTES_MIN, "flash pages must have at least 1024 bytes");
        assert!(F::WRITE_SIZE <= WORD_BYTES_MAX, "flash words must have at most 32 bytes");
        assert!(F::READ_SIZE <= F::WRITE_SIZE, "flash must be readable by the word");
        assert!(F::ERASE_SIZE.is_multiple_of(F::WRITE_SIZE), "a page must be a number of words");
    };

    pub(crate) fn new(flash: F) -> Self {
        let () = Self::FITS;
        Self { flash, scratch: [0; SCRATCH_BYTES] }
    }

    /// The payload of the record found last.
    pub(crate) fn payload(&self, found: Found) -> &[u8] {
        &self.scratch[RECORD_PREFIX_BYTES..RECORD_PREFIX_BYTES + found.len]
    }

    /// Room of a record with this payload on a page.
    pub(crate) const fn padded(payload: usize) -> u32 {
        to_u32((RECORD_PREFIX_BYTES + payload).next_multiple_of(Self::WORD))
    }

    async fn fill(&mut self, address: u32, len: usize) -> Result<(), F::Error> {
        let len = len.next_multiple_of(F::READ_SIZE);
        self.flash.read(address, &mut self.scratch[..len]).await
    }

    /// The record at `offset` of the page at `page`, with its payload in the scratch; none where no whole record is.
    pub(crate) async fn read(&mut self, page: u32, offset: u32) -> Result<Option<Found>, F::Error> {
        if offset + to_u32(RECORD_PREFIX_BYTES) > Self::PAGE {
            return Ok(None);
        }
        self.fill(page + offset, RECORD_PREFIX_BYTES).await?;
        let [len_low, len_high, kind, format, c0, c1, c2, c3, ..] = self.scratch;
        let len = u16::from_le_bytes([len_low, len_high]);
        let size = RECORD_PREFIX_BYTES + usize::from(len);
        if len == ERASED || format != FORMAT || size > RECORD_BYTES_MAX {
            return Ok(None);
        }
        let next = offset + Self::padded(usize::from(len));
        if next > Self::PAGE {
            return Ok(None);
        }
        self.fill(page + offset, size).await?;
        let good = self.checksum(usize::from(len)) == u32::from_le_bytes([c0, c1, c2, c3]);
        let kind = Kind::from_byte(kind);
        Ok(good.then_some(Found { kind, len: usize::from(len), next }))
    }

    fn checksum(&self, len: usize) -> u32 {
        let mut digest = CRC.digest();
        digest.update(&self.scratch[..4]);
        digest.update(&self.scratch[RECORD_PREFIX_BYTES..RECORD_PREFIX_BYTES + len]);
        digest.finalize()
    }

    /// Puts a record together in the scratch and returns its padded size; `fill` writes the payload and returns its
    /// length, or none when it does not fit.
    pub(crate) fn seal(&mut self, kind: Kind, fill: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<u32> {
        let room = &mut self.scratch[RECORD_PREFIX_BYTES..RECORD_BYTES_MAX];
        let len = fill(room)?;
        self.close(kind, len)
    }

    /// As [`Io::seal`], for a payload that is one value.
    pub(crate) fn seal_value<T: Serialize>(&mut self, kind: Kind, value: &T) -> Option<u32> {
        self.seal(kind, |room| postcard::to_slice(value, room).ok().map(|bytes| bytes.len()))
    }

    fn close(&mut self, kind: Kind, len: usize) -> Option<u32> {
        let [low, high] = u16::try_from(len).ok()?.to_le_bytes();
        self.scratch[..4].copy_from_slice(&[low, high, kind as u8, FORMAT]);
        let checksum = self.checksum(len).to_le_bytes();
        self.scratch[4..RECORD_PREFIX_BYTES].copy_from_slice(&checksum);
        let size = Self::padded(len);
        self.scratch[RECORD_PREFIX_BYTES + len..size as usize].fill(0);
        Some(size)
    }

    /// Programs the sealed record. The target must be erased. Not to be cancelled.
    pub(crate) async fn write(&mut self, address: u32, size: u32) -> Result<(), F::Error> {
        self.flash.write(address, &self.scratch[..size as usize]).await
    }

    /// Erases one page. Not to be cancelled.
    pub(crate) async fn erase(&mut self, page: u32) -> Result<(), F::Error> {
        self.flash.erase(page, page + Self::PAGE).await
    }

    /// Whether the page is erased from `offset` to its end.
    pub(crate) async fn blank_from(&mut self, page: u32, mut offset: u32) -> Result<bool, F::Error> {
        const CHUNK: u32 = 256;
        while offset < Self::PAGE {
            let len = (Self::PAGE - offset).min(CHUNK) as usize;
            self.fill(page + offset, len).await?;
            if self.scratch[..len].iter().any(|&byte| byte != 0xff) {
                return Ok(false);
            }
            offset += CHUNK;
        }
        Ok(true)
    }
}

/// Flash offsets and page sizes fit 32 bits: `embedded-storage` addresses flash so.
pub(crate) const fn to_u32(len: usize) -> u32 {
    assert!(len <= u32::MAX as usize);
    #[expect(clippy::cast_possible_truncation, reason = "asserted just above; try_from is not const")]
    let len = len as u32;
    len
}
