//! CONNECT: who a client is and what it wants.

use super::Version;
use super::properties::{Properties, Property, PublishProperties};
use super::reader::{CodecError, Reader};
use crate::mqtt::limits::CLIENT_ID_BYTES_MAX;
use crate::mqtt::reason::Reason;
use crate::mqtt::topic::valid_topic;
use bytes::Bytes;

/// A CONNECT packet, copied out of the buffer: it lives as long as the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) client_id: String,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive_s: u16,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) will: Option<Will>,
    /// MQTT 5 only; 3.1.1 has `clean_start` false for "for ever".
    pub(crate) session_expiry_s: u32,
    pub(crate) receive_maximum: u16,
    pub(crate) packet_bytes_max: u32,
    /// The client wants reason strings.
    pub(crate) problem_information: bool,
    /// It asked for an authentication exchange, which we do not offer.
    pub(crate) authentication: bool,
}

/// What to publish when the connection ends without a DISCONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) delay_s: u32,
    pub(crate) properties: Option<Box<PublishProperties>>,
}

/// Decodes the variable part of CONNECT.
///
/// # Errors
/// `UnsupportedProtocolVersion` when it is neither 3.1.1 nor 5; otherwise what is malformed.
pub(crate) fn decode_connect(first: u8, body: &[u8]) -> Result<Connect, (Version, CodecError)> {
    let mut reader = Reader::new(body);
    let version = decode_version(&mut reader).map_err(|error| (Version::V4, error))?;
    if first & 0x0f != 0 {
        return Err((version, CodecError::malformed("reserved flags of the fixed header")));
    }
    decode_rest(&mut reader, version).map_err(|error| (version, error))
}

fn decode_version(reader: &mut Reader<'_>) -> Result<Version, CodecError> {
    let name = reader.binary()?;
    let level = reader.u8()?;
    match (name, level) {
        (b"MQTT", 4) => Ok(Version::V4),
        (b"MQTT", 5) => Ok(Version::V5),
        _ => Err(CodecError::new(Reason::UnsupportedProtocolVersion, "protocol is neither MQTT 3.1.1 nor 5")),
    }
}

fn decode_rest(reader: &mut Reader<'_>, version: Version) -> Result<Connect, CodecError> {
    let flags = reader.u8()?;
    let (has_will, will_qos, will_retain) = (flags & 0x04 != 0, (flags >> 3) & 0b11, flags & 0x20 != 0);
    let (has_username, has_password) = (flags & 0x80 != 0, flags & 0x40 != 0);
    if flags & 1 != 0 {
        return Err(CodecError::malformed("reserved CONNECT flag"));
    }
    if will_qos == 3 || !has_will && (will_qos != 0 || will_retain) {
        return Err(CodecError::malformed("will flags contradict each other"));
    }
    if version == Version::V4 && has_password && !has_username {
        return Err(CodecError::malformed("password without a user name"));
    }
    let mut connect = Connect {
        version,
        client_id: String::new(),
        clean_start: flags & 0x02 != 0,
        keep_alive_s: reader.u16()?,
        username: None,
        password: None,
        will: None,
        session_expiry_s: 0,
        receive_maximum: u16::MAX,
        packet_bytes_max: u32::MAX,
        problem_information: true,
        authentication: false,
    };
    if version == Version::V5 {
        decode_properties(reader, &mut connect)?;
    } else if !connect.clean_start {
        connect.session_expiry_s = u32::MAX;
    }
    let client_id = reader.string()?;
    if client_id.len() > CLIENT_ID_BYTES_MAX {
        return Err(CodecError::new(Reason::ClientIdentifierNotValid, "client identifier is too long"));
    }
    client_id.clone_into(&mut connect.client_id);
    if has_will {
        connect.will = Some(decode_will(reader, version, will_qos, will_retain)?);
    }
    if has_username {
        connect.username = Some(reader.string()?.to_owned());
    }
    if has_password {
        connect.password = Some(reader.binary()?.to_vec());
    }
    reader.end("bytes after CONNECT")?;
    Ok(connect)
}

fn decode_properties(reader: &mut Reader<'_>, connect: &mut Connect) -> Result<(), CodecError> {
    let mut properties = Properties::read(reader)?;
    while let Some(property) = properties.next()? {
        match property {
            Property::SessionExpiry(seconds) => connect.session_expiry_s = seconds,
            Property::ReceiveMaximum(0) => return Err(CodecError::protocol("receive maximum 0")),
            Property::ReceiveMaximum(count) => connect.receive_maximum = count,
            Property::MaximumPacketSize(0) => return Err(CodecError::protocol("maximum packet size 0")),
            Property::MaximumPacketSize(bytes) => connect.packet_bytes_max = bytes,
            Property::RequestProblem(value) => connect.problem_information = value == 1,
            Property::AuthenticationMethod(_) => connect.authentication = true,
            Property::AuthenticationData(_) if !connect.authentication => {
                return Err(CodecError::protocol("authentication data without a method"));
            }
            // We send no aliases and no response information, so nothing follows from these.
            Property::AuthenticationData(_)
            | Property::TopicAliasMaximum(_)
            | Property::RequestResponse(_)
            | Property::User(..) => {}
            _ => return Err(Property::misplaced()),
        }
    }
    Ok(())
}

fn decode_will(reader: &mut Reader<'_>, version: Version, qos: u8, retain: bool) -> Result<Will, CodecError> {
    let (mut delay_s, mut properties) = (0, None);
    if version == Version::V5 {
        let mut block = Properties::read(reader)?;
        while let Some(property) = block.next()? {
            if let Property::WillDelay(seconds) = property {
                delay_s = seconds;
            } else if !properties.get_or_insert_with(Box::<PublishProperties>::default).accept(property)? {
                return Err(Property::misplaced());
            }
        }
    }
    let topic = reader.string()?;
    if !valid_topic(topic) {
        return Err(CodecError::new(Reason::TopicNameInvalid, "will topic is not a topic name"));
    }
    let payload = Bytes::copy_from_slice(reader.binary()?);
    Ok(Will { topic: topic.to_owned(), payload, qos, retain, delay_s, properties })
}
