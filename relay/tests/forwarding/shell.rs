//! A shell around a forwarding: source shards in memory, a clock moved by hand, nothing decided.

use std::collections::BTreeMap;

use headwater_relay::{
    Call, DeadLetter, ForwardConfig, Forwarding, Offset, Progress, Record, SendOutcome, SourceId, TargetId,
    TargetShard,
};

/// The end of all hash keys.
pub(crate) const MAX: u128 = u128::MAX;

/// The middle of all hash keys.
pub(crate) const HALF: u128 = 1 << 127;

pub(crate) struct Shell {
    pub(crate) forwarding: Forwarding,
    pub(crate) now_ms: u64,
    pub(crate) logs: BTreeMap<SourceId, Vec<Record>>,
    pub(crate) stored: BTreeMap<SourceId, Progress>,
    pub(crate) dead: Vec<DeadLetter>,
    /// Dead letters and progress are stored as soon as they are asked for.
    pub(crate) stores: bool,
}

impl Shell {
    /// One target shard, and no source yet.
    pub(crate) fn new(config: ForwardConfig) -> Self {
        let mut forwarding = Forwarding::new(config);
        forwarding.handle_targets(&[shard(0, 0, MAX)], 1_000_000).expect("as told");
        let (logs, stored) = (BTreeMap::new(), BTreeMap::new());
        Self { forwarding, now_ms: 1_000_000, logs, stored, dead: Vec::new(), stores: true }
    }

    /// Starts anew from what is stored.
    pub(crate) fn restart(self, config: ForwardConfig) -> Self {
        let mut shell =
            Self { now_ms: self.now_ms, logs: self.logs, stored: self.stored, ..Self::new(config) };
        for (id, log) in &shell.logs {
            let origin = Progress::new(Offset(0));
            shell
                .forwarding
                .handle_source(*id, &[], shell.stored.get(id).unwrap_or(&origin))
                .expect("as told");
            shell.forwarding.handle_tail(*id, Offset(log.len() as u64), shell.now_ms).expect("as told");
        }
        shell
    }

    pub(crate) fn source(&mut self, id: u32, parents: &[u32]) {
        let parents: Vec<_> = parents.iter().map(|id| SourceId(*id)).collect();
        self.logs.insert(SourceId(id), Vec::new());
        self.forwarding.handle_source(SourceId(id), &parents, &Progress::new(Offset(0))).expect("as told");
    }

    /// Appends a record of 100 bytes.
    pub(crate) fn append(&mut self, source: u32, lane: u128) {
        self.append_sized(source, lane, 90);
    }

    pub(crate) fn append_sized(&mut self, source: u32, lane: u128, data_bytes: u32) {
        let log = self.logs.get_mut(&SourceId(source)).expect("as told");
        let offset = Offset(log.len() as u64);
        let arrival_ms = self.now_ms;
        log.push(Record { offset, data_bytes, key_bytes: 10, lane, arrival_ms, is_packed: false });
        let tail = Offset(log.len() as u64);
        self.forwarding.handle_tail(SourceId(source), tail, self.now_ms).expect("as told");
    }

    /// Reads whatever is asked for.
    pub(crate) fn read(&mut self) {
        while let Some(read) = self.forwarding.poll_read() {
            let log = &self.logs[&read.source];
            let until = read.until.map_or(log.len() as u64, |until| until.0);
            let from = usize::try_from(read.from.0).expect("as told");
            let mut bytes = 0;
            let fits = |record: &&Record| {
                bytes += u64::from(record.data_bytes + record.key_bytes);
                bytes <= read.bytes_max || record.offset == read.from
            };
            let records: Vec<Record> = log[from..usize::try_from(until).expect("as told")]
                .iter()
                .take(read.records_max)
                .take_while(fits)
                .copied()
                .collect();
            let next = records.last().map_or(read.from, |last| Offset(last.offset.0 + 1));
            self.forwarding.handle_records(&read, &records, next, self.now_ms).expect("as told");
        }
    }

    /// Reads, stores, and gives the next call there is now.
    pub(crate) fn call(&mut self) -> Option<Call> {
        self.read();
        let call = self.forwarding.poll_call(self.now_ms);
        self.store();
        self.read();
        call
    }

    /// Moves the clock to when there is a call, at most `ms` on.
    pub(crate) fn call_within(&mut self, ms: u64) -> Option<Call> {
        let until_ms = self.now_ms + ms;
        loop {
            if let Some(call) = self.call() {
                return Some(call);
            }
            let next_ms = self.forwarding.poll_timeout()?.max(self.now_ms + 1);
            if next_ms > until_ms {
                self.now_ms = until_ms;
                return None;
            }
            self.now_ms = next_ms;
        }
    }

    pub(crate) fn answer(&mut self, call: &Call, outcomes: &[SendOutcome]) {
        self.forwarding.handle_outcomes(call.id, outcomes, self.now_ms).expect("as told");
        self.store();
    }

    pub(crate) fn ack(&mut self, call: &Call) {
        self.answer(call, &vec![SendOutcome::Acked; call.entries.len()]);
    }

    /// Acks call after call until there is none within `ms`; returns what was sent.
    pub(crate) fn drain(&mut self, ms: u64) -> Vec<(u32, u64)> {
        let mut sent = Vec::new();
        while let Some(call) = self.call_within(ms) {
            sent.extend(refs(&call));
            self.ack(&call);
        }
        sent
    }

    /// Stores dead letters and progress.
    pub(crate) fn store(&mut self) {
        while self.stores {
            let before = self.dead.len();
            while let Some(dead) = self.forwarding.poll_dead_letter() {
                self.dead.push(dead);
                self.forwarding.handle_dead_letter_stored(dead.record).expect("as told");
            }
            while let Some(due) = self.forwarding.poll_progress(self.now_ms) {
                self.stored.insert(due.source, due.progress);
                self.forwarding
                    .handle_progress_stored(due.source, due.version, self.now_ms)
                    .expect("as told");
            }
            if before == self.dead.len() {
                return;
            }
        }
    }

    pub(crate) fn checkpoint(&self, source: u32) -> u64 {
        self.forwarding.progress(SourceId(source)).expect("as told").checkpoint.0
    }

    /// The ledger adds up; returns delivered, set aside, dropped, waiting.
    pub(crate) fn ledger(&self, source: u32) -> [u64; 4] {
        let (ledger, waiting) = self.forwarding.ledger(SourceId(source)).expect("as told");
        ledger.check(waiting).expect("as told");
        [ledger.delivered, ledger.dead_lettered, ledger.dropped_total(), waiting]
    }
}

pub(crate) fn shard(id: u32, first: u128, last: u128) -> TargetShard {
    TargetShard { id: TargetId(id), first, last }
}

/// Source and offset of each record of a call.
pub(crate) fn refs(call: &Call) -> Vec<(u32, u64)> {
    call.records.iter().map(|record| (record.source.0, record.offset.0)).collect()
}

pub(crate) fn offsets(call: &Call) -> Vec<u64> {
    call.records.iter().map(|record| record.offset.0).collect()
}

pub(crate) const RETRY: SendOutcome = SendOutcome::Retry { is_throttled: false };

pub(crate) const THROTTLED: SendOutcome = SendOutcome::Retry { is_throttled: true };

/// The default without waiting for more.
pub(crate) fn config() -> ForwardConfig {
    let mut config = ForwardConfig::default();
    config.calls.linger_ms = 0;
    config
}
