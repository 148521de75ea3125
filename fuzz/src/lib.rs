//! What the fuzz targets share: the bound on memory, a cursor over an input, the engine under test.
//!
//! A target is a claim about bytes that may be anything. It fails by a panic, by taking more memory than its bound, or by
//! taking more than ten seconds. Not here: the claims about decoders that are private to their rooms; those are doors in the
//! rooms themselves (their feature `fuzzing`).

pub mod calls;
pub mod recovery;
pub mod stored;
pub mod world;

use cap::Cap;
use std::alloc::System;
use std::sync::Once;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Runs `check` with at most `bytes` more memory than there is in use now; an allocation beyond it ends the process.
pub fn bounded<T>(bytes: usize, check: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Telling where it was takes memory as well.
            let _ = MEMORY.set_limit(usize::MAX);
            next(panic);
        }));
    });
    // Refused only below what is in use.
    let _ = MEMORY.set_limit(MEMORY.allocated().saturating_add(bytes));
    let outcome = check();
    let _ = MEMORY.set_limit(usize::MAX);
    outcome
}

/// What a decoder may take for an input: a value for every byte or two of it, and its tables.
#[must_use]
pub fn decoder_bytes(input: &[u8]) -> usize {
    (1 << 20) + input.len() * 256
}

/// Numbers and pieces from the beginning of an input; zeros when it is used up.
#[derive(Clone, Copy)]
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Up to `count` bytes.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        head
    }

    /// The next byte.
    pub fn u8(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }
}
