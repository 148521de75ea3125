//! skeleton
#![allow(missing_docs, unused_variables)]
use std::time::Duration;
use crate::*;

pub struct Core<S: Storage> { storage: S }

impl<S: Storage> Core<S> {
    pub fn open_on(storage: S, config: Config, now_ms: u64, seed: u64) -> Result<(Self, Recovery), OpenError> { config.check()?; unimplemented!() }
    pub fn append(&self, set: &AppendSet, now_ms: u64) -> Result<Appended, AppendError> { unimplemented!() }
    pub fn commit(&self) -> Result<Ticket, Failed> { unimplemented!() }
    pub fn durable(&self) -> Ticket { unimplemented!() }
    pub fn barrier(&self) -> Ticket { unimplemented!() }
    pub fn on_commit(&self, listener: Box<dyn Fn(Result<Ticket, Failed>) + Send + Sync>) { unimplemented!() }
    pub fn wait(&self, ticket: Ticket) -> Result<(), Failed> { unimplemented!() }
    pub(crate) fn wait_for_others(&self, ticket: Ticket) -> Result<(), Failed> { unimplemented!() }
    pub(crate) fn linger(&self) -> Duration { unimplemented!() }
    pub(crate) fn group_waits(&self) -> bool { unimplemented!() }
    pub(crate) fn wants_upkeep(&self) -> bool { unimplemented!() }
    pub fn read(&self, shard: ShardKey, from: u64, limits: ReadLimits) -> Result<Page, ReadError> { unimplemented!() }
    pub fn seek_time(&self, shard: ShardKey, time_ms: u64) -> Result<u64, ReadError> { unimplemented!() }
    pub fn bounds(&self, shard: ShardKey) -> Option<Bounds> { unimplemented!() }
    pub fn meta_get(&self, key: &[u8]) -> Option<MetaValue> { unimplemented!() }
    pub fn meta_list(&self, prefix: &[u8]) -> Vec<(Vec<u8>, MetaValue)> { unimplemented!() }
    pub fn retain(&self, stream: u32, max_age_ms: Option<u64>) { unimplemented!() }
    pub fn trim(&self, shard: ShardKey, before: u64) { unimplemented!() }
    pub fn hold(&self, shard: ShardKey, from: u64) { unimplemented!() }
    pub fn release(&self, shard: ShardKey) { unimplemented!() }
    pub fn drop_stream(&self, stream: u32) { unimplemented!() }
    pub fn counters(&self) -> Counters { unimplemented!() }
    pub fn state(&self) -> State { unimplemented!() }
    pub fn maintain(&self, now_ms: u64) -> bool { unimplemented!() }
    pub fn close(&self, now_ms: u64) { unimplemented!() }
}
