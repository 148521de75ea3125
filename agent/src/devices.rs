//! What the agent knows of each device: its births and how far each boot is spooled.
//!
//! In: the device, boot and places of what arrived; at start, what the spool's metadata holds. Out: whether a batch is
//! new, a repeat, or follows a hole; the metadata to store in the same group as the data.
//!
//! Always true: bounded memory per device; a mark is stored with the batch it covers, so after a restart a repeat is
//! still a repeat. Not here: the spool, the links.
//!
//! ```text
//! m/{device}   | version 1 | count u8 | count x (boot u32, through u32) |            little endian, last used last
//! h/{device}   | version 1 | count u8 | count x (schema u16, length u16, body) |     newest last
//! ```

use crate::limits::{BIRTHS_MAX, BOOTS_MAX, HOLE_OFFERS_MAX};
use headwater_telemetry::{BootId, DeviceId, Hello, Schema, Seq};
use std::sync::Arc;

/// Metadata keys of [`Device::encode_marks`] begin with this.
pub(crate) const MARKS_PREFIX: &str = "m/";
/// Metadata keys of [`Device::encode_births`] begin with this.
pub(crate) const BIRTHS_PREFIX: &str = "h/";

const VERSION: u8 = 1;

/// Where a batch stands in its boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) boot: BootId,
    pub(crate) first: Seq,
    pub(crate) through: Seq,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Spool it. `after_hole` counts the places that are missing before it and will not come.
    New { after_hole: u32 },
    /// Already spooled: only ack it again.
    Repeat,
    /// Places before it are missing and will probably be sent again: do nothing, do not ack.
    Hole,
}

/// A birth as it is published: the body of an `Up::Hello`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Birth {
    pub(crate) schema: Schema,
    pub(crate) body: Arc<[u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    boot: BootId,
    through: Seq,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refused {
    boot: BootId,
    first: Seq,
    offers: u32,
}

/// One device. Cheap to clone: the spool decides on a copy and keeps it only when the append succeeded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Device {
    /// Counts appends: when it was last heard since the start of the agent. 0: not yet.
    pub(crate) heard: u64,
    births: Vec<Birth>,
    /// Most recently used last.
    marks: Vec<Mark>,
    refused: Option<Refused>,
}

impl Device {
    /// Takes a Hello; true when its body is news, to be spooled and stored.
    pub(crate) fn handle_hello(&mut self, hello: &Hello, body: &[u8]) -> bool {
        // A boot counter that went back means the device was erased: its old marks would swallow new data.
        if self.marks.iter().any(|mark| mark.boot > hello.boot) {
            self.marks.retain(|mark| mark.boot < hello.boot);
            self.refused = None;
        }
        if self.births.last().is_some_and(|birth| *birth.body == *body) {
            return false;
        }
        self.births.retain(|birth| birth.schema != hello.schema);
        self.births.push(Birth { schema: hello.schema, body: body.into() });
        if self.births.len() > BIRTHS_MAX {
            self.births.remove(0);
        }
        true
    }

    /// Decides on a batch and, when it is new, marks it as spooled. `is_clean`: the link has damaged no frame since
    /// its Hello, so what is missing was not lost on the way.
    pub(crate) fn handle_batch(&mut self, places: Places, is_clean: bool) -> Verdict {
        let index = self.marks.iter().position(|mark| mark.boot == places.boot);
        let spooled_through = index.map(|index| self.marks[index].through);
        if spooled_through.is_some_and(|through| places.through <= through) {
            return Verdict::Repeat;
        }
        let expected = spooled_through.map_or(0, |through| through.0.saturating_add(1));
        let after_hole = places.first.0.saturating_sub(expected);
        if after_hole > 0 && !is_clean && !self.is_offered_often(places) {
            return Verdict::Hole;
        }
        self.refused = None;
        if let Some(index) = index {
            self.marks.remove(index);
        } else if self.marks.len() >= BOOTS_MAX {
            self.marks.remove(0);
        }
        self.marks.push(Mark { boot: places.boot, through: places.through });
        Verdict::New { after_hole }
    }

    /// Counts the refusals of one batch that are offered without anything before it.
    fn is_offered_often(&mut self, places: Places) -> bool {
        let offers = match self.refused {
            Some(refused) if refused.boot == places.boot && refused.first == places.first => {
                refused.offers + 1
            }
            _ => 1,
        };
        self.refused = Some(Refused { boot: places.boot, first: places.first, offers });
        offers >= HOLE_OFFERS_MAX
    }

    /// The last spooled place of a boot, to ack a repeat with.
    pub(crate) fn spooled_through(&self, boot: BootId) -> Option<Seq> {
        self.marks.iter().find(|mark| mark.boot == boot).map(|mark| mark.through)
    }

    /// The births to publish at a new connection, newest last.
    pub(crate) fn births(&self) -> &[Birth] {
        &self.births
    }

    /// The value of `m/{device}`.
    pub(crate) fn encode_marks(&self) -> Vec<u8> {
        let mut value = vec![VERSION, count_byte(self.marks.len())];
        for mark in &self.marks {
            value.extend(mark.boot.0.to_le_bytes());
            value.extend(mark.through.0.to_le_bytes());
        }
        value
    }

    /// The value of `h/{device}`.
    pub(crate) fn encode_births(&self) -> Vec<u8> {
        let mut value = vec![VERSION, count_byte(self.births.len())];
        for birth in &self.births {
            let length = u16::try_from(birth.body.len()).expect("a body is at most BODY_BYTES_MAX");
            value.extend(birth.schema.0.to_le_bytes());
            value.extend(length.to_le_bytes());
            value.extend_from_slice(&birth.body);
        }
        value
    }

    /// Reads a value of [`Device::encode_marks`]; false, and nothing changed, when it is not one.
    pub(crate) fn decode_marks(&mut self, value: &[u8]) -> bool {
        let mut reader = Reader(value);
        let Some(count) = reader.header() else { return false };
        let mut marks = Vec::with_capacity(count.min(BOOTS_MAX));
        for _ in 0..count {
            let (Some(boot), Some(through)) = (reader.u32(), reader.u32()) else { return false };
            marks.push(Mark { boot: BootId(boot), through: Seq(through) });
        }
        marks.drain(..marks.len().saturating_sub(BOOTS_MAX));
        self.marks = marks;
        true
    }

    /// Reads a value of [`Device::encode_births`]; false, and nothing changed, when it is not one.
    pub(crate) fn decode_births(&mut self, value: &[u8]) -> bool {
        let mut reader = Reader(value);
        let Some(count) = reader.header() else { return false };
        let mut births = Vec::with_capacity(count.min(BIRTHS_MAX));
        for _ in 0..count {
            let (Some(schema), Some(length)) = (reader.u16(), reader.u16()) else { return false };
            let Some(body) = reader.take(usize::from(length)) else { return false };
            births.push(Birth { schema: Schema(schema), body: body.into() });
        }
        births.drain(..births.len().saturating_sub(BIRTHS_MAX));
        self.births = births;
        true
    }
}

/// The metadata key of a device.
pub(crate) fn key_of(prefix: &str, device: &DeviceId) -> Vec<u8> {
    format!("{prefix}{device}").into_bytes()
}

/// The device a metadata key belongs to.
pub(crate) fn device_of(prefix: &str, key: &[u8]) -> Option<DeviceId> {
    let name = std::str::from_utf8(key).ok()?.strip_prefix(prefix)?;
    DeviceId::parse(name).ok()
}

fn count_byte(count: usize) -> u8 {
    u8::try_from(count).expect("lists are bounded by BOOTS_MAX and BIRTHS_MAX")
}

const _: () = assert!(BOOTS_MAX <= 255 && BIRTHS_MAX <= 255);

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn header(&mut self) -> Option<usize> {
        match self.take(2)? {
            [VERSION, count] => Some(usize::from(*count)),
            _ => None,
        }
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_telemetry::{ResetReason, heapless};

    fn places(boot: u32, first: u32, through: u32) -> Places {
        Places { boot: BootId(boot), first: Seq(first), through: Seq(through) }
    }

    fn hello(boot: u32) -> Hello {
        let device = DeviceId::parse("d").unwrap();
        Hello::new(device, BootId(boot), "fw", ResetReason::Power, heapless::Vec::new())
    }

    #[test]
    fn a_batch_is_new_once() {
        let mut device = Device::default();
        assert_eq!(device.handle_batch(places(1, 0, 9), true), Verdict::New { after_hole: 0 });
        assert_eq!(device.handle_batch(places(1, 0, 9), true), Verdict::Repeat);
        assert_eq!(device.handle_batch(places(1, 10, 19), true), Verdict::New { after_hole: 0 });
        assert_eq!(device.handle_batch(places(1, 0, 9), true), Verdict::Repeat);
        assert_eq!(
            device.handle_batch(places(2, 0, 3), true),
            Verdict::New { after_hole: 0 },
            "another boot"
        );
        assert_eq!(device.spooled_through(BootId(1)), Some(Seq(19)));
    }

    #[test]
    fn a_hole_on_a_noisy_link_waits_for_the_missing_batch() {
        // 0-9 was damaged on the way, 10-19 arrives: acking it would make the device drop 0-9.
        let mut device = Device::default();
        assert_eq!(device.handle_batch(places(1, 10, 19), false), Verdict::Hole);
        assert_eq!(device.handle_batch(places(1, 0, 9), false), Verdict::New { after_hole: 0 });
        assert_eq!(device.handle_batch(places(1, 10, 19), false), Verdict::New { after_hole: 0 });
    }

    #[test]
    fn a_hole_that_stays_is_accepted_and_counted() {
        let mut device = Device::default();
        for _ in 1..HOLE_OFFERS_MAX {
            assert_eq!(device.handle_batch(places(1, 5, 9), false), Verdict::Hole);
        }
        assert_eq!(device.handle_batch(places(1, 5, 9), false), Verdict::New { after_hole: 5 });
        // A clean link lost nothing: another receiver has the missing ones.
        assert_eq!(device.handle_batch(places(1, 30, 39), true), Verdict::New { after_hole: 20 });
    }

    #[test]
    fn marks_are_bounded_and_the_most_recently_used_stay() {
        let mut device = Device::default();
        for boot in 0..100 {
            device.handle_batch(places(boot, 0, 1), true);
            device.handle_batch(places(0, boot * 2, boot * 2 + 1), true);
        }
        assert_eq!(device.marks.len(), BOOTS_MAX);
        assert!(device.spooled_through(BootId(0)).is_some());
    }

    #[test]
    fn an_erased_device_is_not_taken_for_a_repeat() {
        let mut device = Device::default();
        device.handle_batch(places(1, 0, 99), true);
        device.handle_batch(places(7, 0, 99), true);
        device.handle_hello(&hello(1), b"hello of boot 1");
        assert_eq!(device.handle_batch(places(1, 0, 9), true), Verdict::New { after_hole: 0 });
    }

    #[test]
    fn a_hello_is_news_when_its_body_changed() {
        let mut device = Device::default();
        assert!(device.handle_hello(&hello(1), b"one"));
        assert!(!device.handle_hello(&hello(1), b"one"), "a reconnect");
        assert!(device.handle_hello(&hello(2), b"two"), "another boot");
        assert_eq!(device.births().len(), 1, "one birth a schema");
    }

    #[test]
    fn metadata_survives_a_round_trip_and_refuses_garbage() {
        let mut device = Device::default();
        device.handle_hello(&hello(1), b"body");
        device.handle_batch(places(1, 0, 9), true);
        device.handle_batch(places(2, 0, 3), true);
        let (marks, births) = (device.encode_marks(), device.encode_births());
        let mut read = Device::default();
        assert!(read.decode_marks(&marks) && read.decode_births(&births));
        assert_eq!(read, device);
        for length in 0..marks.len() {
            assert!(!Device::default().decode_marks(&marks[..length]), "{length}");
        }
        for length in 0..births.len() {
            assert!(!Device::default().decode_births(&births[..length]), "{length}");
        }
        assert!(!Device::default().decode_marks(&[2, 0]), "another version");
    }

    #[test]
    fn keys_name_their_device() {
        let device = DeviceId::parse("barn-7").unwrap();
        assert_eq!(device_of(MARKS_PREFIX, &key_of(MARKS_PREFIX, &device)), Some(device));
        assert_eq!(device_of(MARKS_PREFIX, b"h/barn-7"), None);
        assert_eq!(device_of(MARKS_PREFIX, b"m/a/b"), None);
    }
}
