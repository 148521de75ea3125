//! The files the rules look at.

use std::path::{Path, PathBuf};

use system_tests::binaries::workspace;

/// Folders that hold no sources of ours.
const SKIPPED_FOLDERS: [&str; 5] = [".git", "target", "__pycache__", ".venv", "node_modules"];

/// One file of the repository.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// All text files, sorted by path, with paths relative to the workspace.
pub(crate) fn sources(extensions: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    collect(workspace(), extensions, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 10 || extensions == ["md"], "only {} files with {extensions:?} found", found.len());
    found
}

fn collect(folder: &Path, extensions: &[&str], found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the repository can be read") {
        let path: PathBuf = entry.expect("an entry of it too").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            // A build folder may have any name; cargo marks it.
            if !SKIPPED_FOLDERS.contains(&name.as_str()) && !path.join("CACHEDIR.TAG").exists() {
                collect(&path, extensions, found);
            }
        } else if extensions.iter().any(|end| name.ends_with(&format!(".{end}")) || name == *end) {
            let text =
                std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let path = path.strip_prefix(workspace()).expect("below the workspace").display().to_string();
            found.push(Source { path, text });
        }
    }
}

pub(crate) fn rust() -> Vec<Source> {
    sources(&["rs"])
}

pub(crate) fn everything() -> Vec<Source> {
    sources(&["rs", "py", "js", "md", "toml", "run", "sh", "txt", "lock", "json"])
}

pub(crate) fn assert_clean(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}: {} breaches\n  {}", breaches.len(), breaches.join("\n  "));
}

/// The name a line defines a function under, if it does.
pub(crate) fn function_name(line: &str) -> Option<String> {
    let code = line.trim_start();
    let before = code.split_once("fn ")?;
    let words = ["pub", "pub(crate)", "pub(super)", "async", "const", "extern", "default", "unsafe"];
    if !before.0.split_whitespace().all(|word| words.contains(&word) || word.starts_with("pub(in")) {
        return None;
    }
    let name: String = before.1.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}
