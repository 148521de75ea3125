//! Answers of an HTTP/2 connection that wait for their client.
//!
//! An HTTP/2 client can keep a connection alive and yet never open the window of an answer, which then holds its part of
//! the room for answers. In: pieces of answers given to the connection, what it asks for and lets go of. Out: since when the
//! longest-waiting answer has waited for its client. Not here: ending the connection (connection); the same for a socket
//! that takes nothing at all, and HTTP/1 (patient).

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The answers of a connection.
#[derive(Default)]
pub(super) struct Stalls(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    next_id: u64,
    /// Answers of which the connection has bytes and asks for no more, with the time since when.
    since: BTreeMap<u64, Instant>,
}

impl Stalls {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new answer.
    pub(super) fn turn(self: &Arc<Self>) -> Arc<Turn> {
        let mut waiting = self.lock();
        waiting.next_id += 1;
        Arc::new(Turn { stalls: Arc::clone(self), id: waiting.next_id })
    }

    /// Since when the longest-waiting answer has waited.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.lock().since.values().min().copied()
    }
}

/// One answer, for as long as there is something of it.
pub(super) struct Turn {
    stalls: Arc<Stalls>,
    id: u64,
}

impl Turn {
    /// The connection asks for more: the client has taken something, or there was nothing to take.
    pub(super) fn asked(&self) {
        self.stalls.lock().since.remove(&self.id);
    }

    /// The connection gets this piece. It holds the turn until it was sent.
    pub(super) fn given(self: &Arc<Self>, piece: Bytes) -> Bytes {
        self.stalls.lock().since.insert(self.id, Instant::now());
        Bytes::from_owner(Piece { piece, _turn: Arc::clone(self) })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.asked();
    }
}

struct Piece {
    piece: Bytes,
    _turn: Arc<Turn>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_from_its_last_piece_until_the_client_took_it() {
        let stalls = Arc::new(Stalls::default());
        let (slow, quick) = (stalls.turn(), stalls.turn());
        assert_eq!(stalls.oldest(), None);
        let begun = Instant::now();
        let piece = slow.given("piece".into());
        tokio::time::advance(Duration::from_secs(3)).await;
        let other = quick.given("other".into());
        quick.asked();
        assert_eq!(stalls.oldest(), Some(begun));
        // The answer is over for its maker, not for its client.
        drop((slow, quick));
        assert_eq!(stalls.oldest(), Some(begun));
        drop(piece);
        assert_eq!(stalls.oldest(), None);
        drop(other);
    }
}
