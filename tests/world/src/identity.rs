//! Which entry a record is: device, boot and place.

use std::collections::BTreeMap;

/// An entry of a device, with the device's number in [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Identity {
    pub(crate) device: u32,
    pub(crate) boot: u32,
    pub(crate) seq: u32,
}

/// Numbers for names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    numbers: BTreeMap<String, u32>,
    names: Vec<String>,
}

impl Names {
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.numbers.insert(name.to_owned(), number);
        self.names.push(name.to_owned());
        number
    }

    pub(crate) fn name(&self, id: Identity) -> Option<&str> {
        self.names.get(id.device as usize).map(String::as_str)
    }

    pub(crate) fn show(&self, id: Identity) -> String {
        let name = self.names.get(id.device as usize).map_or("?", String::as_str);
        format!("{name} boot {} seq {}", id.boot, id.seq)
    }

    /// The entry of a record as the routes render it; none for what is no entry: log lines, results of commands.
    pub(crate) fn identify(&mut self, data: &[u8]) -> Option<Identity> {
        let text = std::str::from_utf8(data).ok()?;
        let device = text.strip_prefix("{\"kind\":\"").and_then(|rest| field(rest, "\"device\":\""))?;
        let device = self.number(device.split('"').next()?);
        let boot = number(text, "\"boot\":")?;
        let seq = number(text, "\"seq\":").or_else(|| number(text, "\"first\":"))?;
        Some(Identity { device, boot, seq })
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.find(name).map(|at| &text[at + name.len()..])
}

fn number(text: &str, name: &str) -> Option<u32> {
    let rest = field(text, name)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_and_gaps_have_an_identity_and_others_have_none() {
        let mut names = Names::default();
        let reading = br#"{"kind":"reading","device":"d1","boot":17,"seq":42,"channel_id":0,"raw":42}"#;
        let gap = br#"{"kind":"gap","device":"d1","boot":17,"first":43,"count":12}"#;
        assert_eq!(names.identify(reading), Some(Identity { device: 0, boot: 17, seq: 42 }));
        assert_eq!(names.identify(gap), Some(Identity { device: 0, boot: 17, seq: 43 }));
        assert_eq!(names.identify(br#"{"kind":"log","device":"d1","boot":17,"level":"info"}"#), None);
        assert_eq!(names.identify(b"\xff"), None);
    }
}
