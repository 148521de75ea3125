//! `[mqtt.tls]`: the address where devices speak TLS.

use super::section::Section;
use super::types::Tls;
use crate::mqtt::TlsSettings;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What clients must show.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clients {
    Required,
    Optional,
    None,
}

/// `None` when there is no such table, or it is not good. `asks` says whether others are asked for a password.
pub(super) fn tls(mut table: Section<'_, '_>, asks: bool) -> Option<Tls> {
    let filled = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
    let line = table.line();
    let address = |text: &str| text.parse::<SocketAddr>().ok();
    let listen = table.optional("listen", "an IP address and a port, such as \"0.0.0.0:8883\"", address);
    let certificate = table.optional("certificate", "a path", filled);
    let key = table.optional("key", "a path", filled);
    let clients = table.optional("clients", "a path", filled);
    let shows = [("required", Clients::Required), ("optional", Clients::Optional), ("none", Clients::None)];
    let shows = table.choice("client_certificates", "required", &shows);
    let agents = agents(&mut table);
    let fragment = table.bytes("fragment", 2 << 10, 512..=16 << 10);
    if line == 0 {
        table.end();
        return None;
    }
    if listen.is_none() {
        table.wrong(line, "listen", "missing", "an IP address and a port, such as \"0.0.0.0:8883\"");
    }
    for (name, found) in [("certificate", &certificate), ("key", &key)] {
        if found.is_none() {
            table.wrong(
                line,
                name,
                "missing",
                "the path of a PEM file; `headwater certificates server` makes it",
            );
        }
    }
    if clients.is_none() && shows != Clients::None {
        let expected =
            "the path of the PEM file of the authority that signs devices, or client_certificates = \"none\"";
        table.wrong(line, "clients", "missing", expected);
    }
    let is_open = listen.as_ref().is_some_and(|listen| !listen.value.ip().is_loopback());
    if is_open && shows != Clients::Required && !asks {
        let expected = "\"required\", or [[mqtt.users]] with passwords, for anyone who reaches this address could publish";
        table.wrong(line, "client_certificates", "not \"required\"", expected);
    }
    table.end();
    Some(Tls {
        listen: listen?.value,
        agents,
        settings: TlsSettings {
            certificate: certificate?.value,
            key: key?.value,
            clients: clients.map(|clients| clients.value).filter(|_| shows != Clients::None),
            optional: shows == Clients::Optional,
            fragment_bytes: usize::try_from(fragment).unwrap_or(usize::MAX),
        },
    })
}

/// Names in certificates of those that speak for devices behind them.
fn agents(table: &mut Section<'_, '_>) -> Vec<String> {
    let agents = table.list("agents", &[]);
    if let Some(wrong) = agents.value.iter().find(|name| name.is_empty() || name.contains(['+', '#', '/'])) {
        let expected = "names as in certificates of agents, such as \"barn-agent\"";
        table.wrong(agents.line, "agents", format!("\"{wrong}\" among others"), expected);
    }
    agents.value
}
