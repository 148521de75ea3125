//! Words: nothing left to do, no vague names, every limit with its reason.

use std::path::Path;

use crate::sources::{assert_clean, everything, function_name, rust};

#[test]
fn nothing_is_left_to_do_in_the_code() {
    // Put together here, so that this file does not find itself.
    let marks =
        [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["todo", "!("], ["unimpl", "emented!("], ["dbg", "!("]];
    let marks = marks.map(|halves| halves.concat());
    let mut breaches = Vec::new();
    for source in everything() {
        let is_lock = source.path.ends_with(".lock") || source.path.ends_with("-lock.json");
        if is_lock || source.path == "CONTRIBUTING.md" {
            continue;
        }
        for (number, line) in source.text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark.as_str())) {
                breaches.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    assert_clean("unfinished work belongs in an issue, not in the code", &breaches);
}

#[test]
fn names_say_what_a_thing_is() {
    let vague_types = ["Manager", "Helper", "Helpers", "Util", "Utils", "Service", "Misc", "Common"];
    let vague_files = ["util", "utils", "helper", "helpers", "common", "misc", "manager", "service", "stuff"];
    let vague_verbs = ["process", "manage", "do"];
    let mut breaches = Vec::new();
    for source in rust() {
        for part in Path::new(&source.path).with_extension("").iter() {
            if vague_files.contains(&part.to_string_lossy().as_ref()) {
                breaches.push(format!("{}: a file or folder called {part:?}", source.path));
            }
        }
        for (number, line) in source.text.lines().enumerate() {
            let found =
                type_name(line).filter(|name| camel(name).any(|word| vague_types.contains(&word.as_str())));
            let found = found.or_else(|| {
                function_name(line)
                    .filter(|name| vague_verbs.contains(&name.split('_').next().unwrap_or_default()))
            });
            if let Some(name) = found {
                breaches.push(format!("{}:{}: {name}", source.path, number + 1));
            }
        }
    }
    assert_clean("vague names", &breaches);
}

fn type_name(line: &str) -> Option<String> {
    let words = line.split_whitespace().skip_while(|word| word.starts_with("pub")).collect::<Vec<_>>();
    let [kind, name, ..] = words.as_slice() else { return None };
    let kinds = ["struct", "enum", "trait", "type", "union"];
    kinds.contains(kind).then(|| name.chars().take_while(|c| c.is_alphanumeric()).collect())
}

fn camel(name: &str) -> impl Iterator<Item = String> {
    let mut words: Vec<String> = Vec::new();
    for letter in name.chars() {
        match words.last_mut() {
            Some(word) if !letter.is_uppercase() => word.push(letter),
            _ => words.push(letter.to_string()),
        }
    }
    words.into_iter()
}

#[test]
fn every_limit_has_its_reason() {
    let mut breaches = Vec::new();
    let mut limits = 0;
    for source in rust().into_iter().filter(|source| source.path.ends_with("/limits.rs")) {
        let lines: Vec<&str> = source.text.lines().map(str::trim_start).collect();
        for (number, line) in lines.iter().enumerate() {
            let is_limit = line.starts_with("pub const ") || line.starts_with("pub(crate) const ");
            if !is_limit {
                continue;
            }
            limits += 1;
            let above = lines[..number].iter().rev().find(|line| !line.starts_with("#["));
            if !above.is_some_and(|line| line.starts_with("///")) {
                breaches.push(format!("{}:{}: {line}", source.path, number + 1));
            }
        }
    }
    assert!(limits > 10, "only {limits} limits found in limits.rs files");
    assert_clean("a limit without a reason", &breaches);
}

#[test]
fn a_vague_name_is_seen() {
    assert_eq!(function_name("let a = \"fn x\";"), None);
    assert_eq!(type_name("pub(crate) struct SessionManager {").as_deref(), Some("SessionManager"));
    assert!(camel("SessionManager").any(|word| word == "Manager"));
}
