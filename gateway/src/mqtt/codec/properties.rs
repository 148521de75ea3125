//! MQTT 5 properties: a block of (identifier, value) pairs, each at most once unless it is a user property.

use super::reader::{CodecError, Reader};
use bytes::Bytes;

/// One property, borrowed from the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Property<'a> {
    PayloadFormat(u8),
    MessageExpiry(u32),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    SubscriptionId(u32),
    SessionExpiry(u32),
    AuthenticationMethod(&'a str),
    AuthenticationData(&'a [u8]),
    RequestProblem(u8),
    WillDelay(u32),
    RequestResponse(u8),
    ReasonString(&'a str),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(u16),
    User(&'a str, &'a str),
    MaximumPacketSize(u32),
    /// One that only a server sends.
    Server,
}

impl Property<'_> {
    /// The error for a property in a packet that cannot carry it.
    pub(super) fn misplaced() -> CodecError {
        CodecError::malformed("property that this packet cannot carry")
    }
}

/// Iterates the properties of one block.
#[derive(Debug)]
pub(super) struct Properties<'a> {
    block: Reader<'a>,
    /// One bit for each identifier seen; all identifiers are below 64.
    seen: u64,
}

impl<'a> Properties<'a> {
    /// Takes the block, length first, off `reader`.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Properties<'a>, CodecError> {
        let length = reader.varint()?;
        let length = usize::try_from(length).map_err(|_| CodecError::malformed("property length"))?;
        Ok(Properties { block: Reader::new(reader.take(length)?), seen: 0 })
    }

    /// The next property, or `None` at the end of the block.
    pub(super) fn next(&mut self) -> Result<Option<Property<'a>>, CodecError> {
        if self.block.is_empty() {
            return Ok(None);
        }
        let block = &mut self.block;
        let id = block.u8()?;
        let property = match id {
            0x01 => Property::PayloadFormat(flag(block)?),
            0x02 => Property::MessageExpiry(block.u32()?),
            0x03 => Property::ContentType(block.string()?),
            0x08 => Property::ResponseTopic(block.string()?),
            0x09 => Property::CorrelationData(block.binary()?),
            0x0B => Property::SubscriptionId(block.varint()?),
            0x11 => Property::SessionExpiry(block.u32()?),
            0x15 => Property::AuthenticationMethod(block.string()?),
            0x16 => Property::AuthenticationData(block.binary()?),
            0x17 => Property::RequestProblem(flag(block)?),
            0x18 => Property::WillDelay(block.u32()?),
            0x19 => Property::RequestResponse(flag(block)?),
            0x1F => Property::ReasonString(block.string()?),
            0x21 => Property::ReceiveMaximum(block.u16()?),
            0x22 => Property::TopicAliasMaximum(block.u16()?),
            0x23 => Property::TopicAlias(block.u16()?),
            0x26 => Property::User(block.string()?, block.string()?),
            0x27 => Property::MaximumPacketSize(block.u32()?),
            0x12 | 0x13 | 0x1A | 0x1C | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => Property::Server,
            _ => return Err(CodecError::malformed("unknown property")),
        };
        let bit = 1_u64 << id;
        if self.seen & bit != 0 && id != 0x26 {
            return Err(CodecError::protocol("property given twice"));
        }
        self.seen |= bit;
        Ok(Some(property))
    }
}

fn flag(block: &mut Reader<'_>) -> Result<u8, CodecError> {
    match block.u8()? {
        value @ (0 | 1) => Ok(value),
        _ => Err(CodecError::protocol("property must be 0 or 1")),
    }
}

/// The properties of a message that travel with it to subscribers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PublishProperties {
    /// The payload is UTF-8 text.
    pub(crate) utf8: bool,
    /// Seconds until the message is of no use.
    pub(crate) message_expiry_s: Option<u32>,
    /// What the payload is, as a MIME type or as the application likes.
    pub(crate) content_type: Option<String>,
    /// Where an answer is expected.
    pub(crate) response_topic: Option<String>,
    /// What to repeat in the answer.
    pub(crate) correlation_data: Option<Bytes>,
    /// Pairs of the application, in order.
    pub(crate) user: Vec<(String, String)>,
}

impl PublishProperties {
    /// Adds `property` when it is one that travels with a message; `Ok(false)` when it is another.
    pub(super) fn accept(&mut self, property: Property<'_>) -> Result<bool, CodecError> {
        match property {
            Property::PayloadFormat(value) => self.utf8 = value == 1,
            Property::MessageExpiry(seconds) => self.message_expiry_s = Some(seconds),
            Property::ContentType(text) => self.content_type = Some(text.to_owned()),
            Property::ResponseTopic(topic) => {
                if !crate::mqtt::topic::valid_topic(topic) {
                    return Err(CodecError::protocol("response topic is not a topic name"));
                }
                self.response_topic = Some(topic.to_owned());
            }
            Property::CorrelationData(data) => self.correlation_data = Some(Bytes::copy_from_slice(data)),
            Property::User(name, value) => {
                if self.user.len() >= crate::mqtt::limits::USER_PROPERTIES_MAX {
                    return Err(CodecError::new(
                        crate::mqtt::reason::Reason::QuotaExceeded,
                        "more user properties than the limit",
                    ));
                }
                self.user.push((name.to_owned(), value.to_owned()));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
