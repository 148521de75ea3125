//! What one simulated file holds: what readers see, what is on the platter, and the writes in between.
//!
//! In: whole blocks. Out: bytes. Always: `durable` names every page whose platter content differs from what readers see.
//! Not here: names, faults, and which fate a pending write meets (the disk chooses).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::Fate;

/// What one write covers at least: the block of the [`crate::blocks::Blocks`] it comes from.
pub(super) const PAGE_BYTES: usize = 4096;
/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
const SECTORS_PER_PAGE: u64 = 8;
const _: () = assert!(PAGE_BYTES == SECTOR_BYTES * 8);

/// Shared, so that a pending write, the page table and a copy of the whole disk cost one allocation together.
pub(super) type Page = Arc<[u8; PAGE_BYTES]>;

/// A write that no sync has covered yet.
#[derive(Clone)]
pub(super) struct PendingWrite {
    pub(super) first_page: u64,
    pub(super) pages: Vec<Page>,
    len_after: u64,
}

impl PendingWrite {
    pub(super) fn offset(&self) -> u64 {
        self.first_page * PAGE_BYTES as u64
    }

    pub(super) fn len(&self) -> u64 {
        (self.pages.len() * PAGE_BYTES) as u64
    }

    pub(super) fn sectors(&self) -> u64 {
        self.pages.len() as u64 * SECTORS_PER_PAGE
    }
}

/// A file without a name. Absent pages are zeros.
#[derive(Clone, Default)]
pub(super) struct Content {
    pages: BTreeMap<u64, Page>,
    len: u64,
    durable: BTreeMap<u64, Option<Page>>,
    durable_len: u64,
    pending: Vec<PendingWrite>,
}

impl Content {
    pub(super) fn zeros(len: u64) -> Self {
        Self { len, durable_len: len, ..Self::default() }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn pending(&self) -> &[PendingWrite] {
        &self.pending
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.len);
        if end.is_none() {
            let found = format!("read of {} bytes at {offset} of a file of {} bytes", buf.len(), self.len);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, found));
        }
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let within = usize::try_from(at % PAGE_BYTES as u64).expect("less than a page");
            let (part, tail) = rest.split_at_mut((PAGE_BYTES - within).min(rest.len()));
            match self.pages.get(&(at / PAGE_BYTES as u64)) {
                Some(page) => part.copy_from_slice(&page[within..within + part.len()]),
                None => part.fill(0),
            }
            at += part.len() as u64;
            rest = tail;
        }
        Ok(())
    }

    /// Writes whole pages; readers see them at once, a power cut may not.
    pub(super) fn write(&mut self, first_page: u64, pages: Vec<Page>) {
        for (number, page) in (first_page..).zip(&pages) {
            let before = self.pages.insert(number, Arc::clone(page));
            self.durable.entry(number).or_insert(before);
        }
        let end = (first_page + pages.len() as u64) * PAGE_BYTES as u64;
        self.len = self.len.max(end);
        self.pending.push(PendingWrite { first_page, pages, len_after: end });
    }

    /// Only the first `sectors` sectors of a write: what a short write leaves.
    pub(super) fn write_head(&mut self, first_page: u64, pages: &[Page], sectors: u64) {
        let kept = sectors.div_ceil(SECTORS_PER_PAGE);
        let head = (0..kept).zip(pages).map(|(index, page)| {
            let old = self.pages.get(&(first_page + index));
            mixed(old, page, |sector| index * SECTORS_PER_PAGE + sector < sectors)
        });
        let head: Vec<Page> = head.collect();
        if !head.is_empty() {
            self.write(first_page, head);
        }
    }

    /// The pending writes reach the platter.
    pub(super) fn sync(&mut self) {
        for write in self.pending.drain(..) {
            for number in write.first_page..write.first_page + write.pages.len() as u64 {
                self.durable.remove(&number);
            }
            self.durable_len = self.durable_len.max(write.len_after);
        }
    }

    /// A sync that failed and forgot its writes: each meets its fate, and none is pending any more.
    ///
    /// Readers still see them (as from a page cache whose pages were marked clean) unless `reverted`.
    pub(super) fn sync_lost(&mut self, fates: &[Fate], reverted: bool) {
        let seen = (self.pages.clone(), self.len);
        let touched: Vec<u64> = self.durable.keys().copied().collect();
        self.cut(fates);
        if reverted {
            return;
        }
        let platter = std::mem::replace(&mut self.pages, seen.0);
        self.len = seen.1;
        for number in touched {
            self.durable.insert(number, platter.get(&number).cloned());
        }
    }

    /// Power goes: the platter is what remains, with each pending write according to its fate.
    pub(super) fn cut(&mut self, fates: &[Fate]) {
        for (number, page) in std::mem::take(&mut self.durable) {
            match page {
                Some(page) => self.pages.insert(number, page),
                None => self.pages.remove(&number),
            };
        }
        self.len = self.durable_len;
        let pending = std::mem::take(&mut self.pending);
        assert_eq!(pending.len(), fates.len(), "one fate for each pending write");
        for (write, fate) in pending.into_iter().zip(fates) {
            if !matches!(fate, Fate::Lost) {
                self.len = self.len.max(write.len_after);
                self.settle(&write, *fate);
            }
        }
        self.durable_len = self.len;
        // What a lost length has cut off reads as zeros if the file grows again.
        let end = self.len.div_ceil(PAGE_BYTES as u64);
        drop(self.pages.split_off(&end));
    }

    fn settle(&mut self, write: &PendingWrite, fate: Fate) {
        for (index, new) in (0..).zip(&write.pages) {
            let number = write.first_page + index;
            let first_sector = index * SECTORS_PER_PAGE;
            let page = match fate {
                Fate::Kept => Arc::clone(new),
                Fate::Lost => continue,
                Fate::Head { sectors } => {
                    mixed(self.pages.get(&number), new, |sector| first_sector + sector < sectors)
                }
                Fate::Sectors { mask } => mixed(self.pages.get(&number), new, |sector| {
                    mask >> ((first_sector + sector) % 64) & 1 == 1
                }),
            };
            self.pages.insert(number, page);
        }
    }

    /// Damages one bit, on the platter and for readers.
    pub(super) fn flip(&mut self, offset: u64, bit: u8) {
        let number = offset / PAGE_BYTES as u64;
        let within = usize::try_from(offset % PAGE_BYTES as u64).expect("less than a page");
        let flipped = |page: Option<&Page>| {
            let mut bytes = page.map_or([0; PAGE_BYTES], |page| **page);
            bytes[within] ^= 1 << (bit % 8);
            Page::new(bytes)
        };
        let page = flipped(self.pages.get(&number));
        self.pages.insert(number, page);
        if let Some(durable) = self.durable.get_mut(&number) {
            *durable = Some(flipped(durable.as_ref()));
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len).expect("a simulated file fits memory")];
        self.read(&mut bytes, 0).expect("within the file");
        bytes
    }
}

/// A page whose sectors come from `new` where `kept` says so.
fn mixed(old: Option<&Page>, new: &Page, kept: impl Fn(u64) -> bool) -> Page {
    let mut bytes = old.map_or([0; PAGE_BYTES], |page| **page);
    for (sector, (to, from)) in
        (0..).zip(bytes.chunks_exact_mut(SECTOR_BYTES).zip(new.chunks_exact(SECTOR_BYTES)))
    {
        if kept(sector) {
            to.copy_from_slice(from);
        }
    }
    Page::new(bytes)
}
