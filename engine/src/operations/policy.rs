//! What a resource policy must be to be stored: JSON in the language of IAM, about this resource and about Kinesis.
//!
//! In: text from outside. Out: nothing, or what is wrong with it. Not here: deciding by it (identity).
//!
//! Where AWS is silent: everything that is wrong with a policy is `InvalidArgumentException`; a policy has at most 20 KB (the
//! developer guide's limit) and 20 statements; `Version` must be given; `NotPrincipal`, `NotResource` and `NotAction` are
//! refused, since what they would open cannot be seen from the policy.

use crate::api::ApiError;
use crate::limits;
use serde_json::{Map, Value};

/// Versions of the policy language that there are.
const VERSIONS: [&str; 2] = ["2012-10-17", "2008-10-17"];
/// Elements of a policy and of a statement that may be.
const POLICY_ELEMENTS: [&str; 3] = ["Version", "Id", "Statement"];
const STATEMENT_ELEMENTS: [&str; 6] = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];

/// Checks the policy of the resource `arn`.
///
/// # Errors
/// `InvalidArgumentException` with the first thing that is wrong.
pub(super) fn check(text: &str, arn: &str) -> Result<(), ApiError> {
    if text.len() > limits::POLICY_BYTES_MAX {
        let (found, most) = (text.len(), limits::POLICY_BYTES_MAX);
        return Err(wrong(format!("it has {found} bytes, at most {most} are allowed")));
    }
    let policy: Value =
        serde_json::from_str(text).map_err(|error| wrong(format!("it is not JSON ({error})")))?;
    let Value::Object(policy) = policy else { return Err(wrong("it must be a JSON object")) };
    only(&policy, &POLICY_ELEMENTS)?;
    match policy.get("Version").and_then(Value::as_str) {
        Some(version) if VERSIONS.contains(&version) => {}
        _ => return Err(wrong("Version must be 2012-10-17 or 2008-10-17")),
    }
    if policy.get("Id").is_some_and(|id| !id.is_string()) {
        return Err(wrong("Id must be a string"));
    }
    let statements = match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.as_slice(),
        Some(statement @ Value::Object(_)) => std::slice::from_ref(statement),
        _ => return Err(wrong("it must have a Statement")),
    };
    if statements.is_empty() || statements.len() > limits::POLICY_STATEMENTS_MAX {
        return Err(wrong(format!("it must have 1 to {} statements", limits::POLICY_STATEMENTS_MAX)));
    }
    statements.iter().try_for_each(|statement| check_statement(statement, arn))
}

fn check_statement(statement: &Value, arn: &str) -> Result<(), ApiError> {
    let Value::Object(statement) = statement else { return Err(wrong("a statement must be a JSON object")) };
    only(statement, &STATEMENT_ELEMENTS)?;
    if statement.get("Sid").is_some_and(|sid| !sid.is_string()) {
        return Err(wrong("Sid must be a string"));
    }
    if !matches!(statement.get("Effect").and_then(Value::as_str), Some("Allow" | "Deny")) {
        return Err(wrong("Effect must be Allow or Deny"));
    }
    check_principal(statement.get("Principal"))?;
    let actions = texts(statement.get("Action")).ok_or_else(|| wrong("a statement must have an Action"))?;
    if let Some(action) = actions.iter().find(|action| !is_action(action)) {
        return Err(wrong(format!("Action {action} is not an action of kinesis")));
    }
    let resources =
        texts(statement.get("Resource")).ok_or_else(|| wrong("a statement must have a Resource"))?;
    if let Some(other) = resources.iter().find(|&&resource| resource != arn) {
        return Err(wrong(format!(
            "Resource {other} is not the resource {arn} that the policy is attached to"
        )));
    }
    match statement.get("Condition") {
        None | Some(Value::Object(_)) => Ok(()),
        Some(_) => Err(wrong("Condition must be a JSON object")),
    }
}

/// `"*"`, or accounts, users and roles under `AWS`, services under `Service`.
fn check_principal(principal: Option<&Value>) -> Result<(), ApiError> {
    match principal {
        Some(Value::String(all)) if all == "*" => Ok(()),
        Some(Value::Object(kinds)) if !kinds.is_empty() => kinds.iter().try_for_each(|(kind, named)| {
            let known = matches!(kind.as_str(), "AWS" | "Service" | "Federated" | "CanonicalUser");
            let named = texts(Some(named)).is_some_and(|named| named.iter().all(|name| !name.is_empty()));
            if known && named { Ok(()) } else { Err(wrong(format!("Principal {kind} is not valid"))) }
        }),
        _ => Err(wrong("a statement must have a Principal")),
    }
}

fn is_action(action: &str) -> bool {
    let Some((service, name)) = action.split_once(':') else { return false };
    let named = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'*' | b'?'));
    service.eq_ignore_ascii_case("kinesis") && !name.is_empty() && named
}

/// One string, or a list of at least one.
fn texts(value: Option<&Value>) -> Option<Vec<&str>> {
    match value? {
        Value::String(text) => Some(vec![text]),
        Value::Array(values) if !values.is_empty() => values.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn only(object: &Map<String, Value>, known: &[&str]) -> Result<(), ApiError> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(other) => Err(wrong(format!("element {other} is not allowed"))),
        None => Ok(()),
    }
}

fn wrong(why: impl std::fmt::Display) -> ApiError {
    ApiError::invalid(format!("The resource policy is not valid: {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

    fn policy() -> Value {
        json!({ "Version": "2012-10-17", "Id": "x", "Statement": [{
            "Sid": "one", "Effect": "Allow", "Principal": { "AWS": ["111111111111", "*"] },
            "Action": ["kinesis:DescribeStreamSummary", "kinesis:Get*"], "Resource": ARN,
            "Condition": { "Bool": { "aws:SecureTransport": "true" } },
        }] })
    }

    #[test]
    fn a_policy_as_the_guide_has_it_is_taken() {
        assert_eq!(check(&policy().to_string(), ARN), Ok(()));
        let mut single = policy();
        single["Statement"] = policy()["Statement"][0].clone();
        single["Statement"]["Principal"] = json!("*");
        assert_eq!(check(&single.to_string(), ARN), Ok(()));
    }

    #[test]
    fn what_is_wrong_with_a_policy_is_named() {
        let statement = |key: &str, value: Value| {
            let mut policy = policy();
            policy["Statement"][0][key] = value;
            policy.to_string()
        };
        let whole = |key: &str, value: Value| {
            let mut policy = policy();
            policy[key] = value;
            policy.to_string()
        };
        let cases = [
            ("{".into(), "not JSON"),
            ("[]".into(), "must be a JSON object"),
            ("{}".into(), "Version"),
            (whole("Version", json!("2020-01-01")), "Version"),
            (whole("Statement", json!([])), "statements"),
            (whole("Statement", json!("x")), "Statement"),
            (whole("Extra", json!(1)), "element Extra"),
            (statement("Effect", json!("Permit")), "Effect"),
            (statement("Principal", json!({})), "Principal"),
            (statement("Principal", json!({ "Who": "x" })), "Principal Who"),
            (statement("NotPrincipal", json!("*")), "element NotPrincipal"),
            (statement("Action", json!("s3:GetObject")), "Action s3:GetObject"),
            (statement("Action", json!("*")), "Action *"),
            (statement("Action", json!([])), "Action"),
            (statement("Resource", json!("*")), "Resource *"),
            (statement("Condition", json!([])), "Condition"),
            (whole("Id", json!("x".repeat(limits::POLICY_BYTES_MAX))), "bytes"),
        ];
        for (text, contains) in cases {
            let error = check(&text, ARN).expect_err(contains);
            assert!(error.message.contains(contains), "{contains}: {}", error.message);
        }
    }
}
