//! The bytes of one file, with holes: only pages that were written take memory.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Unit of allocation; larger than a sector, so that a map entry pays.
const PAGE_BYTES: usize = 4096;

type Page = [u8; PAGE_BYTES];

/// Sparse bytes with a length. A clone shares its pages until one side writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pages: BTreeMap<u64, Arc<Page>>,
    len: u64,
}

impl Content {
    /// Length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Up to `count` bytes from `offset`; fewer at the end, none behind it.
    pub(crate) fn read(&self, offset: u64, count: usize) -> Vec<u8> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; count.min(left)];
        for (page, within, range) in pieces(offset, bytes.len()) {
            if let Some(found) = self.pages.get(&page) {
                let count = range.len();
                bytes[range].copy_from_slice(&found[within..within + count]);
            }
        }
        bytes
    }

    /// Writes at `offset`; the file grows where it must, with a hole in between.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (page, within, range) in pieces(offset, bytes.len()) {
            let piece = &bytes[range];
            // What a formatting program or a journal fills with zeros stays a hole.
            if !self.pages.contains_key(&page) && piece.iter().all(|byte| *byte == 0) {
                continue;
            }
            let found = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(found)[within..within + piece.len()].copy_from_slice(piece);
        }
        self.grow(offset + bytes.len() as u64);
    }

    /// Makes the file at least this long; what is new reads as zeros.
    pub(crate) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Sets the length; what was cut off reads as zeros should the file grow again.
    pub(crate) fn resize(&mut self, len: u64) {
        if len < self.len {
            let page = PAGE_BYTES as u64;
            self.pages.split_off(&len.div_ceil(page));
            let within = usize::try_from(len % page).expect("below 4096");
            if let Some(last) = self.pages.get_mut(&(len / page)) {
                Arc::make_mut(last)[within..].fill(0);
            }
        }
        self.len = len;
    }
}

/// Cuts `count` bytes at `offset` at page boundaries: the page, where in it, and which of the bytes.
fn pieces(offset: u64, count: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        (done < count).then(|| {
            let at = offset + done as u64;
            let within = usize::try_from(at % PAGE_BYTES as u64).expect("below 4096");
            let start = done;
            done = count.min(start + PAGE_BYTES - within);
            (at / PAGE_BYTES as u64, within, start..done)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_across_pages_and_holes_read_as_zeros() {
        let mut content = Content::default();
        content.write(4090, b"over the edge");
        assert_eq!(content.len(), 4103);
        assert_eq!(content.read(4088, 100), b"\0\0over the edge");
        assert_eq!(content.read(5000, 10), b"");
    }

    #[test]
    fn what_was_cut_off_does_not_come_back() {
        let mut content = Content::default();
        content.write(0, &[7; 9000]);
        content.resize(5000);
        content.resize(9000);
        assert_eq!(content.read(4999, 3), [7, 0, 0]);
        assert_eq!(content.read(8999, 9), [0]);
    }
}
