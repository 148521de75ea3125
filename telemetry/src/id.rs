//! Who said it and where it stands in the line of what was said.
//!
//! In: outside text and integers. Out: positions that cannot be mixed up. Invariant: a [`DeviceId`] is always
//! 1 to 32 characters that need no escaping in a topic, a file name or a partition key.

use crate::limits::DEVICE_ID_BYTES_MAX;
use core::fmt;
use heapless::String;
use serde::{Deserialize, Serialize};

/// The name of a device, unique for one gateway: 1 to 32 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String<DEVICE_ID_BYTES_MAX>")]
pub struct DeviceId(String<DEVICE_ID_BYTES_MAX>);

/// Why a text is not a [`DeviceId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceIdError {
    /// Nothing was given.
    Empty,
    /// Longer than [`DEVICE_ID_BYTES_MAX`].
    TooLong {
        /// Bytes found.
        len: usize,
    },
    /// A character outside the allowed set.
    Character {
        /// The first such character.
        found: char,
        /// Its byte position.
        at: usize,
    },
}

impl DeviceId {
    /// Checks and copies a name.
    ///
    /// # Errors
    /// When the text is empty, too long, or has a character outside `A-Z a-z 0-9 . _ -`.
    pub fn parse(text: &str) -> Result<Self, DeviceIdError> {
        if text.is_empty() {
            return Err(DeviceIdError::Empty);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if let Some((at, found)) = text.char_indices().find(|&(_, c)| !allowed(c)) {
            return Err(DeviceIdError::Character { found, at });
        }
        String::try_from(text).map(Self).map_err(|_| DeviceIdError::TooLong { len: text.len() })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String<DEVICE_ID_BYTES_MAX>> for DeviceId {
    type Error = DeviceIdError;
    fn try_from(text: String<DEVICE_ID_BYTES_MAX>) -> Result<Self, DeviceIdError> {
        Self::parse(&text)
    }
}

impl AsRef<str> for DeviceId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl core::str::FromStr for DeviceId {
    type Err = DeviceIdError;
    fn from_str(text: &str) -> Result<Self, DeviceIdError> {
        Self::parse(text)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DeviceIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => write!(f, "device id is empty, must be 1 to {DEVICE_ID_BYTES_MAX} characters"),
            Self::TooLong { len } => {
                write!(f, "device id has {len} bytes, must be 1 to {DEVICE_ID_BYTES_MAX}")
            }
            Self::Character { found, at } => {
                write!(f, "device id has {found:?} at byte {at}, allowed are A-Z a-z 0-9 . _ -")
            }
        }
    }
}

impl core::error::Error for DeviceIdError {}

macro_rules! position {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

position! {
    /// How often a device has started, counted in its flash. Strictly increases over the life of a device;
    /// [`Seq`] and [`Uptime`] can only be compared inside one boot.
    BootId(u32)
}
position! {
    /// Place of an entry in the line of one boot, from 0. A reading takes one, a gap takes as many as it counts,
    /// so the line has no holes. 2^32 entries are 136 years at one a second.
    Seq(u32)
}
position! {
    /// Milliseconds since the device started.
    Uptime(u64)
}
position! {
    /// UTC in milliseconds since 1970, without leap seconds.
    Timestamp(u64)
}
position! {
    /// Index into the channel table of [`Hello`](crate::Hello).
    ChannelId(u8)
}
position! {
    /// Names a channel table by its checksum, so that a batch is always read with the table it was made with.
    Schema(u16)
}

impl Seq {
    /// The place `count` entries on, or none past the end of the line.
    pub fn checked_add(self, count: u32) -> Option<Self> {
        self.0.checked_add(count).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_device_id_takes_exactly_the_allowed_texts() {
        for good in ["a", "greenhouse-7", "A.b_c-9", "0123456789abcdef0123456789ABCDEF"] {
            assert_eq!(DeviceId::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(DeviceId::parse(""), Err(DeviceIdError::Empty));
        assert_eq!(DeviceId::parse(&"x".repeat(33)), Err(DeviceIdError::TooLong { len: 33 }));
        for bad in ["a/b", "a b", "a#", "+", "ä", "a\0"] {
            assert!(matches!(DeviceId::parse(bad), Err(DeviceIdError::Character { .. })), "{bad:?}");
        }
        assert_eq!(
            DeviceId::parse("a/b").unwrap_err().to_string(),
            "device id has '/' at byte 1, allowed are A-Z a-z 0-9 . _ -"
        );
    }

    #[test]
    fn a_bad_device_id_does_not_come_in_by_decoding() {
        let mut buf = [0u8; 64];
        let bytes = postcard::to_slice(&"no/slash", &mut buf).unwrap();
        assert!(postcard::from_bytes::<DeviceId>(bytes).is_err());
        let bytes = postcard::to_slice(&"fine", &mut buf).unwrap();
        assert_eq!(postcard::from_bytes::<DeviceId>(bytes).unwrap().as_str(), "fine");
    }
}
