//! Headers that answers have whatever the operation: ids, and what lets a browser's script read them.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const EXTENDED_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
/// What a script may read of an answer, as AWS has it.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,x-amzn-ErrorMessage,Date",
);
/// How long a browser may remember a preflight, in seconds: AWS's two days.
const MAX_AGE: HeaderValue = HeaderValue::from_static("172800");

/// What the answer to a request has to say to the script that sent it.
pub(super) fn cross_origin(asked: &HeaderMap, preflight: bool, answer: &mut HeaderMap) {
    if !asked.contains_key(header::ORIGIN) {
        return;
    }
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if !preflight {
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        return;
    }
    for (asks, allows) in [
        (header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS),
        (header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS),
    ] {
        if let Some(value) = asked.get(asks) {
            answer.insert(allows, value.clone());
        }
    }
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
}

/// The engine's own time, as an answer says it: clients correct their clocks by it, so it must be the one that records are stamped with.
pub(super) fn date(now_ms: u64) -> HeaderValue {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms.min(DATE_MS_MAX));
    let text = httpdate::fmt_http_date(time);
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// The last second of the year 9999: the format has four digits.
const DATE_MS_MAX: u64 = 253_402_300_799_000;

/// Ids of requests: different in every answer, also across restarts.
pub(super) struct RequestIds {
    seed: u64,
    count: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        Self::of(std::hash::RandomState::new().build_hasher().finish())
    }

    /// All that follow from a seed.
    pub(super) fn of(seed: u64) -> Self {
        RequestIds { seed, count: AtomicU64::new(0) }
    }

    /// Gives an answer its ids: one in the form of a random UUID, and AWS's extended one, 72 bytes in base64. A preflight
    /// has no extended one.
    pub(super) fn mark(&self, answer: &mut HeaderMap, preflight: bool) {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let (high, low) = (mix(self.seed ^ count), mix(self.seed.wrapping_add(count).rotate_left(32)));
        answer.insert(REQUEST_ID, uuid(high, low));
        if preflight {
            return;
        }
        let mut bytes = [0; 72];
        for (i, word) in (0..).zip(bytes.chunks_exact_mut(8)) {
            word.copy_from_slice(&mix(high ^ low.rotate_left(i)).to_be_bytes());
        }
        let text = base64_simd::STANDARD.encode_to_string(bytes);
        answer.insert(EXTENDED_ID, HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("0")));
    }
}

fn uuid(high: u64, low: u64) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = u128::from(high) << 64 | u128::from(low);
    let mut text = *b"00000000-0000-4000-8000-000000000000";
    let places = (0..text.len()).filter(|i| !matches!(i, 8 | 13 | 14 | 18 | 19 | 23));
    for (nibble, at) in places.enumerate() {
        text[at] = HEX[usize::try_from(digits >> (4 * nibble) & 15).unwrap_or(0)];
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
}

/// The finalizer of splitmix64: turns a counter into bits that look random.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_that_of_the_clock_it_is_given_in_any_year() {
        assert_eq!(date(1_790_000_000_123), "Mon, 21 Sep 2026 14:13:20 GMT");
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn ids_differ_and_look_like_aws_s() {
        let ids = RequestIds::new();
        let (mut a, mut b, mut preflight) = (HeaderMap::new(), HeaderMap::new(), HeaderMap::new());
        ids.mark(&mut a, false);
        ids.mark(&mut b, false);
        ids.mark(&mut preflight, true);
        for (id, length) in [(REQUEST_ID, 36), (EXTENDED_ID, 96)] {
            assert_eq!((a[&id].len(), b[&id].len()), (length, length));
            assert_ne!(a[&id], b[&id]);
        }
        assert_eq!(a[REQUEST_ID].as_bytes()[14], b'4');
        assert!(preflight.contains_key(REQUEST_ID) && !preflight.contains_key(EXTENDED_ID));
    }
}
