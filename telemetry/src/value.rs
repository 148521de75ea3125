//! What a sensor said: one value of five kinds, and the channel that explains it.
//!
//! In: raw sensor values. Out: values small enough for flash and radio. Invariant: text is valid UTF-8 of bounded
//! length. Not here: scaling to floating point (the receiver renders with the [`Channel`]).

use crate::limits::{CHANNEL_NAME_BYTES_MAX, TEXT_BYTES_MAX, UNIT_BYTES_MAX};
use core::fmt;
use heapless::String;
use serde::{Deserialize, Serialize};

/// One measured value. Grows only at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// Fixed point: value = raw × 10^[`Channel::exponent`]. What sensor drivers give.
    Fixed(i32),
    /// IEEE 754 single precision, for devices that compute.
    Float(f32),
    /// A counter or a state number, 64 bits.
    Integer(i64),
    /// A contact, an alarm.
    Boolean(bool),
    /// Up to [`TEXT_BYTES_MAX`] bytes.
    Text(Text),
}

/// The kinds of [`Value`], in its order. Grows only at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValueKind {
    /// [`Value::Fixed`]
    Fixed,
    /// [`Value::Float`]
    Float,
    /// [`Value::Integer`]
    Integer,
    /// [`Value::Boolean`]
    Boolean,
    /// [`Value::Text`]
    Text,
}

impl Value {
    /// The kind of this value.
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::Fixed(_) => ValueKind::Fixed,
            Self::Float(_) => ValueKind::Float,
            Self::Integer(_) => ValueKind::Integer,
            Self::Boolean(_) => ValueKind::Boolean,
            Self::Text(_) => ValueKind::Text,
        }
    }
}

/// Text of at most [`TEXT_BYTES_MAX`] bytes of UTF-8.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Text(String<TEXT_BYTES_MAX>);

impl Text {
    /// Takes as much of `text` as fits, cut between characters.
    pub fn truncated(text: &str) -> Self {
        Self(truncated(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Text {
    type Error = TooLong;
    fn try_from(text: &str) -> Result<Self, TooLong> {
        bounded(text).map(Self)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Describes one channel of a device: what its values mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Name, unique in the device, such as `temperature`.
    pub name: String<CHANNEL_NAME_BYTES_MAX>,
    /// Unit as it is to be shown, such as `°C`; empty when there is none.
    pub unit: String<UNIT_BYTES_MAX>,
    /// The kind of every value of this channel.
    pub kind: ValueKind,
    /// For [`ValueKind::Fixed`]: value = raw × 10^exponent. Otherwise 0.
    pub exponent: i8,
}

impl Channel {
    /// Describes a channel.
    ///
    /// # Errors
    /// When the name has more than 16 or the unit more than 8 bytes.
    pub fn new(name: &str, unit: &str, kind: ValueKind, exponent: i8) -> Result<Self, TooLong> {
        Ok(Self { name: bounded(name)?, unit: bounded(unit)?, kind, exponent })
    }
}

/// A text that does not fit its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Bytes found.
    pub len: usize,
    /// Bytes allowed.
    pub max: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text has {} bytes, must be at most {}", self.len, self.max)
    }
}

impl core::error::Error for TooLong {}

/// Copies `text` into a bounded string.
///
/// # Errors
/// When it does not fit.
pub fn bounded<const N: usize>(text: &str) -> Result<String<N>, TooLong> {
    String::try_from(text).map_err(|_| TooLong { len: text.len(), max: N })
}

/// Takes as much of `text` as fits, cut between characters.
pub fn truncated<const N: usize>(text: &str) -> String<N> {
    let mut out = String::new();
    for c in text.chars() {
        if out.push(c).is_err() {
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(Text::truncated("short").as_str(), "short");
        // 23 bytes, then a character of two: it does not fit whole, so it is left out whole.
        let long = "xxxxxxxxxxxxxxxxxxxxxxxäy";
        assert_eq!(Text::truncated(long).as_str(), "xxxxxxxxxxxxxxxxxxxxxxx");
        assert_eq!(Text::try_from(long), Err(TooLong { len: 26, max: 24 }));
    }

    #[test]
    fn a_channel_refuses_what_does_not_fit() {
        assert!(Channel::new("temperature", "°C", ValueKind::Fixed, -2).is_ok());
        assert_eq!(
            Channel::new("a-name-of-17-byte", "", ValueKind::Fixed, 0),
            Err(TooLong { len: 17, max: 16 })
        );
    }
}
