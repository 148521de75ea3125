//! PUBLISH, the hot path: topic and payload stay in the read buffer.

use super::Version;
use super::properties::{Properties, Property, PublishProperties};
use super::reader::{CodecError, Reader};
use crate::mqtt::reason::Reason;
use crate::mqtt::topic::valid_topic;

/// A PUBLISH as it stands in the read buffer. Its topic is empty only when an alias is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) dup: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) topic: &'a str,
    /// 0 for QoS 0, never 0 otherwise.
    pub(crate) id: u16,
    /// 0 when none was given.
    pub(crate) alias: u16,
    pub(crate) payload: &'a [u8],
    /// Only when there was a property other than the alias, which is rare.
    pub(crate) properties: Option<Box<PublishProperties>>,
}

pub(super) fn decode_publish(first: u8, body: &[u8], version: Version) -> Result<Publish<'_>, CodecError> {
    let (dup, qos, retain) = (first & 0b1000 != 0, (first >> 1) & 0b11, first & 1 != 0);
    if qos == 3 {
        return Err(CodecError::malformed("PUBLISH with both QoS bits set"));
    }
    if dup && qos == 0 {
        return Err(CodecError::malformed("PUBLISH of QoS 0 with the DUP flag"));
    }
    let mut reader = Reader::new(body);
    let topic = reader.string()?;
    let id = if qos > 0 { reader.packet_id()? } else { 0 };
    let (alias, properties) =
        if version == Version::V5 { decode_properties(&mut reader)? } else { (0, None) };
    if topic.is_empty() {
        if alias == 0 {
            return Err(CodecError::protocol("PUBLISH with neither topic nor alias"));
        }
    } else if !valid_topic(topic) {
        return Err(CodecError::new(Reason::TopicNameInvalid, "topic with wildcards, or beyond the limits"));
    }
    Ok(Publish { dup, qos, retain, topic, id, alias, payload: reader.rest(), properties })
}

type Decoded = (u16, Option<Box<PublishProperties>>);

fn decode_properties(reader: &mut Reader<'_>) -> Result<Decoded, CodecError> {
    let mut block = Properties::read(reader)?;
    let (mut alias, mut properties) = (0, None);
    while let Some(property) = block.next()? {
        if let Property::TopicAlias(value) = property {
            if value == 0 {
                return Err(CodecError::new(Reason::TopicAliasInvalid, "topic alias 0"));
            }
            alias = value;
        } else if let Property::SubscriptionId(_) = property {
            return Err(CodecError::protocol("subscription identifier from a client"));
        } else if !properties.get_or_insert_with(Box::<PublishProperties>::default).accept(property)? {
            return Err(Property::misplaced());
        }
    }
    Ok((alias, properties))
}
