//! Records of a measurement, 200 bytes each.

use std::sync::atomic::{AtomicUsize, Ordering};

use headwater_journal::{AppendSet, ShardKey};

const RECORD_BYTES: usize = 200;
/// Records made ahead, so that making them is not measured; more than an LZ4 window holds.
const READY: usize = 512;
static NEXT: AtomicUsize = AtomicUsize::new(0);

#[derive(Clone, Copy)]
pub(crate) enum Payload {
    /// One byte over and over.
    Same,
    /// As devices send it: much the same from record to record.
    Json,
    /// Nothing repeats.
    Noise,
}

impl Payload {
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        match name {
            "same" => Ok(Self::Same),
            "json" => Ok(Self::Json),
            "noise" => Ok(Self::Noise),
            _ => Err(format!("{name}: expected same, json or noise")),
        }
    }

    pub(crate) fn set_of(self, shard: u32, records: usize) -> AppendSet {
        let mut set = AppendSet::new();
        self.fill(&mut set, shard, records);
        set
    }

    pub(crate) fn fill(self, set: &mut AppendSet, shard: u32, records: usize) {
        set.clear();
        set.batch(ShardKey { stream: 1, shard });
        let ready = self.ready();
        // From another record on each time: a set that is its neighbour again would pack better than anything real.
        let start = NEXT.fetch_add(records, Ordering::Relaxed);
        for number in start..start + records {
            set.record(b"", &ready[number % READY]);
        }
    }

    fn ready(self) -> &'static [[u8; RECORD_BYTES]] {
        static READY_MADE: [std::sync::OnceLock<Vec<[u8; RECORD_BYTES]>>; 3] =
            [const { std::sync::OnceLock::new() }; 3];
        let make = || (0..READY as u64).map(|number| self.record(number)).collect();
        READY_MADE[self as usize].get_or_init(make)
    }

    fn record(self, number: u64) -> [u8; RECORD_BYTES] {
        let mut record = [0x5a; RECORD_BYTES];
        let mut chance = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance
        };
        match self {
            Self::Same => {}
            Self::Noise => record.chunks_mut(8).for_each(|part| part.copy_from_slice(&next().to_le_bytes())),
            Self::Json => {
                let (flow, back, pressure) = (400 + next() % 300, 300 + next() % 200, 100 + next() % 120);
                let text = format!(
                    r#"{{"device":"boiler-{:02}","boot":17,"seq":{},"time_ms":{},"readings":{{"flow_temperature":{}.{},"return_temperature":{}.{},"pressure_bar":{}.{:02},"pump":"on","errors":0}}}}"#,
                    number % 16,
                    48_210 + number / 16,
                    1_790_000_000_000u64 + number * 125 + next() % 40,
                    flow / 10,
                    flow % 10,
                    back / 10,
                    back % 10,
                    pressure / 100,
                    pressure % 100,
                );
                record.fill(b' ');
                let len = text.len().min(RECORD_BYTES);
                record[..len].copy_from_slice(&text.as_bytes()[..len]);
            }
        }
        record
    }
}
