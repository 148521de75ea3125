//! What publishers were promised.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Who said something: stream, device, boot.
type Voice = (String, String, u32);

/// Every entry that somebody was told is durable. Cheap to clone; clones are one book. The world looks for all of it after every start of
/// the gateway, and at the end at the target.
#[derive(Debug, Clone, Default)]
pub struct Promises(Rc<RefCell<BTreeMap<Voice, u32>>>);

impl Promises {
    /// All entries of a device's boot before `through` are durable in the stream.
    pub fn stored(&self, stream: &str, device: &str, boot: u32, through: u32) {
        let voice = (stream.to_owned(), device.to_owned(), boot);
        let mut promised = self.0.borrow_mut();
        let place = promised.entry(voice).or_default();
        *place = (*place).max(through);
    }

    /// Each with the number of entries that were promised.
    pub(crate) fn all(&self) -> Vec<(Voice, u32)> {
        self.0.borrow().iter().map(|(voice, through)| (voice.clone(), *through)).collect()
    }

    /// How many entries were promised.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.borrow().values().map(|through| u64::from(*through)).sum()
    }
}
