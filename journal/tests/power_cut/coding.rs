//! How a world's runs are stored: compressed or not, sealed with which key, by which cipher; changing from life to life and in between.
//!
//! Draws from a chance of its own, so that what a world does besides is the same whatever its runs look like.

use std::collections::BTreeMap;

use headwater_journal::{Cipher, Compression, Config, Core, ReadError, ReadLimits, Storage, StreamKey};

use crate::chance::Chance;
use crate::world::config;

/// Streams of a world and ids of keys each has.
const STREAMS: std::ops::RangeInclusive<u32> = 1..=2;
const KEY_IDS: u16 = 3;

pub(crate) struct Coding {
    chance: Chance,
    /// Whether runs are stored in any way but as they are.
    on: bool,
    seals: BTreeMap<u32, u16>,
}

impl Coding {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0x5ea1_5ea1);
        let on = chance.percent(65);
        Self { chance, on, seals: BTreeMap::new() }
    }

    /// Settings of one life.
    pub(crate) fn config(&mut self) -> Config {
        if !self.on {
            return config();
        }
        Config {
            compression: self.chance.pick(&[Compression::None, Compression::Lz4, Compression::Lz4]),
            cipher: self.chance.pick(&[Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305]),
            ..config()
        }
    }

    /// Makes the keys known after an opening; before that now and then reads without them.
    pub(crate) fn equip<S: Storage>(&mut self, core: &Core<S>) -> Result<(), String> {
        if !self.on {
            return Ok(());
        }
        if self.chance.percent(20) {
            read_without_keys(core)?;
        }
        set_keys(core);
        for (stream, key_id) in &self.seals {
            core.keys().seal_with(*stream, Some(*key_id));
        }
        Ok(())
    }

    /// Changes what a stream is sealed with, now and then; says what it did.
    pub(crate) fn change<S: Storage>(&mut self, core: &Core<S>) -> Option<String> {
        if !self.on || !self.chance.percent(12) {
            return None;
        }
        let stream = self.chance.pick(&[*STREAMS.start(), *STREAMS.end()]);
        let key_id =
            self.chance.percent(75).then(|| u16::try_from(self.chance.below(u64::from(KEY_IDS))).unwrap());
        match key_id {
            Some(key_id) => self.seals.insert(stream, key_id),
            None => self.seals.remove(&stream),
        };
        core.keys().seal_with(stream, key_id);
        Some(format!("seal stream {stream} with {key_id:?}"))
    }

    /// Makes some payloads such that LZ4 can do something with them; keeps their length.
    pub(crate) fn payload(&mut self, data: Vec<u8>) -> Vec<u8> {
        if !self.on || self.chance.percent(30) {
            return data;
        }
        b"temperature=21.5;".iter().copied().cycle().take(data.len()).collect()
    }
}

/// Makes every key of every stream known.
pub(crate) fn set_keys<S: Storage>(core: &Core<S>) {
    for stream in STREAMS {
        for key_id in 0..KEY_IDS {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&stream.to_le_bytes());
            key[4..6].copy_from_slice(&key_id.to_le_bytes());
            core.keys().set(stream, key_id, StreamKey::new(&key));
        }
    }
}

/// What is sealed says so, and nothing of it is taken for lost.
fn read_without_keys<S: Storage>(core: &Core<S>) -> Result<(), String> {
    for shard in core.shards() {
        let mut from = 0;
        loop {
            match core.read(shard, from, ReadLimits { records: 100, bytes: 1 << 20 }) {
                Ok(page) if !page.gaps.is_empty() => {
                    return Err(format!("{shard:?} without a key: {page:?}"));
                }
                Ok(page) if page.next < page.end => from = page.next,
                Ok(_) => break,
                Err(ReadError::KeyUnknown { first, .. }) if first > 0 => break,
                Err(error) => return Err(format!("{shard:?} without a key: {error}")),
            }
        }
    }
    Ok(())
}
