//! One call's publishes, one after another: which route, which records, which verdict.
//!
//! In: publishes, the rules, the devices. Out: records and marks on a [`Shelf`], verdicts, counts.
//! Pure but for the shelf, so that `explain` foretells what the router does by doing it.

mod message;

use super::codec::{Body, Codec, read};
use super::counters::{Noticed, RouteCounters};
use super::dead_letter;
use super::devices::{Desk, schema_key, seen_key};
use super::face;
use super::limits::PARTITION_KEY_CHARS_MAX;
use super::rule::{Route, Target, first_match};
use super::template::Scope;
use crate::ingest::{Inbound, Said, Verdict};
use headwater_engine::StreamName;
use headwater_telemetry::{DeviceId, TimeQuality};
use std::borrow::Cow;

/// The routes as they run.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) routes: Vec<Route>,
    /// Per route the name of its stream, where it is the same for every publish.
    pub(crate) names: Vec<Option<StreamName>>,
    pub(crate) dead_letter: StreamName,
}

impl Rules {
    /// `None` when a name is not one that the Kinesis API allows.
    pub(crate) fn new(routes: Vec<Route>, dead_letter: &str) -> Option<Rules> {
        let dead_letter = StreamName::parse(dead_letter).ok()?;
        let literal = |route: &Route| {
            route.target.as_ref().and_then(|target| target.stream.literal()).map(str::to_owned)
        };
        let names =
            routes.iter().map(|route| literal(route).map(|name| StreamName::parse(&name)).transpose());
        let names = names.collect::<Result<_, _>>().ok()?;
        Some(Rules { routes, names, dead_letter })
    }
}

/// Where records are put.
pub(crate) trait Shelf {
    /// Adds a record.
    fn put(&mut self, stream: &StreamName, key: &str, data: &[u8]) -> Result<(), Refusal>;
    /// Sets metadata in the same commit.
    fn mark(&mut self, key: &[u8], value: &[u8]);
}

/// Why a record was not put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not yet: the stream is being created. Nothing of the call may be staged; it is offered again.
    Later,
    /// Never, and why.
    Never(String),
}

/// A call in progress.
pub(crate) struct Taker<'a, S> {
    pub(crate) rules: &'a Rules,
    pub(crate) shelf: S,
    pub(crate) desk: Desk<'a>,
    pub(crate) text: String,
    pub(crate) now_ms: u64,
    pub(crate) random: &'a dyn Fn() -> u128,
    pub(crate) counts: RouteCounters,
    /// What is not in the streams although it was spoken of.
    pub(crate) noticed: Vec<(StreamName, Noticed)>,
    /// Something is acknowledged that an earlier call staged: the commit must cover it.
    pub(crate) leans_on_earlier: bool,
    /// What the gateway has to say about it.
    pub(crate) said: Vec<Said>,
    /// Of this machine's clock, told to devices that ask.
    pub(crate) time_quality: TimeQuality,
}

/// The call is offered again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Again;

/// A publish that cannot be stored where its route says.
pub(super) enum Failure {
    Again,
    DeadLetter(String),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Later => Failure::Again,
            Refusal::Never(reason) => Failure::DeadLetter(reason),
        }
    }
}

/// What became of a publish, and whether subscribers get it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) verdict: Verdict,
    pub(crate) downlink: bool,
}

const ACCEPTED: Taken = Taken { verdict: Verdict::Accepted, downlink: false };

impl<S: Shelf> Taker<'_, S> {
    /// Decides on one publish and puts its records.
    pub(crate) fn take(&mut self, publish: &Inbound<'_>) -> Result<Taken, Again> {
        self.counts.received += 1;
        self.counts.received_bytes += publish.payload.len() as u64;
        let Some((place, route)) = first_match(&self.rules.routes, publish.topic) else {
            self.counts.unmatched += 1;
            return Ok(Taken { verdict: Verdict::NoRoute, downlink: false });
        };
        match self.store(publish, place, route) {
            Ok(fresh) => Ok(Taken { downlink: route.downlink && fresh, ..ACCEPTED }),
            Err(Failure::Again) => Err(Again),
            Err(Failure::DeadLetter(reason)) => self.dead_letter(publish, route, &reason),
        }
    }

    /// Saves what changed about the devices of this call.
    pub(crate) fn save_devices(&mut self) {
        let mut mark = Vec::new();
        self.counts.devices_over_limit += self.desk.admit();
        for (id, before, now) in self.desk.changed() {
            if before.seen != now.seen {
                mark.clear();
                now.seen.encode(&mut mark);
                self.shelf.mark(&seen_key(id), &mark);
            }
            if !now.has_hellos_of(before) {
                self.shelf.mark(&schema_key(id), &now.encode_hellos());
            }
        }
    }

    /// True when the publish held something new.
    fn store(&mut self, publish: &Inbound<'_>, place: usize, route: &Route) -> Result<bool, Failure> {
        let level = route.device_level();
        match read(route.codec, publish.payload, level.is_some()).map_err(Failure::DeadLetter)? {
            Body::AsIs => self.store_as_is(publish, place, route).map(|()| true),
            Body::Command => {
                let fresh = u32::try_from((self.random)() >> 96).unwrap_or(0);
                let said = face::command(publish.topic, publish.payload, fresh).map_err(|error| {
                    self.said.push(face::refusal(publish.topic, &error));
                    Failure::DeadLetter(error)
                })?;
                self.said.push(said);
                self.store_as_is(publish, place, route).map(|()| false)
            }
            Body::Device(up) => {
                let name = level.and_then(|level| publish.topic.split('/').nth(level)).unwrap_or_default();
                match (DeviceId::parse(name), route.codec) {
                    (Ok(device), _) => self.store_message(publish, place, route, &device, up),
                    (Err(_), Codec::Auto) => self.store_as_is(publish, place, route).map(|()| true),
                    (Err(error), _) => Err(Failure::DeadLetter(format!("the topic's {error}"))),
                }
            }
        }
    }

    fn store_as_is(&mut self, publish: &Inbound<'_>, place: usize, route: &Route) -> Result<(), Failure> {
        let Some(target) = &route.target else {
            self.counts.downlink_only += 1;
            return Ok(());
        };
        let address = self.address(publish, place, target)?;
        self.shelf.put(&address.stream, &address.key, publish.payload)?;
        self.counts.records += 1;
        self.counts.stored += 1;
        Ok(())
    }

    /// Puts the record that stands in `self.text`.
    pub(super) fn store_text(
        &mut self,
        publish: &Inbound<'_>,
        place: usize,
        route: &Route,
    ) -> Result<bool, Failure> {
        let Some(target) = &route.target else {
            self.counts.downlink_only += 1;
            return Ok(true);
        };
        let address = self.address(publish, place, target)?;
        self.shelf.put(&address.stream, &address.key, self.text.as_bytes())?;
        self.counts.records += 1;
        self.counts.stored += 1;
        Ok(true)
    }

    fn dead_letter(&mut self, publish: &Inbound<'_>, route: &Route, reason: &str) -> Result<Taken, Again> {
        self.text.clear();
        dead_letter::write(&mut self.text, publish, route, reason, self.now_ms);
        match self.shelf.put(&self.rules.dead_letter, dead_letter::key(publish), self.text.as_bytes()) {
            Ok(()) => {
                self.counts.dead_lettered += 1;
                Ok(ACCEPTED)
            }
            Err(Refusal::Later) => Err(Again),
            Err(Refusal::Never(_)) => {
                self.counts.rejected += 1;
                Ok(Taken {
                    verdict: Verdict::Rejected("neither its stream nor the dead letters take it"),
                    downlink: false,
                })
            }
        }
    }

    /// The stream and the key of a publish's records.
    pub(super) fn address<'p>(
        &self,
        publish: &Inbound<'p>,
        place: usize,
        target: &'p Target,
    ) -> Result<Address<'p>, Failure>
    where
        Self: 'p,
    {
        let scope = Scope {
            topic: publish.topic,
            client_id: publish.client_id,
            payload: publish.payload,
            now_ms: self.now_ms,
            random: self.random,
        };
        let fail = |error: &dyn std::fmt::Display| Failure::DeadLetter(error.to_string());
        let key = target.partition_key.render(&scope).map_err(|error| fail(&error))?;
        let chars = key.chars().count();
        if !(1..=PARTITION_KEY_CHARS_MAX).contains(&chars) {
            let reason =
                format!("the partition key has {chars} characters, must have 1 to {PARTITION_KEY_CHARS_MAX}");
            return Err(Failure::DeadLetter(reason));
        }
        let stream = match &self.rules.names[place] {
            Some(name) => name.clone(),
            None => {
                let name = target.stream.render(&scope).map_err(|error| fail(&error))?;
                StreamName::parse(&name).map_err(|error| fail(&error))?
            }
        };
        Ok(Address { stream, key })
    }
}

pub(super) struct Address<'p> {
    pub(super) stream: StreamName,
    pub(super) key: Cow<'p, str>,
}
