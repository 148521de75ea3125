//! docs/kinesis-api.md against what there is: one row an operation, and a mark only where a client calls it.

use system_tests::binaries::workspace;

use crate::sources::{Source, assert_clean, sources};

/// Clients of the columns, in their order: the folder of their programs and how those write a call.
const CLIENTS: [(&str, Call); 4] = [
    ("engine/tests/boto3/", |operation| {
        let name = words(operation, "_");
        vec![format!(".{name}("), format!(".{name},"), format!("\"{name}\"")]
    }),
    ("tests/clients/js/", |operation| vec![format!("{operation}Command")]),
    ("tests/clients/rust/src/", |operation| vec![format!(".{}()", words(operation, "_"))]),
    ("tests/clients/aws_cli/", |operation| vec![format!("\"{}\"", words(operation, "-"))]),
];

type Call = fn(&str) -> Vec<String>;

/// `PutRecord` as words in lower case.
fn words(operation: &str, separator: &str) -> String {
    let mut name = String::new();
    for letter in operation.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name += separator;
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// The operations of the service model, as the engine's generated tables of declared errors name them.
fn operations() -> Vec<String> {
    let table = std::fs::read_to_string(workspace().join("engine/src/api/model/operations.rs"))
        .expect("the generated table of operations exists");
    table.split("name: \"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

fn breaches(page: &str, operations: &[String], programs: &[Source]) -> Vec<String> {
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| {
            line.starts_with("| ") && !line.starts_with("| operation") && !line.starts_with("| ---")
        })
        .map(|line| line.trim_matches('|').split(" |").map(str::trim).collect())
        .collect();
    let mut breaches = Vec::new();
    for operation in operations {
        let Some(row) = rows.iter().find(|row| row[0] == operation) else {
            breaches.push(format!("no row for {operation}"));
            continue;
        };
        for ((folder, calls), mark) in CLIENTS.iter().zip(&row[1..]) {
            let calls = calls(operation);
            let called = programs.iter().any(|program| {
                program.path.starts_with(folder) && calls.iter().any(|call| program.text.contains(call))
            });
            if called != (*mark == "x") {
                breaches.push(format!("{operation}: marked `{mark}`, but {folder} calls it: {called}"));
            }
        }
    }
    let unknown = rows.iter().filter(|row| !operations.iter().any(|operation| operation == row[0]));
    breaches.extend(unknown.map(|row| format!("row for {}, which the model does not have", row[0])));
    breaches
}

#[test]
fn the_table_of_operations_is_complete_and_marks_what_clients_call() {
    let page = std::fs::read_to_string(workspace().join("docs/kinesis-api.md")).expect("the page exists");
    let operations = operations();
    assert_eq!(operations.len(), 57, "operations of the model");
    assert_clean("docs/kinesis-api.md", &breaches(&page, &operations, &sources(&["py", "js", "rs"])));
}

#[test]
fn a_wrong_mark_and_a_missing_row_are_found() {
    let page = "| PutRecord | x | | | |\n| Nonsense | | | | |\n";
    let operations = ["PutRecord".to_owned(), "GetRecords".to_owned()];
    let found = breaches(page, &operations, &[]);
    assert_eq!(found.len(), 3, "{found:?}");
}
