//! In-flight sends and the checkpoint they allow.
//!
//! In: offsets of a durable log in rising order, with sizes; outcomes in any order. Out: whether one more may be sent,
//! where to read the next one, and the checkpoint: everything before it is done for good and may be trimmed.
//!
//! Always true: `checkpoint <= every offset in flight < next`; the checkpoint never moves back and never passes an
//! offset without a final outcome; after [`Window::reset`] reading starts again at the checkpoint.
//!
//! Not here: when to retry (backoff), and the records themselves.

use std::collections::VecDeque;

/// A place in a log. Offsets rise; they need not be consecutive (a log may have lost a range).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub u64);

impl std::fmt::Display for Offset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What became of a record that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver holds it durably.
    Acked,
    /// The receiver cannot take it now. It, and everything after it, must be sent again later.
    Retry,
    /// The receiver will never take it. It has been set aside (dead letter) by whoever reports this.
    Rejected,
}

/// How much may be in flight at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    /// Records in flight, at least 1.
    pub records_max: usize,
    /// Bytes in flight. One record larger than this still goes, alone, so that it cannot block the log for ever.
    pub bytes_max: usize,
}

/// The records that were sent and have no final outcome yet, and the checkpoint.
#[derive(Debug)]
pub struct Window {
    limits: WindowLimits,
    /// From the oldest without a final outcome on, in offset order.
    in_flight: VecDeque<Slot>,
    in_flight_bytes: usize,
    next: Offset,
    state: State,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    offset: Offset,
    size_bytes: usize,
    is_settled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// A record came back with `Retry`: sending more would overtake it.
    MustReset,
}

/// What an outcome changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The checkpoint moved on to this offset.
    Moved(Offset),
    /// An older record still has no outcome; the checkpoint stays.
    Held,
    /// The record must be sent again: call [`Window::reset`], nothing is offered until then.
    MustReset,
}

/// Why a record was not taken into the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferError {
    /// The limits are reached; wait for an outcome.
    Full,
    /// A `Retry` came back; wait for [`Window::reset`].
    MustReset,
    /// The offset is before [`Window::next`]: it was offered already.
    Before {
        /// The lowest offset that can be offered.
        next: Offset,
    },
}

impl std::fmt::Display for OfferError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full => f.write_str("the window is full"),
            Self::MustReset => f.write_str("a record must be sent again first"),
            Self::Before { next } => write!(f, "offered already: the next offset is {next}"),
        }
    }
}

impl std::error::Error for OfferError {}

/// An outcome for an offset that is not in flight: of an older session, or reported twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownOffset(pub Offset);

impl std::fmt::Display for UnknownOffset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "offset {} is not in flight", self.0)
    }
}

impl std::error::Error for UnknownOffset {}

impl Window {
    /// Starts with nothing in flight; `checkpoint` is the first offset that is not done.
    pub fn new(limits: WindowLimits, checkpoint: Offset) -> Self {
        Self { limits, in_flight: VecDeque::new(), in_flight_bytes: 0, next: checkpoint, state: State::Open }
    }

    /// Everything before this offset has a final outcome. Never moves back.
    pub fn checkpoint(&self) -> Offset {
        self.in_flight.front().map_or(self.next, |oldest| oldest.offset)
    }

    /// Where to read the next record to offer.
    pub fn next(&self) -> Offset {
        self.next
    }

    /// Whether a record of `size_bytes` may be offered now.
    pub fn has_room(&self, size_bytes: usize) -> bool {
        if self.state == State::MustReset {
            return false;
        }
        let fits = self.in_flight_bytes.saturating_add(size_bytes) <= self.limits.bytes_max;
        self.in_flight.is_empty() || (self.in_flight.len() < self.limits.records_max && fits)
    }

    /// Takes the record at `offset` into the window; the caller sends it. Offsets between [`Window::next`] and `offset`
    /// count as done: the log has no records there.
    ///
    /// # Errors
    /// The record was not taken: no room, a reset is due, or the offset is behind.
    pub fn offer(&mut self, offset: Offset, size_bytes: usize) -> Result<(), OfferError> {
        if self.state == State::MustReset {
            return Err(OfferError::MustReset);
        }
        if offset < self.next {
            return Err(OfferError::Before { next: self.next });
        }
        if !self.has_room(size_bytes) {
            return Err(OfferError::Full);
        }
        self.in_flight.push_back(Slot { offset, size_bytes, is_settled: false });
        self.in_flight_bytes = self.in_flight_bytes.saturating_add(size_bytes);
        self.next = Offset(offset.0.saturating_add(1));
        Ok(())
    }

    /// Tells that the log has no records from [`Window::next`] up to `to`: they were lost or trimmed before they were
    /// sent. Without effect when `to` is behind.
    pub fn skip_to(&mut self, to: Offset) {
        self.next = self.next.max(to);
    }

    /// Takes the outcome of a record in flight.
    ///
    /// # Errors
    /// The offset is not in flight; nothing changed.
    pub fn handle_outcome(&mut self, offset: Offset, outcome: Outcome) -> Result<Settled, UnknownOffset> {
        let index = self
            .in_flight
            .binary_search_by_key(&offset, |slot| slot.offset)
            .map_err(|_| UnknownOffset(offset))?;
        let slot = &mut self.in_flight[index];
        if slot.is_settled {
            return Err(UnknownOffset(offset));
        }
        if outcome == Outcome::Retry {
            self.state = State::MustReset;
            return Ok(Settled::MustReset);
        }
        slot.is_settled = true;
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(slot.size_bytes);
        let before = self.checkpoint();
        while self.in_flight.front().is_some_and(|oldest| oldest.is_settled) {
            self.in_flight.pop_front();
        }
        let checkpoint = self.checkpoint();
        assert!(before <= checkpoint && checkpoint <= self.next, "a checkpoint never moves back");
        Ok(if before < checkpoint { Settled::Moved(checkpoint) } else { Settled::Held })
    }

    /// The session is gone: forgets what is in flight, so that reading starts again at the checkpoint. Records behind
    /// it that were acked out of order are sent twice; they carry the same identity, so the receiver drops them.
    pub fn reset(&mut self) {
        self.next = self.checkpoint();
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.state = State::Open;
    }

    /// Sets other limits, from the next offer on. A peer may say at connect that it takes less.
    pub fn set_limits(&mut self, limits: WindowLimits) {
        self.limits = limits;
    }

    /// Records in flight, settled ones behind an older open one included.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Bytes of records without an outcome.
    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(records_max: usize, bytes_max: usize) -> Window {
        Window::new(WindowLimits { records_max, bytes_max }, Offset(10))
    }

    #[test]
    fn checkpoint_stays_below_an_unacked_offset() {
        // 10, 11, 12 in flight; acked 12, 11, 10.
        let mut window = window(10, 1_000);
        for offset in 10..13 {
            window.offer(Offset(offset), 1).unwrap();
        }
        assert_eq!(window.handle_outcome(Offset(12), Outcome::Acked), Ok(Settled::Held));
        assert_eq!(window.handle_outcome(Offset(11), Outcome::Acked), Ok(Settled::Held));
        assert_eq!(window.checkpoint(), Offset(10));
        assert_eq!(window.handle_outcome(Offset(10), Outcome::Acked), Ok(Settled::Moved(Offset(13))));
    }

    #[test]
    fn a_rejected_record_lets_the_checkpoint_pass() {
        let mut window = window(10, 1_000);
        window.offer(Offset(10), 1).unwrap();
        assert_eq!(window.handle_outcome(Offset(10), Outcome::Rejected), Ok(Settled::Moved(Offset(11))));
    }

    #[test]
    fn nothing_overtakes_a_record_that_must_be_sent_again() {
        let mut window = window(10, 1_000);
        window.offer(Offset(10), 1).unwrap();
        window.offer(Offset(11), 1).unwrap();
        assert_eq!(window.handle_outcome(Offset(10), Outcome::Retry), Ok(Settled::MustReset));
        assert!(!window.has_room(1));
        assert_eq!(window.offer(Offset(12), 1), Err(OfferError::MustReset));
        window.reset();
        assert_eq!((window.next(), window.checkpoint()), (Offset(10), Offset(10)));
        window.offer(Offset(10), 1).unwrap();
    }

    #[test]
    fn both_limits_hold_and_a_giant_goes_alone() {
        let mut window = window(2, 100);
        window.offer(Offset(10), 500).unwrap();
        assert_eq!(window.offer(Offset(11), 1), Err(OfferError::Full), "the giant is alone");
        window.handle_outcome(Offset(10), Outcome::Acked).unwrap();
        window.offer(Offset(11), 50).unwrap();
        assert_eq!(window.offer(Offset(12), 51), Err(OfferError::Full), "bytes");
        window.offer(Offset(12), 50).unwrap();
        assert_eq!(window.offer(Offset(13), 0), Err(OfferError::Full), "records");
    }

    #[test]
    fn an_outcome_of_another_session_changes_nothing() {
        let mut window = window(2, 100);
        assert_eq!(window.handle_outcome(Offset(10), Outcome::Acked), Err(UnknownOffset(Offset(10))));
        window.offer(Offset(10), 1).unwrap();
        window.offer(Offset(11), 1).unwrap();
        window.handle_outcome(Offset(11), Outcome::Acked).unwrap();
        assert_eq!(
            window.handle_outcome(Offset(11), Outcome::Acked),
            Err(UnknownOffset(Offset(11))),
            "twice"
        );
        window.reset();
        assert_eq!(
            window.handle_outcome(Offset(10), Outcome::Acked),
            Err(UnknownOffset(Offset(10))),
            "reset"
        );
    }

    #[test]
    fn a_hole_in_the_log_is_done() {
        let mut window = window(5, 100);
        window.skip_to(Offset(20));
        assert_eq!(window.checkpoint(), Offset(20), "nothing in flight, so the checkpoint follows");
        window.offer(Offset(25), 1).unwrap();
        assert_eq!(window.checkpoint(), Offset(25));
        assert_eq!(window.offer(Offset(25), 1), Err(OfferError::Before { next: Offset(26) }));
        window.skip_to(Offset(3));
        assert_eq!(window.next(), Offset(26));
    }
}
