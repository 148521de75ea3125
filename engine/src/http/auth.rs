//! What a signed request has to have. Signatures are not verified: whoever reaches the port may use it.

use crate::api::{ApiError, ErrorType};
use hyper::Request;
use hyper::header::{self, HeaderName};

const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");

/// Requires a signature in the header or in the query, whole and not both.
///
/// # Errors
/// As AWS words them.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), ApiError> {
    let query = request.uri().query().unwrap_or_default();
    let in_query = has_parameter(query, "X-Amz-Algorithm");
    let Some(authorization) = request.headers().get(header::AUTHORIZATION) else {
        if !in_query {
            let message = "Missing Authentication Token";
            return Err(ApiError::new(ErrorType::MissingAuthenticationToken, message));
        }
        return check_query(query);
    };
    if in_query {
        let message =
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.";
        return Err(ApiError::new(ErrorType::InvalidSignature, message));
    }
    let text = String::from_utf8_lossy(authorization.as_bytes());
    let mut wrong = String::new();
    for parameter in ["Credential", "Signature", "SignedHeaders"] {
        let there = text.split([',', ' ']).any(|part| {
            part.split_once('=').is_some_and(|(name, value)| name == parameter && !value.is_empty())
        });
        if !there {
            wrong += &format!("Authorization header requires '{parameter}' parameter. ");
        }
    }
    let headers = request.headers();
    if !headers.contains_key(AMZ_DATE) && !headers.contains_key(header::DATE) {
        wrong += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ";
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(ApiError::new(ErrorType::IncompleteSignature, format!("{wrong}Authorization={text}")))
}

fn check_query(query: &str) -> Result<(), ApiError> {
    let mut wrong = String::new();
    for parameter in
        ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date"]
    {
        if !has_parameter(query, parameter) {
            wrong += &format!("AWS query-string parameters must include '{parameter}'. ");
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(ApiError::new(ErrorType::IncompleteSignature, wrong + "Re-examine the query-string parameters."))
}

fn has_parameter(query: &str, name: &str) -> bool {
    query
        .split('&')
        .any(|part| part.split_once('=').is_some_and(|(found, value)| found == name && !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(authorization: Option<&str>, date: bool, uri: &str) -> Request<()> {
        let mut request = Request::builder().uri(uri);
        if let Some(text) = authorization {
            request = request.header("authorization", text);
        }
        if date {
            request = request.header("x-amz-date", "20150830T123600Z");
        }
        request.body(()).unwrap()
    }

    const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=00";
    const QUERY: &str =
        "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a&X-Amz-Signature=0&X-Amz-SignedHeaders=host";

    #[test]
    fn signed_requests_pass_and_others_are_told_what_is_missing() {
        assert!(check(&request(Some(SIGNED), true, "/")).is_ok());
        assert!(check(&request(None, false, &format!("{QUERY}&X-Amz-Date=20150830T123600Z"))).is_ok());
        let missing = check(&request(None, true, "/")).unwrap_err();
        assert_eq!(missing.error, ErrorType::MissingAuthenticationToken);
        let half = check(&request(Some("AWS4-HMAC-SHA256 Credential=a"), false, "/")).unwrap_err();
        assert_eq!(half.error, ErrorType::IncompleteSignature);
        assert!(half.message.contains("'Signature'") && half.message.contains("X-Amz-Date"));
        let empty = "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=";
        assert!(check(&request(Some(empty), true, "/")).is_err());
    }

    #[test]
    fn a_signature_in_the_query_is_whole_and_the_only_one() {
        let half = check(&request(None, false, QUERY)).unwrap_err();
        assert_eq!(
            half.message,
            "AWS query-string parameters must include 'X-Amz-Date'. Re-examine the query-string parameters."
        );
        let both = check(&request(Some(SIGNED), true, QUERY)).unwrap_err();
        assert_eq!(both.error, ErrorType::InvalidSignature);
    }
}
