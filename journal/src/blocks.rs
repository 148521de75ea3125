//! A growable byte buffer whose memory is aligned to, and handed to the disk in, whole 4 KiB blocks.
//!
//! In: bytes to append. Out: the bytes, or the bytes padded to whole blocks.
//! Invariant: the memory starts on a 4 KiB boundary and its size is a multiple of 4 KiB, as direct I/O demands.
//! Not here: any idea of what the bytes mean.

use bytemuck::{Pod, Zeroable};

/// Bytes in one block: the unit of alignment in memory and on disk.
pub const BLOCK_BYTES: usize = 4096;

/// One aligned block of memory.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(4096))]
struct Block([u8; BLOCK_BYTES]);

/// Growable, block-aligned bytes.
///
/// `clear` keeps the memory, so a buffer that is used again costs neither an allocation nor zeroing.
#[derive(Default)]
pub struct Blocks {
    // Invariant: `len <= blocks.len() * BLOCK_BYTES`. Bytes past `len` are whatever they were before.
    blocks: Vec<Block>,
    len: usize,
}

impl Blocks {
    /// An empty buffer without memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A buffer of `len` zero bytes.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let mut blocks = Self::new();
        blocks.resize(len);
        blocks
    }

    /// Bytes in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no byte is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory held, in use or not.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.blocks.capacity() * BLOCK_BYTES
    }

    /// Forgets the content and keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The bytes in use.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &bytemuck::cast_slice::<Block, u8>(&self.blocks)[..self.len]
    }

    /// The bytes in use, to change in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut::<Block, u8>(&mut self.blocks)[..self.len]
    }

    /// Appends `bytes`.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.hold(end);
        bytemuck::cast_slice_mut::<Block, u8>(&mut self.blocks)[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    /// Makes the length `len`; bytes gained are zero.
    pub fn resize(&mut self, len: usize) {
        if len > self.len {
            let old = self.len;
            self.hold(len);
            bytemuck::cast_slice_mut::<Block, u8>(&mut self.blocks)[old..len].fill(0);
        }
        self.len = len;
    }

    /// Makes the length `len` and leaves bytes gained as they are, for a read that fills them all.
    pub(crate) fn set_len(&mut self, len: usize) {
        self.hold(len);
        self.len = len;
    }

    /// Appends zeros up to the next block boundary.
    pub fn pad(&mut self) {
        self.resize(self.len.next_multiple_of(BLOCK_BYTES));
    }

    /// Makes sure that `bytes` bytes fit, growing by at least half so that appends stay cheap.
    fn hold(&mut self, bytes: usize) {
        let blocks = bytes.div_ceil(BLOCK_BYTES);
        if blocks > self.blocks.len() {
            let grown = blocks.max(self.blocks.len() + self.blocks.len() / 2);
            self.blocks.resize(grown, Block([0; BLOCK_BYTES]));
        }
    }
}

impl From<&[u8]> for Blocks {
    fn from(bytes: &[u8]) -> Self {
        let mut blocks = Self::new();
        blocks.extend_from_slice(bytes);
        blocks
    }
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocks").field("len", &self.len).field("capacity", &self.capacity()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_padding_is_zero_after_reuse() {
        // A buffer that held ones before must not leak them into the padding of the next group.
        let mut blocks = Blocks::new();
        blocks.extend_from_slice(&[1; 10_000]);
        assert_eq!(blocks.as_slice().as_ptr().align_offset(BLOCK_BYTES), 0);
        blocks.clear();
        blocks.extend_from_slice(&[2; 5]);
        blocks.pad();
        assert_eq!(blocks.len(), BLOCK_BYTES);
        assert_eq!(&blocks.as_slice()[..5], &[2; 5]);
        assert!(blocks.as_slice()[5..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn growth_keeps_the_content() {
        let mut blocks = Blocks::new();
        for value in 0..=255u8 {
            blocks.extend_from_slice(&[value; 100]);
        }
        for value in 0..=255u8 {
            let start = usize::from(value) * 100;
            assert_eq!(&blocks.as_slice()[start..start + 100], &[value; 100]);
        }
    }
}
