//! A serial line in virtual time: two directions that lose bytes and flip bits, and a cable that can be out.
//!
//! In: bytes. Out: most of them, in their order. Invariant: what is lost and flipped is decided by the seed and the number of
//! bytes sent, by nothing else. Not here: frames.

use embedded_io_async::{ErrorType, Read, Write};
use headwater_device::testing::Rng;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// One direction.
#[derive(Debug, Default)]
struct Wire {
    bytes: RefCell<VecDeque<u8>>,
    reader: RefCell<Option<Waker>>,
}

/// What both ends share.
#[derive(Debug)]
struct Line {
    rng: RefCell<Rng>,
    /// One byte in so many is damaged; 0 is none.
    damaged_1_in: Cell<u64>,
    /// Bytes until the next one that is damaged.
    good_bytes: Cell<u64>,
    /// The cable is out: what is written is lost.
    is_out: Cell<bool>,
}

/// One end of a line.
#[derive(Debug, Clone)]
pub(super) struct End {
    rx: Rc<Wire>,
    tx: Rc<Wire>,
    line: Rc<Line>,
}

/// A line: the device's end and the receiver's.
pub(super) fn line(seed: u64, damaged_1_in: u64) -> (End, End) {
    let (up, down) = (Rc::<Wire>::default(), Rc::<Wire>::default());
    let line = Line {
        rng: RefCell::new(Rng::new(seed)),
        damaged_1_in: Cell::new(damaged_1_in),
        good_bytes: Cell::new(0),
        is_out: Cell::new(false),
    };
    line.draw();
    let line = Rc::new(line);
    let device = End { rx: down.clone(), tx: up.clone(), line: line.clone() };
    (device, End { rx: up, tx: down, line })
}

impl Line {
    /// How far it is to the next damage: on average as far as said.
    fn draw(&self) {
        let far = match self.damaged_1_in.get() {
            0 => u64::MAX,
            one_in => self.rng.borrow_mut().below(one_in * 2),
        };
        self.good_bytes.set(far);
    }

    fn carry(&self, mut data: &[u8], into: &mut VecDeque<u8>) {
        if self.is_out.get() {
            return;
        }
        while self.good_bytes.get() < data.len() as u64 {
            let at = usize::try_from(self.good_bytes.get()).unwrap_or(usize::MAX).min(data.len() - 1);
            into.extend(&data[..at]);
            let mut rng = self.rng.borrow_mut();
            // Half of them are lost, half come with a bit flipped.
            if rng.chance(2) {
                into.push_back(data[at] ^ (1 << rng.below(8)));
            }
            drop(rng);
            data = &data[at + 1..];
            self.draw();
        }
        into.extend(data);
        if self.good_bytes.get() != u64::MAX {
            self.good_bytes.set(self.good_bytes.get() - data.len() as u64);
        }
    }
}

impl End {
    /// From now on the line is as good as they come, and plugged in.
    pub(super) fn mend(&self) {
        self.line.damaged_1_in.set(0);
        self.line.draw();
        self.plug(true);
    }

    /// Puts the cable in, or takes it out.
    pub(super) fn plug(&self, is_in: bool) {
        self.line.is_out.set(!is_in);
    }

    /// What has arrived.
    #[cfg(feature = "simulation")]
    pub(super) fn take(&self) -> Vec<u8> {
        self.rx.bytes.borrow_mut().drain(..).collect()
    }

    /// Sends at once.
    #[cfg(feature = "simulation")]
    pub(super) fn give(&self, bytes: &[u8]) {
        self.line.carry(bytes, &mut self.tx.bytes.borrow_mut());
        if let Some(waker) = self.tx.reader.borrow_mut().take() {
            waker.wake();
        }
    }

    /// What is in the wire towards this end is gone.
    pub(super) fn clear(&self) {
        self.rx.bytes.borrow_mut().clear();
    }
}

impl ErrorType for End {
    type Error = Infallible;
}

impl Read for End {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|context| {
            let mut bytes = self.rx.bytes.borrow_mut();
            if bytes.is_empty() {
                *self.rx.reader.borrow_mut() = Some(context.waker().clone());
                return Poll::Pending;
            }
            let len = bytes.len().min(buf.len());
            for (slot, byte) in buf.iter_mut().zip(bytes.drain(..len)) {
                *slot = byte;
            }
            Poll::Ready(Ok(len))
        })
        .await
    }
}

impl Write for End {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        self.line.carry(buf, &mut self.tx.bytes.borrow_mut());
        if let Some(waker) = self.tx.reader.borrow_mut().take() {
            waker.wake();
        }
        Ok(buf.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(end: &End, bytes: usize) -> VecDeque<u8> {
        let mut out = VecDeque::new();
        for chunk in vec![0x55; bytes].chunks(37) {
            end.line.carry(chunk, &mut out);
        }
        out
    }

    #[test]
    fn a_bad_line_damages_as_often_as_told_and_a_mended_one_never() {
        let (end, _) = line(3, 100);
        let out = carried(&end, 1_000_000);
        let (lost, flipped) = (1_000_000 - out.len(), out.iter().filter(|byte| **byte != 0x55).count());
        assert!((4_500..5_500).contains(&lost), "{lost} lost");
        assert!((4_500..5_500).contains(&flipped), "{flipped} flipped");
        end.plug(false);
        assert!(carried(&end, 1_000).is_empty());
        end.mend();
        assert_eq!(carried(&end, 100_000), VecDeque::from(vec![0x55; 100_000]));
    }
}
