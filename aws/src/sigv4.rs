//! Signatures of requests: AWS Signature Version 4, in the Authorization header.
//!
//! In: a request as it goes on the wire, credentials, where it goes, what time it is. Out: three header values.
//! Invariant: depends on nothing but its arguments. Not here: queries (no call of ours has one), chunked or unsigned bodies.
//!
//! ```text
//! canonical request = METHOD \n path \n \n name:value\n.. \n names;.. \n hex(sha256(body))
//! text to sign      = AWS4-HMAC-SHA256 \n 20150830T123600Z \n 20150830/region/service/aws4_request \n hex(sha256(canonical))
//! key               = hmac(hmac(hmac(hmac("AWS4" secret, date), region), service), "aws4_request")
//! ```

use crate::credentials::Credentials;
use crate::timestamp::Timestamp;
use ring::{digest, hmac};
use std::fmt::Write;
use zeroize::Zeroizing;

/// What is signed. Names of headers are in lower case; values have no blanks around them.
#[derive(Debug, Clone, Copy)]
pub struct Signable<'a> {
    /// `POST`, in upper case.
    pub method: &'a str,
    /// As in the request line, percent-encoded once, from its slash on.
    pub path: &'a str,
    /// `host` and everything else that shall be signed; not the ones a signature adds.
    pub headers: &'a [(&'a str, &'a str)],
    /// The whole body.
    pub body: &'a [u8],
}

/// Who checks the signature.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// `us-east-1`
    pub region: &'a str,
    /// `kinesis`
    pub service: &'a str,
}

/// The headers that make a request a signed one. The session token goes beside them as `x-amz-security-token`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// For `x-amz-date`.
    pub date: String,
    /// For `authorization`.
    pub authorization: String,
}

/// Signs a request for the moment `time`: servers refuse it some minutes before and after.
#[must_use]
pub fn sign(
    request: &Signable<'_>,
    credentials: &Credentials,
    scope: Scope<'_>,
    time: Timestamp,
) -> Signature {
    let stamp = time.basic();
    let token = credentials.session_token().map(|token| token.expose());
    let mut headers: Vec<(&str, &str)> = request.headers.to_vec();
    headers.push(("x-amz-date", &stamp));
    headers.extend(token.map(|token| ("x-amz-security-token", token)));
    headers.sort_unstable();
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");

    let day = &stamp[..8];
    let Scope { region, service } = scope;
    let place = format!("{day}/{region}/{service}/aws4_request");
    let canonical = canonical(request, &headers, &names);
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{place}\n{}", sha256_hex(canonical.as_bytes()));
    let key = signing_key(credentials.secret_access_key().expose(), day, scope);
    let signature = hex(hmac::sign(&key, text.as_bytes()).as_ref());
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{place}, SignedHeaders={names}, Signature={signature}",
        credentials.access_key_id()
    );
    Signature { date: stamp, authorization }
}

/// Holds the session token among its headers, hence zeroed.
fn canonical(request: &Signable<'_>, headers: &[(&str, &str)], names: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(512));
    text.push_str(request.method);
    text.push('\n');
    for byte in request.path.bytes() {
        // Encoded once more, as every service but S3 wants it.
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(byte.into())
            }
            _ => write!(text, "%{byte:02X}").expect("a String takes everything"),
        }
    }
    text.push_str("\n\n");
    for (name, value) in headers {
        text.push_str(name);
        text.push(':');
        // Runs of blanks count as one.
        for (at, word) in value.split_ascii_whitespace().enumerate() {
            if at > 0 {
                text.push(' ');
            }
            text.push_str(word);
        }
        text.push('\n');
    }
    text.push('\n');
    text.push_str(names);
    text.push('\n');
    text.push_str(&sha256_hex(request.body));
    text
}

fn signing_key(secret: &str, day: &str, scope: Scope<'_>) -> hmac::Key {
    let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
    let first = Zeroizing::new(format!("AWS4{secret}"));
    [day, scope.region, scope.service, "aws4_request"]
        .iter()
        .fold(key(first.as_bytes()), |made, part| key(hmac::sign(&made, part.as_bytes()).as_ref()))
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)].into());
        text.push(DIGITS[usize::from(byte & 15)].into());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: Scope<'_> = Scope { region: "us-east-1", service: "service" };

    fn credentials() -> Credentials {
        Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None)
    }

    fn signature(method: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let time = Timestamp::parse_basic("20150830T123600Z").unwrap();
        let request = Signable { method, path: "/", headers, body };
        sign(&request, &credentials(), EXAMPLE, time).authorization.rsplit('=').next().unwrap().to_owned()
    }

    // From the test suite that AWS publishes for this signature.
    #[test]
    fn published_examples_are_signed_as_published() {
        let host = ("host", "example.amazonaws.com");
        assert_eq!(
            signature("GET", &[host], b""),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
        assert_eq!(
            signature("POST", &[host], b""),
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
        let form = ("content-type", "application/x-www-form-urlencoded");
        assert_eq!(
            signature("POST", &[host, form], b"Param1=value1"),
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
    }

    // From the page "Create a signed AWS API request" of the IAM guide.
    #[test]
    fn the_published_key_is_derived() {
        let iam = Scope { region: "us-east-1", service: "iam" };
        let key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", iam);
        let text = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n\
                    f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59";
        assert_eq!(
            hex(hmac::sign(&key, text.as_bytes()).as_ref()),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }
}
