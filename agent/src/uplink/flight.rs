//! What is on its way to the gateway, and which PUBACK is whose.
//!
//! In: records handed to the client, packet ids in the order the client gave them out, PUBACK outcomes. Out: whether one
//! more may be sent, and how far the checkpoint moved.
//!
//! The client tells packet ids only as "sent": the n-th id given out belongs to the n-th publish handed over. That
//! holds because every connection has a new client object, so [`Flight::reset`] goes with it.
//!
//! Always true: the rules of [`Window`]; delivered + rejected + lost add up to the distance the checkpoint moved.
//! Not here: the spool and the client.

use headwater_relay::{Offset, Outcome, Settled, Window, WindowLimits};
use std::collections::{BTreeMap, VecDeque};

/// Something that was published with QoS 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// A birth that is published at connect, beside the spool.
    Birth,
    /// A record of the spool; births and log lines are records that need not be stored by anyone.
    Record { offset: Offset, is_batch: bool },
}

/// How far the checkpoint moved with one outcome, in records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) delivered: u64,
    pub(super) rejected: u64,
    pub(super) lost: u64,
}

/// A PUBACK, or a packet id, that belongs to nothing: the peer or the client broke the protocol, drop the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("packet id {0} belongs to nothing in flight")]
pub(super) struct Stray(pub(super) u16);

#[derive(Debug)]
pub(super) struct Flight {
    window: Window,
    /// Handed to the client, packet id not yet known.
    handed: VecDeque<Sent>,
    by_packet_id: BTreeMap<u16, Sent>,
    /// In flight and rejected, not yet passed by the checkpoint.
    rejected: Vec<Offset>,
    /// First and last offset of ranges that are lost, not yet passed by the checkpoint.
    lost: VecDeque<(u64, u64)>,
    births: usize,
}

impl Flight {
    pub(super) fn new(limits: WindowLimits, checkpoint: u64) -> Self {
        Self {
            window: Window::new(limits, Offset(checkpoint)),
            handed: VecDeque::new(),
            by_packet_id: BTreeMap::new(),
            rejected: Vec::new(),
            lost: VecDeque::new(),
            births: 0,
        }
    }

    /// A new connection: nothing is in flight, reading starts at the checkpoint.
    pub(super) fn reset(&mut self, limits: WindowLimits) {
        self.window.set_limits(limits);
        self.window.reset();
        self.handed.clear();
        self.by_packet_id.clear();
        self.rejected.clear();
        // Reading again meets them again.
        self.lost.clear();
        self.births = 0;
    }

    pub(super) fn checkpoint(&self) -> u64 {
        self.window.checkpoint().0
    }

    pub(super) fn next(&self) -> u64 {
        self.window.next().0
    }

    pub(super) fn has_room(&self, size_bytes: usize) -> bool {
        self.window.has_room(size_bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.window.in_flight() == 0 && self.births == 0
    }

    /// Births on their way.
    pub(super) fn births(&self) -> usize {
        self.births
    }

    /// Notes a birth that was handed to the client.
    pub(super) fn hand_birth(&mut self) {
        self.births += 1;
        self.handed.push_back(Sent::Birth);
    }

    /// Notes a record that was handed to the client; there must be room.
    pub(super) fn hand_record(
        &mut self,
        offset: u64,
        size_bytes: usize,
        is_batch: bool,
    ) -> Result<(), headwater_relay::OfferError> {
        self.window.offer(Offset(offset), size_bytes)?;
        self.handed.push_back(Sent::Record { offset: Offset(offset), is_batch });
        Ok(())
    }

    /// Notes ranges (first and last offset) after the next offset that are lost. They are passed by a later record or
    /// by [`Flight::skip_to`].
    pub(super) fn note_lost(&mut self, lost: &[(u64, u64)]) {
        let next = self.next();
        self.lost.extend(lost.iter().copied().filter(|(first, _)| *first >= next));
    }

    /// Notes that nothing will come between the next offset and `to`.
    pub(super) fn skip_to(&mut self, to: u64) -> Progress {
        let before = self.checkpoint();
        self.window.skip_to(Offset(to));
        self.progress(before)
    }

    /// The client gave out a packet id for the oldest publish it has not named yet.
    pub(super) fn handle_sent(&mut self, packet_id: u16) -> Result<(), Stray> {
        let sent = self.handed.pop_front().ok_or(Stray(packet_id))?;
        match self.by_packet_id.insert(packet_id, sent) {
            None => Ok(()),
            Some(_) => Err(Stray(packet_id)),
        }
    }

    /// Takes a packet id out, whose publish was answered.
    pub(super) fn handle_answered(&mut self, packet_id: u16) -> Result<Sent, Stray> {
        let sent = self.by_packet_id.remove(&packet_id).ok_or(Stray(packet_id))?;
        if sent == Sent::Birth {
            self.births = self.births.saturating_sub(1);
        }
        Ok(sent)
    }

    /// Takes the outcome of a record. None: it must be sent again, drop the connection.
    pub(super) fn handle_outcome(&mut self, offset: Offset, outcome: Outcome) -> Option<Progress> {
        let before = self.checkpoint();
        match self.window.handle_outcome(offset, outcome) {
            Ok(Settled::MustReset) => None,
            Ok(Settled::Moved(_) | Settled::Held) => {
                if outcome == Outcome::Rejected {
                    self.rejected.push(offset);
                }
                Some(self.progress(before))
            }
            // Answered packet ids are taken out once, so this cannot be; if it is, nothing moved.
            Err(_) => Some(Progress::default()),
        }
    }

    fn progress(&mut self, before: u64) -> Progress {
        let checkpoint = self.checkpoint();
        let rejected = self.rejected.iter().filter(|offset| offset.0 < checkpoint).count() as u64;
        self.rejected.retain(|offset| offset.0 >= checkpoint);
        let mut lost = 0;
        while let Some((first, last)) = self.lost.pop_front_if(|(_, last)| *last < checkpoint) {
            lost += last - first + 1;
        }
        Progress { delivered: (checkpoint - before).saturating_sub(rejected + lost), rejected, lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: WindowLimits = WindowLimits { records_max: 10, bytes_max: 10_000 };

    fn acked(flight: &mut Flight, packet_id: u16) -> Progress {
        match flight.handle_answered(packet_id).unwrap() {
            Sent::Record { offset, .. } => flight.handle_outcome(offset, Outcome::Acked).unwrap(),
            Sent::Birth => Progress::default(),
        }
    }

    #[test]
    fn packet_ids_belong_to_publishes_in_the_order_they_were_handed_over() {
        let mut flight = Flight::new(LIMITS, 100);
        flight.hand_birth();
        flight.hand_record(100, 10, true).unwrap();
        flight.hand_record(101, 10, true).unwrap();
        for packet_id in [1, 2, 3] {
            flight.handle_sent(packet_id).unwrap();
        }
        assert_eq!(flight.births(), 1);
        assert_eq!(acked(&mut flight, 1), Progress::default());
        assert_eq!(flight.births(), 0);
        assert_eq!(acked(&mut flight, 3).delivered, 0, "100 is still open");
        assert_eq!(acked(&mut flight, 2).delivered, 2);
        assert_eq!(flight.checkpoint(), 102);
        assert!(flight.is_empty());
    }

    #[test]
    fn an_answer_to_nothing_is_an_error() {
        let mut flight = Flight::new(LIMITS, 1);
        assert_eq!(flight.handle_sent(1), Err(Stray(1)));
        flight.hand_record(1, 1, true).unwrap();
        flight.handle_sent(7).unwrap();
        assert_eq!(flight.handle_answered(8), Err(Stray(8)));
        acked(&mut flight, 7);
        assert_eq!(flight.handle_answered(7), Err(Stray(7)), "twice");
    }

    #[test]
    fn a_lost_connection_offers_everything_from_the_checkpoint_again() {
        let mut flight = Flight::new(LIMITS, 1);
        for offset in 1..=3 {
            flight.hand_record(offset, 1, true).unwrap();
            flight.handle_sent(u16::try_from(offset).unwrap()).unwrap();
        }
        acked(&mut flight, 1);
        flight.reset(LIMITS);
        assert_eq!((flight.checkpoint(), flight.next()), (2, 2));
        assert_eq!(flight.handle_answered(2), Err(Stray(2)), "an answer of the old connection");
    }

    #[test]
    fn progress_tells_delivered_rejected_and_lost_apart() {
        let mut flight = Flight::new(LIMITS, 1);
        flight.hand_record(1, 1, true).unwrap();
        flight.hand_record(2, 1, true).unwrap();
        flight.note_lost(&[(3, 5)]);
        assert_eq!(flight.skip_to(6), Progress::default(), "1 and 2 are open");
        for packet_id in [1, 2] {
            flight.handle_sent(packet_id).unwrap();
        }
        let Sent::Record { offset: second, .. } = flight.handle_answered(2).unwrap() else { panic!() };
        assert_eq!(flight.handle_outcome(second, Outcome::Rejected), Some(Progress::default()));
        assert_eq!(acked(&mut flight, 1), Progress { delivered: 1, rejected: 1, lost: 3 });
        assert_eq!(flight.checkpoint(), 6);
    }

    #[test]
    fn a_retry_stops_the_flight() {
        let mut flight = Flight::new(LIMITS, 1);
        flight.hand_record(1, 1, true).unwrap();
        assert_eq!(flight.handle_outcome(Offset(1), Outcome::Retry), None);
        assert!(!flight.has_room(1));
    }
}
