//! What the disk does not read at the moment, and readers wait for.
//!
//! In: what the journal says of it. Out: the same for `/health`, `/metrics` and the status page, and in words what happens next and what to
//! do. Not here: waiting (the journal), what a start waits for, as nobody answers on this port then.

use super::Status;
use super::metrics::Text;
use crate::route::time::Utc;
use headwater_journal::UnreadPlace;
use serde_json::json;

/// Places that are shown one by one, those that were waited for longest. A disk that reads less than that is gone as a whole.
const PLACES_SHOWN: usize = 16;

/// What to do about it, whatever it is.
pub(super) const REMEDY: &str = "look at the disk and its cable; if it does not come back, stop the gateway, copy the card to a new one, and run \
                          `headwater buffer repair --yes` there";

/// The number of places, and the oldest of them.
pub(super) struct Unread {
    pub(super) count: u64,
    oldest: Vec<UnreadPlace>,
}

impl Unread {
    pub(super) fn of(status: &Status) -> Self {
        let (count, oldest) = status.engine().unread_places(PLACES_SHOWN);
        // A place may be read between the two looks.
        Self { count: count.max(oldest.len() as u64), oldest }
    }

    /// What is the matter and what happens next, if anything is.
    pub(super) fn warning(&self) -> Option<String> {
        let (count, oldest) = (self.count, self.oldest.first()?);
        let places = if count == 1 { "one place".to_owned() } else { format!("{count} places") };
        let waited_s = oldest.waited.as_secs();
        let next = match oldest.left.as_secs() {
            0 => "the next read takes it for lost".to_owned(),
            left_s => format!("in {left_s} s it counts as lost, named, and reading goes on behind it"),
        };
        Some(format!(
            "the disk does not read {places} of the journal: {} at byte {} since {waited_s} s ({}); readers and sinks wait for it, {next}",
            oldest.file, oldest.offset, oldest.reason
        ))
    }

    pub(super) fn json(&self, status: &Status) -> serde_json::Value {
        let now_ms = headwater_engine::Clock::system().now_ms();
        let streams = status.engine().streams();
        let name = |number: u32| {
            let found = streams.iter().find(|stream| stream.number().0 == number);
            // Stream 0 is the journal's own.
            found.map_or_else(|| format!("number {number}"), |stream| stream.name().to_string())
        };
        let place = |place: &UnreadPlace| {
            let waited_ms = u64::try_from(place.waited.as_millis()).unwrap_or(u64::MAX);
            json!({
                "file": place.file,
                "offset": place.offset,
                "stream": name(place.shard.stream),
                "shard": place.shard.shard,
                "first": place.first,
                "error": &*place.reason,
                "since": Utc(now_ms.saturating_sub(waited_ms)).to_string(),
                "waited_s": place.waited.as_secs(),
                "lost_in_s": place.left.as_secs(),
            })
        };
        json!({
            "count": self.count,
            "warning": self.warning(),
            "remedy": self.oldest.first().map(|_| REMEDY),
            "places": self.oldest.iter().map(place).collect::<Vec<_>>(),
        })
    }

    pub(super) fn render(&self, out: &mut Text) {
        let help = "Places of the journal that the disk does not read now, and readers wait for.";
        out.metric("headwater_journal_unread_places", "gauge", help, self.count);
        let longest_s = self.oldest.first().map_or(0, |place| place.waited.as_secs());
        let help = "For how long the oldest of them is waited for.";
        out.metric("headwater_journal_unread_longest_seconds", "gauge", help, longest_s);
    }
}
