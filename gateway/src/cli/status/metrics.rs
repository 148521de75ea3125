//! A page of metrics, read.
//!
//! In: the text format of Prometheus, as `crate::status` writes it. Out: values by name and labels. What is no sample is
//! passed over. Not here: what they count.

use std::collections::BTreeMap;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli) struct Sample {
    labels: Vec<(String, String)>,
    pub(in crate::cli) value: f64,
}

impl Sample {
    pub(in crate::cli) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, text)| text.as_str())
    }

    pub(in crate::cli) fn count(&self) -> u64 {
        count(self.value)
    }
}

/// All values of a page by name.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Metrics(BTreeMap<String, Vec<Sample>>);

impl Metrics {
    pub(in crate::cli) fn parse(page: &str) -> Self {
        let mut metrics: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, sample)) = sample(line) {
                metrics.entry(name.to_owned()).or_default().push(sample);
            }
        }
        Self(metrics)
    }

    /// Every sample of one name.
    pub(in crate::cli) fn all(&self, name: &str) -> &[Sample] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The value of a metric without labels; 0 where there is none.
    pub(in crate::cli) fn count(&self, name: &str) -> u64 {
        self.all(name).first().map_or(0, Sample::count)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count; more than 2^53 is never reached"
)]
fn count(value: f64) -> u64 {
    value.max(0.0) as u64
}

fn sample(line: &str) -> Option<(&str, Sample)> {
    let at = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(at);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while let Some(more) = label(rest, &mut labels) {
            rest = more;
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.trim().parse().ok()?;
    Some((name, Sample { labels, value }))
}

/// Takes one `name="text"` with the comma behind it off the front.
fn label<'a>(text: &'a str, labels: &mut Vec<(String, String)>) -> Option<&'a str> {
    let (name, rest) = text.split_once("=\"")?;
    if name.starts_with('}') {
        return None;
    }
    let mut value = String::new();
    let mut chars = rest.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => {
                labels.push((name.to_owned(), value));
                let rest = &rest[at + 1..];
                return Some(rest.strip_prefix(',').unwrap_or(rest));
            }
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            (_, char) => value.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_out_with_their_labels_however_those_look() {
        let page = "# HELP a b\n# TYPE a counter\na 3\nb{x=\"1\",y=\"q\\\"r\\\\s\\nt} =\\\"\"} 2.5\nb{x=\"2\",y=\"\"} 7\nbroken{x=\n\n";
        let metrics = Metrics::parse(page);
        assert_eq!((metrics.count("a"), metrics.count("absent")), (3, 0));
        let [first, second] = metrics.all("b") else { panic!("{metrics:?}") };
        assert_eq!((first.label("y"), first.value), (Some("q\"r\\s\nt} =\""), 2.5));
        assert_eq!((second.label("x"), second.count()), (Some("2"), 7));
        assert!(metrics.all("broken").is_empty());
    }
}
