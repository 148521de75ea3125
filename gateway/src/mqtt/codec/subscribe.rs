//! SUBSCRIBE and UNSUBSCRIBE. Whether a filter is well-formed is answered per filter, so it is not checked here.

use super::Version;
use super::properties::{Properties, Property};
use super::reader::{CodecError, Reader};
use crate::mqtt::limits::FILTERS_PER_PACKET_MAX;
use crate::mqtt::reason::Reason;

/// A SUBSCRIBE packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscribe {
    pub(crate) id: u16,
    pub(crate) subscription_id: Option<u32>,
    pub(crate) filters: Vec<SubscribeFilter>,
}

/// One filter of it with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubscribeFilter {
    pub(crate) filter: String,
    pub(crate) qos: u8,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    /// 0: send retained messages; 1: only for a new subscription; 2: never.
    pub(crate) retain_handling: u8,
}

/// An UNSUBSCRIBE packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unsubscribe {
    pub(crate) id: u16,
    pub(crate) filters: Vec<String>,
}

pub(super) fn decode_subscribe(reader: &mut Reader<'_>, version: Version) -> Result<Subscribe, CodecError> {
    let mut subscribe = Subscribe { id: reader.packet_id()?, subscription_id: None, filters: Vec::new() };
    if version == Version::V5 {
        let mut properties = Properties::read(reader)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::SubscriptionId(0) => return Err(CodecError::protocol("subscription identifier 0")),
                Property::SubscriptionId(id) => subscribe.subscription_id = Some(id),
                Property::User(..) => {}
                _ => return Err(Property::misplaced()),
            }
        }
    }
    while !reader.is_empty() {
        let filter = reader.string()?.to_owned();
        let options = reader.u8()?;
        let reserved = if version == Version::V5 { 0b1100_0000 } else { 0b1111_1100 };
        let (qos, retain_handling) = (options & 0b11, (options >> 4) & 0b11);
        if options & reserved != 0 || qos == 3 {
            return Err(CodecError::malformed("reserved subscription options"));
        }
        if retain_handling == 3 {
            return Err(CodecError::protocol("retain handling 3"));
        }
        let (no_local, retain_as_published) = (options & 0b100 != 0, options & 0b1000 != 0);
        // MQTT 5, 3.8.3.1.
        if no_local && filter.starts_with("$share/") {
            return Err(CodecError::protocol("no local on a shared subscription"));
        }
        full(subscribe.filters.len())?;
        subscribe.filters.push(SubscribeFilter {
            filter,
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        });
    }
    if subscribe.filters.is_empty() {
        return Err(CodecError::protocol("SUBSCRIBE without a filter"));
    }
    Ok(subscribe)
}

pub(super) fn decode_unsubscribe(
    reader: &mut Reader<'_>,
    version: Version,
) -> Result<Unsubscribe, CodecError> {
    let mut unsubscribe = Unsubscribe { id: reader.packet_id()?, filters: Vec::new() };
    if version == Version::V5 {
        let mut properties = Properties::read(reader)?;
        while let Some(property) = properties.next()? {
            let Property::User(..) = property else { return Err(Property::misplaced()) };
        }
    }
    while !reader.is_empty() {
        full(unsubscribe.filters.len())?;
        unsubscribe.filters.push(reader.string()?.to_owned());
    }
    if unsubscribe.filters.is_empty() {
        return Err(CodecError::protocol("UNSUBSCRIBE without a filter"));
    }
    Ok(unsubscribe)
}

fn full(count: usize) -> Result<(), CodecError> {
    if count >= FILTERS_PER_PACKET_MAX {
        return Err(CodecError::new(Reason::QuotaExceeded, "more filters in one packet than the limit"));
    }
    Ok(())
}
