//! What a board's flash is to hold for a device to be somebody, made on a host. Feature `image`.
//!
//! In: a board's [`Partition`], a configuration, credentials. Out: bytes, and where flashing tools are to put them: the
//! settings area and the vault, which lie one behind the other. Invariant: made by the device's own code
//! ([`Provision`]), for the board's word and page size. Holds secrets: treat it like a key file. Not here: UF2.

use crate::partition::Partition;
use crate::{FlashError, OpenError, Provision};
use embassy_futures::block_on;
use embedded_storage_async::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use headwater_telemetry::{Config, Credentials};
use std::fmt;
use std::vec::Vec;

/// Bytes for a chip.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// Where they go: as flashing tools count, with [`Partition::base`].
    pub address: u32,
    /// Whole pages; what is not used is as erased.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({} bytes at {:#x})", self.bytes.len(), self.address)
    }
}

/// Why there is no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// The partition has a word or page size that this code makes no images for.
    Board {
        /// Its words.
        word_bytes: u32,
        /// Its pages.
        page_bytes: u32,
    },
    /// The partition does not lie in whole pages, or its regions are too small.
    Layout,
    /// A period or an age that a device refuses.
    Config,
    /// Credentials that are too long, have an empty field or a name with blanks, or a board without a vault.
    Credentials,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Board { word_bytes, page_bytes } => {
                write!(f, "board has words of {word_bytes} and pages of {page_bytes} bytes, images are made for words of 1, 4 or 8 and pages of {PAGE}")
            }
            Self::Layout => f.write_str("partition is not made of whole pages, or has too few"),
            Self::Config => f.write_str("configuration has a period or an age that a device refuses"),
            Self::Credentials => f.write_str(
                "credentials are too long, have an empty field or blanks in the name, or the board has no place for them",
            ),
        }
    }
}

impl std::error::Error for ImageError {}

/// The image of a board that was never used, with this configuration and these credentials, if any. It counts no start:
/// the board's first one begins counting as on an erased chip.
///
/// # Errors
/// When the board, the configuration or the credentials do not allow it.
pub fn make(
    partition: &Partition,
    config: &Config,
    credentials: Option<&Credentials<'_>>,
) -> Result<Image, ImageError> {
    let Partition { word_bytes, page_bytes, .. } = *partition;
    match (word_bytes, page_bytes as usize) {
        (1, PAGE) => block_on(fill::<1>(partition, config, credentials)),
        (4, PAGE) => block_on(fill::<4>(partition, config, credentials)),
        (8, PAGE) => block_on(fill::<8>(partition, config, credentials)),
        _ => Err(ImageError::Board { word_bytes, page_bytes }),
    }
}

/// That of every board so far.
const PAGE: usize = 4096;

async fn fill<const WORD: usize>(
    partition: &Partition,
    config: &Config,
    credentials: Option<&Credentials<'_>>,
) -> Result<Image, ImageError> {
    let layout = partition.layout.clone();
    if layout.area.end != layout.vault.start || layout.area.start > layout.vault.end {
        return Err(ImageError::Layout);
    }
    let (start, capacity) = (layout.area.start, layout.ring.end.max(layout.vault.end) as usize);
    let bytes = vec![0xff; (layout.vault.end - start) as usize];
    let flash = Memory::<WORD> { start, capacity, bytes };
    let opened = Provision::open(flash, layout).await;
    let mut provision = opened.map_err(|error| match error {
        OpenError::Layout | OpenError::Driver(Beyond) => ImageError::Layout,
    })?;
    provision.store_config(config).await.map_err(|error| match error {
        FlashError::Driver(Beyond) => ImageError::Layout,
        FlashError::TooLong | FlashError::Refused | FlashError::Damaged => ImageError::Config,
    })?;
    if let Some(credentials) = credentials {
        provision.store_credentials(credentials).await.map_err(|_| ImageError::Credentials)?;
    }
    let Memory { bytes, .. } = provision.into_flash();
    Ok(Image { address: partition.base + start, bytes })
}

/// The first regions of a chip, in memory.
struct Memory<const WORD: usize> {
    start: u32,
    capacity: usize,
    bytes: Vec<u8>,
}

/// An access outside the regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beyond;

impl NorFlashError for Beyond {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::OutOfBounds
    }
}

impl<const WORD: usize> Memory<WORD> {
    fn at(&mut self, offset: u32, len: usize) -> Result<&mut [u8], Beyond> {
        let at = offset.checked_sub(self.start).ok_or(Beyond)? as usize;
        self.bytes.get_mut(at..at + len).ok_or(Beyond)
    }
}

impl<const WORD: usize> ErrorType for Memory<WORD> {
    type Error = Beyond;
}

impl<const WORD: usize> ReadNorFlash for Memory<WORD> {
    const READ_SIZE: usize = 1;
    async fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Beyond> {
        out.copy_from_slice(self.at(offset, out.len())?);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.capacity
    }
}

impl<const WORD: usize> NorFlash for Memory<WORD> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;
    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Beyond> {
        self.at(from, to.saturating_sub(from) as usize)?.fill(0xff);
        Ok(())
    }
    async fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), Beyond> {
        self.at(offset, data.len())?.copy_from_slice(data);
        Ok(())
    }
}
