//! A cursor over the variable part of a packet that never reads past its end.

use crate::mqtt::reason::Reason;

/// Why bytes are not a packet we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {reason}")]
pub(crate) struct CodecError {
    /// What MQTT 5 clients are told.
    pub(crate) reason: Reason,
    /// What was wrong.
    pub(crate) what: &'static str,
}

impl CodecError {
    pub(crate) fn new(reason: Reason, what: &'static str) -> CodecError {
        CodecError { reason, what }
    }

    pub(crate) fn malformed(what: &'static str) -> CodecError {
        CodecError::new(Reason::MalformedPacket, what)
    }

    pub(crate) fn protocol(what: &'static str) -> CodecError {
        CodecError::new(Reason::ProtocolError, what)
    }
}

const SHORT: CodecError = CodecError { reason: Reason::MalformedPacket, what: "packet ends inside a field" };

/// Reads fields one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Everything left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        let (head, tail) = self.bytes.split_at_checked(count).ok_or(SHORT)?;
        self.bytes = tail;
        Ok(head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, CodecError> {
        let (&byte, tail) = self.bytes.split_first().ok_or(SHORT)?;
        self.bytes = tail;
        Ok(byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, CodecError> {
        let (head, tail) = self.bytes.split_first_chunk::<2>().ok_or(SHORT)?;
        self.bytes = tail;
        Ok(u16::from_be_bytes(*head))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, CodecError> {
        let (head, tail) = self.bytes.split_first_chunk::<4>().ok_or(SHORT)?;
        self.bytes = tail;
        Ok(u32::from_be_bytes(*head))
    }

    /// A packet identifier, which is never zero (MQTT 2.2.1).
    pub(crate) fn packet_id(&mut self) -> Result<u16, CodecError> {
        match self.u16()? {
            0 => Err(CodecError::protocol("packet identifier 0")),
            id => Ok(id),
        }
    }

    /// A variable byte integer (MQTT 5, 1.5.5).
    pub(crate) fn varint(&mut self) -> Result<u32, CodecError> {
        let mut value = 0;
        for at in 0..4 {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                if at > 0 && byte == 0 {
                    return Err(CodecError::malformed("variable byte integer is not minimal"));
                }
                return Ok(value);
            }
        }
        Err(CodecError::malformed("variable byte integer has more than four bytes"))
    }

    /// Binary data with its length before it.
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], CodecError> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// A string: UTF-8 without NUL (MQTT 5, 1.5.4).
    pub(crate) fn string(&mut self) -> Result<&'a str, CodecError> {
        let text =
            std::str::from_utf8(self.binary()?).map_err(|_| CodecError::malformed("string is not UTF-8"))?;
        if text.as_bytes().contains(&0) {
            return Err(CodecError::malformed("string contains NUL"));
        }
        Ok(text)
    }

    /// Checks that nothing is left.
    pub(crate) fn end(&self, what: &'static str) -> Result<(), CodecError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(CodecError::malformed(what)) }
    }
}
