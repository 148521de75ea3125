//! Files with the name of a segment, and what each says of itself.
//!
//! In: names, and the blocks at the beginning and the end of a file. Out: header, trailer and pieces, as far as their checksums are right.
//! Invariant: nothing is believed that does not check out; a file that cannot be opened is named in the recovery.
//! Not here: what follows from it (`survey`), reading a segment whole (`scan`).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use super::unread::Place;
use crate::bytes::splitmix;
use crate::error::is_unread;
use crate::format::footer::{PIECE_BYTES, PieceEntry};
use crate::format::group::{GroupHead, HEAD_BYTES};
use crate::format::index;
use crate::format::segment::{FileName, HEADER_BYTES, HeaderError, SegmentHeader, TRAILER_BYTES, Trailer};
use crate::format::snapshot::Snapshot;
use crate::storage::{Storage, StorageFile};
use crate::types::Recovery;

/// A file with the name of a segment.
pub(in crate::core) struct Candidate<F> {
    pub(in crate::core) number: u64,
    pub(in crate::core) file: Arc<F>,
    pub(in crate::core) file_bytes: u64,
    pub(in crate::core) header: Result<SegmentHeader, HeaderError>,
    pub(in crate::core) blank: bool,
    /// The first place that the disk did not give back.
    unread: RefCell<Option<(u64, io::Error)>>,
}

impl<F: StorageFile> Candidate<F> {
    /// Fills `buffer` from `offset`, or not, and remembers when the disk is why.
    fn read(&self, buffer: &mut [u8], offset: u64) -> Option<()> {
        let read = self.file.read_at(buffer, offset);
        if let Err(error) = read {
            if is_unread(&error) {
                self.unread.borrow_mut().get_or_insert((offset, error));
            }
            return None;
        }
        Some(())
    }

    /// The first place that the disk did not give back, once.
    pub(super) fn take_unread(&self) -> Option<(u64, io::Error)> {
        self.unread.take()
    }

    /// Trailer and pieces of a segment, when both check out.
    pub(super) fn sealed(&self, salt: Option<u64>) -> Option<(Trailer, Vec<PieceEntry>)> {
        let trailer_at = self.file_bytes.checked_sub(u64::from(TRAILER_BYTES))?;
        let mut block = vec![0; index(TRAILER_BYTES)];
        self.read(&mut block, trailer_at)?;
        let trailer = Trailer::decode(&block)?;
        if trailer.number != self.number || salt.is_some_and(|salt| salt != trailer.salt) {
            return None;
        }
        let bytes = u64::from(trailer.pieces) * PIECE_BYTES as u64;
        if u64::from(trailer.footer_at) + bytes > trailer_at {
            return None;
        }
        let mut table = vec![0; usize::try_from(bytes).ok()?];
        self.read(&mut table, u64::from(trailer.footer_at))?;
        let pieces = PieceEntry::decode_all(&table, trailer.pieces, trailer.pieces_crc)?;
        Some((trailer, pieces))
    }

    /// Whether a damaged header still says that this is the segment of its name. A header is less than a sector, so it is never torn:
    /// this is damage, and groups may have been acknowledged behind it. One flipped bit in the number itself is allowed for.
    pub(super) fn claims_its_name(&self) -> bool {
        match self.header {
            Err(HeaderError::Damaged(Some(claimed))) => (claimed ^ self.number).count_ones() <= 1,
            _ => false,
        }
    }

    /// Number of the group that stands where the first one does, when its head is whole.
    pub(super) fn first_group(&self) -> Option<u64> {
        let mut block = [0; HEAD_BYTES];
        self.read(&mut block, u64::from(HEADER_BYTES))?;
        let head = GroupHead::peek(&block)?;
        if u64::from(HEADER_BYTES) + head.padded() as u64 > self.file_bytes {
            return None;
        }
        let mut tables = vec![0; head.tables_bytes()];
        self.read(&mut tables, u64::from(HEADER_BYTES))?;
        head.runs(&tables).map(|_| head.number)
    }

    /// Whether a group stands where the first one does.
    pub(super) fn begins_with_group(&self) -> bool {
        let mut block = [0; 64];
        self.read(&mut block, u64::from(HEADER_BYTES)).is_some() && GroupHead::peek(&block).is_some()
    }
}

pub(in crate::core) fn candidates<S: Storage>(
    storage: &S,
    names: &[String],
    recovery: &mut Recovery,
    unread: &mut Option<Place>,
) -> Vec<Candidate<S::File>> {
    let mut candidates = Vec::new();
    let numbers: BTreeSet<u64> = names
        .iter()
        .filter_map(|name| match FileName::parse(name) {
            Some(FileName::Segment(number)) => Some(number),
            _ => None,
        })
        .collect();
    for number in numbers {
        let name = FileName::Segment(number).to_string();
        let opened = storage.open(&name).and_then(|file| {
            let file_bytes = file.len()?;
            Ok((file, file_bytes))
        });
        match opened {
            Ok((file, file_bytes)) => {
                let mut block = vec![0; index(HEADER_BYTES)];
                // A header that cannot be read is like a damaged one: trailer or groups may still speak for the segment.
                let read = file.read_at(&mut block, 0);
                let blank = read.is_ok() && block.iter().all(|&byte| byte == 0);
                let header = match &read {
                    Ok(()) => SegmentHeader::decode(&block),
                    Err(_) => Err(HeaderError::Damaged(None)),
                };
                let unread = RefCell::new(read.err().filter(is_unread).map(|error| (0, error)));
                candidates.push(Candidate {
                    number,
                    file: Arc::new(file),
                    file_bytes,
                    header,
                    blank,
                    unread,
                });
            }
            Err(error) => {
                tracing::error!(file = name, %error, "cannot open a segment");
                recovery.unreadable.push(name.clone());
                if is_unread(&error) {
                    unread.get_or_insert((name, 0, error));
                }
            }
        }
    }
    candidates
}

pub(in crate::core) fn unreadable_numbers(recovery: &Recovery) -> impl Iterator<Item = u64> {
    recovery.unreadable.iter().filter_map(|name| match FileName::parse(name) {
        Some(FileName::Segment(number)) => Some(number),
        _ => None,
    })
}

pub(in crate::core) fn lane<F>(snapshot: Option<&Snapshot>, candidates: &[Candidate<F>], seed: u64) -> u128 {
    // A header under another number is of an earlier life of its file, perhaps in a lane that ended before its first group.
    let own = |candidate: &&Candidate<F>| {
        candidate.header.as_ref().is_ok_and(|header| header.number == candidate.number)
    };
    let newest = candidates.iter().rev().filter(own).filter_map(|candidate| candidate.header.as_ref().ok());
    let of_segment = newest.map(|header| header.lane).next();
    snapshot.map(|snapshot| snapshot.lane).or(of_segment).unwrap_or_else(|| {
        let mut chance = seed;
        u128::from(splitmix(&mut chance)) << 64 | u128::from(splitmix(&mut chance))
    })
}
