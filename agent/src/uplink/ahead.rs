//! What is read of the spool for a connection.

use super::{Connection, End, ROOT, Uplink};
use headwater_journal::Storage;
use std::collections::VecDeque;

impl<S: Storage> Uplink<S> {
    /// Reads the next page; false when there is nothing more for now.
    pub(super) async fn read_ahead(&mut self, connection: &mut Connection) -> Result<bool, End> {
        let from = self.flight.next();
        if from >= self.spool.end() {
            return Ok(false);
        }
        let page = match self.spool.aside(move |spool| spool.read(from)).await {
            Ok(Ok(page)) => page,
            Ok(Err(error)) => return Err(End::Lost(format!("spool cannot be read: {error}"))),
            Err(error) => return Err(End::Lost(format!("spool cannot be read: {error}"))),
        };
        for (first, last) in &page.lost {
            tracing::error!(first, last, "records of the spool are lost");
        }
        self.flight.note_lost(&page.lost);
        connection.ahead.extend(page.records);
        connection.ahead_next = page.next;
        Ok(page.next > from)
    }

    /// Every device's births, by topic.
    pub(super) fn births(&self) -> VecDeque<(String, Vec<u8>)> {
        let births = self.spool.births().into_iter().flat_map(|(device, births)| {
            births.into_iter().map(move |birth| (format!("{ROOT}/{device}/birth"), birth.body.to_vec()))
        });
        births.collect()
    }
}
