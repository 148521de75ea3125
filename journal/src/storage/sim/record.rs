//! What a simulated disk was asked: one number for all of it, and on request each operation.
//!
//! In: operations, bytes written. Out: the same for the same history. Not here: whether they succeeded.

use super::{Operation, Step};

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Record {
    digest: u64,
    steps: Option<Vec<Step>>,
}

impl Record {
    /// Keeps each operation from now on.
    pub(super) fn keep(&mut self) {
        self.steps = Some(Vec::new());
    }

    pub(super) fn is_kept(&self) -> bool {
        self.steps.is_some()
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        self.steps.clone().unwrap_or_default()
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// An operation: as a step where they are kept, and what of it is known without its file's name.
    pub(super) fn note(
        &mut self,
        step: impl FnOnce() -> Step,
        (operation, offset, len): (Operation, u64, u64),
    ) {
        [operation as u64, offset, len].into_iter().for_each(|word| self.add(word));
        if let Some(steps) = &mut self.steps {
            steps.push(step());
        }
    }

    /// Bytes that are written.
    pub(super) fn fold(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.add(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.add(u64::from(*byte)));
    }

    fn add(&mut self, word: u64) {
        self.digest = (self.digest ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25).rotate_left(29);
    }
}
