//! The CBOR a scanner takes: strings of definite length; maps and arrays of either.

use super::Source;
use crate::api::cbor::{Head, Reader};
use crate::api::put::Data;

pub(in crate::api) struct Scanner<'a>(Reader<'a>);

impl<'a> Scanner<'a> {
    pub(in crate::api) fn new(body: &'a [u8]) -> Self {
        Scanner(Reader::new(body))
    }

    #[inline]
    fn string(&mut self) -> Option<&'a [u8]> {
        match self.0.head()? {
            Head::Text(Some(length)) => self.0.slice(length),
            _ => None,
        }
    }
}

impl<'a> Source<'a> for Scanner<'a> {
    #[inline]
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        let Head::Map(mut left) = self.0.head()? else { return None };
        while self.0.more(&mut left)? {
            let name = self.string()?;
            member(self, name)?;
        }
        Some(())
    }

    fn array(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let Head::Array(mut left) = self.0.head()? else { return None };
        while self.0.more(&mut left)? {
            element(self)?;
        }
        Some(())
    }

    #[inline]
    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.string()?).ok()
    }

    #[inline]
    fn data(&mut self) -> Option<Data<'a>> {
        match self.0.head()? {
            Head::Bytes(Some(length)) => self.0.slice(length).map(Data::Bytes),
            _ => None,
        }
    }

    fn left(&self) -> usize {
        self.0.left()
    }

    fn ends(&mut self) -> bool {
        self.0.is_at_end()
    }
}
