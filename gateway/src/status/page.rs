//! `/`: what this is, how it is and where to look, for somebody who found the port.
//!
//! In: what the gateway counts. Out: a page without scripts or anything from elsewhere; it fits a telephone. Invariant: whatever text comes
//! from outside (its name, what the disk said) is escaped. Not here: numbers for programs (`health`, `metrics`).

use super::Status;
use super::unread::{REMEDY, Unread};
use crate::words::span;

const STYLE: &str = "body{font-family:sans-serif;max-width:48em;margin:2em auto;padding:0 1em;line-height:1.4}\
                     table{border-collapse:collapse;margin:1em 0}\
                     th,td{text-align:left;vertical-align:top;padding:.4em 1em .4em 0;border-top:1px solid #ccc}\
                     th{white-space:nowrap}td{overflow-wrap:anywhere}meter{display:block;width:14em;max-width:100%}";

/// The page.
pub(super) fn render(status: &Status) -> String {
    let name = escaped(&status.name);
    let ledger = escaped(&status.ledger().to_string());
    let unread = Unread::of(status);
    let mut rows = String::new();
    let mut row = |what: &str, text: &str| rows.push_str(&format!("<tr><th>{what}</th><td>{text}</td></tr>"));
    let (state, _, reason) = super::health::state(status, &unread);
    row(
        "State",
        &reason.map_or_else(|| state.to_owned(), |why| format!("<b>{state}</b>: {}", escaped(&why))),
    );
    if unread.count > 0 {
        row("What to do", &escaped(REMEDY));
    }
    let up_ms = u64::try_from(status.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    row("Running for", &format!("{}, version {}", span(up_ms), env!("CARGO_PKG_VERSION")));
    if let Some(budget) = status.engine().write_budget() {
        row("Written to disk", &super::budget::html(&budget));
    }
    row("Ledger", &ledger);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{name}</title><style>{STYLE}</style></head>\
         <body><h1>{name}</h1><p>This is a Headwater gateway: readings of devices come in over MQTT and are read with the \
         Amazon Kinesis Data Streams API.</p><table>{rows}</table>\
         <ul><li><a href=\"/health\">/health</a>: how it is, and topics without a route</li>\
         <li><a href=\"/metrics\">/metrics</a>: every counter, for Prometheus</li></ul></body></html>\n"
    )
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
