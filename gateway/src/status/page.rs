//! `/`: what this is and where to look, for somebody who found the port.

use super::Status;

/// The page.
pub(super) fn render(status: &Status) -> String {
    let name = escaped(&status.name);
    let ledger = escaped(&status.ledger().to_string());
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{name}</title>\
         <body style=\"font-family:sans-serif;max-width:40em;margin:2em auto\">\
         <h1>{name}</h1><p>This is a Headwater gateway: readings of devices come in over MQTT and are read with the \
         Amazon Kinesis Data Streams API.</p><p>{ledger}</p>\
         <ul><li><a href=\"/health\">/health</a>: how it is, and topics without a route</li>\
         <li><a href=\"/metrics\">/metrics</a>: every counter, for Prometheus</li></ul>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
