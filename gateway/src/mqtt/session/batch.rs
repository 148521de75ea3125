//! The PUBLISHes of one read on their way to storage, and the acknowledgements they become.
//!
//! Invariant: `acks` is in the order of the packets; each says what it waits for.

use super::{End, Session};
use crate::ingest::{Inbound, Verdict};
use crate::mqtt::codec::{self, Publish, PublishProperties, Version, kind};
use crate::mqtt::counters::Tally;
use crate::mqtt::limits::BATCH_PUBLISHES_MAX;
use crate::mqtt::reason::Reason;
use std::sync::Arc;

/// A PUBLISH that goes to storage.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    topic: Topic<'a>,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) properties: Option<Box<PublishProperties>>,
}

#[derive(Debug)]
enum Topic<'a> {
    Wire(&'a str),
    Alias(Arc<str>),
}

impl Pending<'_> {
    /// The topic, alias resolved.
    pub(crate) fn topic(&self) -> &str {
        match &self.topic {
            Topic::Wire(topic) => topic,
            Topic::Alias(topic) => topic,
        }
    }

    /// The view storage gets of it.
    pub(crate) fn inbound<'b>(&'b self, client_id: &'b str) -> Inbound<'b> {
        let properties = self.properties.as_deref();
        Inbound {
            client_id,
            topic: self.topic(),
            payload: self.payload,
            qos: self.qos,
            retain: self.retain,
            content_type: properties.and_then(|properties| properties.content_type.as_deref()),
            user_properties: properties.map_or(&[], |properties| properties.user.as_slice()),
        }
    }
}

/// An acknowledgement owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owed {
    id: u16,
    qos: u8,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// That of the publish with this index, once durable.
    Of(usize),
    /// Known already; it still waits its turn.
    Known(Reason),
}

/// The PUBLISHes of one read. `'a` is the read buffer.
#[derive(Debug, Default)]
pub(crate) struct Batch<'a> {
    pub(crate) publishes: Vec<Pending<'a>>,
    owed: Vec<Owed>,
    /// Counted once a batch: a shared counter touched for every message would cost more than parsing it.
    pub(crate) tally: Tally,
}

impl Batch<'_> {
    /// Nothing to store and nothing to acknowledge.
    pub(crate) fn is_empty(&self) -> bool {
        self.publishes.is_empty() && self.owed.is_empty()
    }

    /// Whether a client waits for an answer to any of it.
    pub(crate) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// The acknowledgements alone, when the read buffer is needed again.
    pub(crate) fn into_acks(self) -> Acks {
        Acks(self.owed)
    }

    fn holds_qos2(&self, id: u16) -> bool {
        self.owed.iter().any(|owed| owed.id == id && owed.qos == 2)
    }
}

/// The acknowledgements of a batch.
#[derive(Debug)]
pub(crate) struct Acks(Vec<Owed>);

impl Session {
    /// Whether the next PUBLISH may join `batch`. A 3.1.1 client is not told a window, so its socket is left
    /// unread at the limit; an MQTT 5 client that passes its window is in error instead (`handle_publish`).
    pub(crate) fn has_room(&self, batch: &Batch<'_>) -> bool {
        let window = usize::from(self.shared.limits.inflight);
        batch.publishes.len() < BATCH_PUBLISHES_MAX
            && (self.version == Version::V5 || batch.owed.len() < window)
    }

    pub(super) fn handle_publish<'a>(
        &mut self,
        publish: Publish<'a>,
        batch: &mut Batch<'a>,
    ) -> Result<(), End> {
        batch.tally.add(publish.qos, publish.payload.len());
        let topic = self.resolve(&publish)?;
        if publish.qos > 0 {
            // Those with an identifier and no PUBCOMP yet count too (MQTT 5, 4.9).
            let open = self.kept.received.len() + batch.owed.len();
            let again = publish.qos == 2
                && (self.kept.received.contains(&publish.id) || batch.holds_qos2(publish.id));
            if again {
                self.shared.counters.repeats_qos2.add(1);
                batch.owed.push(Owed { id: publish.id, qos: 2, outcome: Outcome::Known(Reason::Success) });
                return Ok(());
            }
            if open >= usize::from(self.shared.limits.inflight) && self.version == Version::V5 {
                return Err(End::Close(
                    Reason::ReceiveMaximumExceeded,
                    "more publishes in flight than announced",
                ));
            }
        }
        let topic_text = match &topic {
            Topic::Wire(topic) => topic,
            Topic::Alias(topic) => topic.as_ref(),
        };
        if !self.access.publish(&self.client, topic_text) {
            return self.refuse(&publish, batch);
        }
        if publish.properties.as_ref().is_some_and(|properties| properties.utf8)
            && std::str::from_utf8(publish.payload).is_err()
        {
            self.shared.counters.refused(Reason::PayloadFormatInvalid);
            owe(batch, &publish, Outcome::Known(Reason::PayloadFormatInvalid));
            return Ok(());
        }
        owe(batch, &publish, Outcome::Of(batch.publishes.len()));
        let Publish { qos, retain, payload, properties, .. } = publish;
        batch.publishes.push(Pending { topic, payload, qos, retain, properties });
        Ok(())
    }

    fn refuse(&mut self, publish: &Publish<'_>, batch: &mut Batch<'_>) -> Result<(), End> {
        self.shared.counters.refused(Reason::NotAuthorized);
        if self.version == Version::V4 {
            // 3.1.1, 3.3.5: acknowledge or close. An acknowledgement would say that it is stored.
            return Err(End::Close(Reason::NotAuthorized, "publish to a topic that is not allowed"));
        }
        owe(batch, publish, Outcome::Known(Reason::NotAuthorized));
        Ok(())
    }

    fn resolve<'a>(&mut self, publish: &Publish<'a>) -> Result<Topic<'a>, End> {
        if publish.alias == 0 {
            return Ok(Topic::Wire(publish.topic));
        }
        if publish.alias > self.shared.limits.topic_aliases {
            return Err(End::Close(Reason::TopicAliasInvalid, "topic alias beyond the announced maximum"));
        }
        let at = usize::from(publish.alias) - 1;
        if publish.topic.is_empty() {
            let known = self.aliases.get(at).cloned().flatten();
            return known
                .map(Topic::Alias)
                .ok_or(End::Close(Reason::ProtocolError, "topic alias was never set"));
        }
        if self.aliases.len() <= at {
            self.aliases.resize(at + 1, None);
        }
        self.aliases[at] = Some(publish.topic.into());
        Ok(Topic::Wire(publish.topic))
    }

    /// The batch is durable: writes its acknowledgements.
    ///
    /// # Errors
    /// When something was not stored and the version has no words for that: an acknowledgement would say that it is. The
    /// others are acknowledged all the same.
    pub(crate) fn handle_commit(&mut self, acks: &Acks, verdicts: &[Verdict]) -> Result<(), End> {
        let mut result = Ok(());
        for &Owed { id, qos, outcome } in &acks.0 {
            let (reason, text) = match outcome {
                Outcome::Known(reason) => (reason, None),
                Outcome::Of(at) => reason_of(verdicts.get(at).copied()),
            };
            if reason.is_error() && self.version == Version::V4 {
                result = Err(End::Close(reason, "a publish was not stored"));
            } else {
                self.ack(id, qos, reason, text);
            }
        }
        self.shared.counters.acks.add(acks.0.len());
        for verdict in verdicts {
            match verdict {
                Verdict::Accepted => {}
                Verdict::NoRoute => self.shared.counters.unrouted.add(1),
                Verdict::Rejected(_) => self.shared.counters.rejected.add(1),
            }
        }
        result
    }

    /// Nothing of the batch was taken. Only MQTT 5 has words for that; the caller keeps 3.1.1 clients waiting.
    pub(crate) fn handle_full(&mut self, acks: &Acks) {
        for &Owed { id, qos, outcome } in &acks.0 {
            let reason = match outcome {
                Outcome::Known(reason) => reason,
                Outcome::Of(_) => {
                    self.shared.counters.refused(Reason::QuotaExceeded);
                    Reason::QuotaExceeded
                }
            };
            self.ack(id, qos, reason, None);
        }
    }

    fn ack(&mut self, id: u16, qos: u8, reason: Reason, text: Option<&'static str>) {
        let text = text.and_then(|text| self.text(text));
        if qos == 1 {
            codec::ack(&mut self.out, kind::PUBACK, self.version, id, reason, text);
        } else {
            if !reason.is_error() || self.version == Version::V4 {
                self.kept.received.insert(id);
            }
            codec::ack(&mut self.out, kind::PUBREC, self.version, id, reason, text);
        }
    }
}

fn owe(batch: &mut Batch<'_>, publish: &Publish<'_>, outcome: Outcome) {
    if publish.qos > 0 {
        batch.owed.push(Owed { id: publish.id, qos: publish.qos, outcome });
    }
}

fn reason_of(verdict: Option<Verdict>) -> (Reason, Option<&'static str>) {
    match verdict {
        Some(Verdict::Accepted) => (Reason::Success, None),
        Some(Verdict::NoRoute) => (Reason::NoMatchingSubscribers, None),
        Some(Verdict::Rejected(text)) => (reason_of_rejection(text), Some(text)),
        // A batch with fewer verdicts than publishes is a bug of `Ingest`; nothing may be promised then.
        None => (Reason::UnspecifiedError, None),
    }
}

/// The code for a rejection, by the word its text starts with.
fn reason_of_rejection(text: &str) -> Reason {
    if text.starts_with("payload") {
        Reason::PayloadFormatInvalid
    } else if text.starts_with("topic") {
        Reason::TopicNameInvalid
    } else if text.starts_with("quota") {
        Reason::QuotaExceeded
    } else {
        Reason::ImplementationSpecificError
    }
}
