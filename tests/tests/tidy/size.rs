//! Files and functions stay small. A ratchet (`ratchet.txt`) lists what is larger than it should be: entries may
//! shrink and go, never grow. `HEADWATER_TIDY_WRITE=1 cargo tidy` rewrites it; the diff is what a review looks at.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::sources::{assert_clean, function_name, rust};

/// A file should be shorter. Measured in the codebases we learn from: nine files in ten are.
const FILE_LINES: usize = 350;
/// A file must be shorter, ratchet or not.
const FILE_LINES_MAX: usize = 600;
/// A function should be shorter: it fits on a screen.
const FUNCTION_LINES: usize = 70;

/// `file <path> <lines>` and `function <path>::<name> <lines>`, as far as over the soft limits.
fn oversized() -> (BTreeMap<String, usize>, Vec<String>) {
    let (mut large, mut breaches) = (BTreeMap::new(), Vec::new());
    for source in rust() {
        let lines = source.text.lines().count();
        if lines > FILE_LINES {
            large.insert(format!("file {}", source.path), lines);
        }
        if lines > FILE_LINES_MAX {
            breaches.push(format!("{}: {lines} lines, must be at most {FILE_LINES_MAX}", source.path));
        }
        for (name, lines) in functions(&source.text) {
            if lines > FUNCTION_LINES {
                let longest = large.entry(format!("function {}::{name}", source.path)).or_insert(lines);
                *longest = lines.max(*longest);
            }
        }
    }
    (large, breaches)
}

/// Name and length of each function, by indentation: rustfmt puts the closing brace under the `fn`.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let close = format!("{indent}}}");
        // A declaration without a body ends before any brace.
        let body = lines[start..]
            .iter()
            .position(|line| line.ends_with('{') || line.ends_with(';') || line.ends_with('}'));
        let open = body.map_or(start, |offset| start + offset);
        if lines[open].ends_with('{') {
            let end =
                lines[open..].iter().position(|line| *line == close).map_or(open, |offset| open + offset);
            found.push((name, end - start + 1));
        }
    }
    found
}

#[test]
fn files_and_functions_stay_small() {
    let (large, mut breaches) = oversized();
    let ratchet = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tidy/ratchet.txt");
    if std::env::var_os("HEADWATER_TIDY_WRITE").is_some() {
        let mut text =
            String::from("# Larger than it should be. Numbers may go down, lines may go; see size.rs.\n");
        for (what, lines) in &large {
            writeln!(text, "{what} {lines}").expect("a String takes everything");
        }
        std::fs::write(&ratchet, text).expect("the ratchet can be written");
    }
    let known = std::fs::read_to_string(&ratchet).expect("ratchet.txt exists");
    let known: BTreeMap<&str, usize> = known
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.rsplit_once(' ').expect("`<what> <lines>`"))
        .map(|(what, lines)| (what, lines.parse().expect("a number of lines")))
        .collect();
    for (what, lines) in &large {
        match known.get(what.as_str()) {
            None => breaches.push(format!("{what}: {lines} lines, should be at most {}", limit_of(what))),
            Some(before) if lines > before => {
                breaches.push(format!("{what}: grew from {before} to {lines} lines"))
            }
            Some(_) => {}
        }
    }
    breaches.extend(
        known
            .keys()
            .filter(|what| !large.contains_key(**what))
            .map(|what| format!("{what}: is small now (or gone); take it out of ratchet.txt")),
    );
    assert_clean("size", &breaches);
}

fn limit_of(what: &str) -> usize {
    if what.starts_with("file ") { FILE_LINES } else { FUNCTION_LINES }
}

#[test]
fn a_long_function_is_measured_whole() {
    let text = "    pub async fn wide(\n        a: u8,\n    ) -> u8 {\n        a\n    }\n";
    assert_eq!(functions(text), [("wide".to_owned(), 5)]);
    assert_eq!(functions("fn declared();\nfn short() {}\n"), []);
}
