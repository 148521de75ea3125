//! Which devices an agent takes: every one, or those whose names are listed.

use headwater_telemetry::DeviceId;
use std::collections::BTreeSet;

/// Which devices are taken. The default is every one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow(Option<Listed>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Listed {
    names: BTreeSet<DeviceId>,
    beginnings: Vec<String>,
}

impl Allow {
    /// Those that are listed and no others: names, or beginnings of names with a `*` behind them.
    ///
    /// # Errors
    /// The first entry that is neither, in words.
    pub fn listed<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut listed = Listed::default();
        for entry in entries {
            let wrong =
                |error: &dyn std::fmt::Display| format!("\"{entry}\", which is no device id: {error}");
            match entry.strip_suffix('*') {
                Some("") => listed.beginnings.push(String::new()),
                Some(beginning) => {
                    // Whatever may stand at the beginning of a name is a name itself.
                    DeviceId::parse(beginning).map_err(|error| wrong(&error))?;
                    listed.beginnings.push(beginning.to_owned());
                }
                None => {
                    listed.names.insert(DeviceId::parse(entry).map_err(|error| wrong(&error))?);
                }
            }
        }
        Ok(Self(Some(listed)))
    }

    /// Whether this device is taken.
    pub fn takes(&self, device: &DeviceId) -> bool {
        let Some(listed) = &self.0 else { return true };
        listed.names.contains(device)
            || listed.beginnings.iter().any(|beginning| device.as_str().starts_with(beginning))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_beginnings_are_taken_and_nothing_else() {
        let takes = |allow: &Allow, name: &str| allow.takes(&DeviceId::parse(name).unwrap());
        let allow = Allow::listed(["barn-1", "yard-*"]).unwrap();
        assert!(takes(&allow, "barn-1") && takes(&allow, "yard-7"));
        assert!(!takes(&allow, "barn-10") && !takes(&allow, "yard"));
        assert!(takes(&Allow::listed(["*"]).unwrap(), "x"));
        assert!(takes(&Allow::default(), "x"));
        assert!(!takes(&Allow::listed([]).unwrap(), "x"), "an empty list takes none");
        let error = Allow::listed(["a/b"]).unwrap_err();
        assert!(error.contains("\"a/b\""), "{error}");
        assert!(Allow::listed(["a*b"]).is_err() && Allow::listed(["a/*"]).is_err());
    }
}
