//! Keeps the stack of a small chip small.
//!
//! In: a pinned future. Out: the same future, polled in a stack frame of its own. Not here: anything about devices.

use core::pin::Pin;
use core::task::{Context, Poll};

/// A future whose temporaries are on the stack only while it is polled.
///
/// The compiler makes one function of a whole task, and one frame that has room for the temporaries of all its parts at
/// once, though they run one after the other: opening a device took 8 KB of stack for ever after. A part that is apart has
/// a frame of its own, which goes when its turn ends. On RISC-V this took a serial board from 14 KB of stack to 8 KB.
///
/// ```
/// use core::pin::pin;
/// use headwater_device::Apart;
///
/// async fn open() -> u8 {
///     7
/// }
///
/// async fn task() {
///     assert_eq!(Apart(pin!(open())).await, 7);
/// }
/// # embassy_futures::block_on(task());
/// ```
#[derive(Debug)]
pub struct Apart<'a, F>(
    /// The future. Pinned by the caller with [`pin!`](core::pin::pin), so that it is kept once: an argument of an `async fn`
    /// would be kept twice.
    pub Pin<&'a mut F>,
);

impl<F: Future> Future for Apart<'_, F> {
    type Output = F::Output;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().poll(context)
    }
}
