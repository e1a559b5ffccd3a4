//! Holds `tests/composio/README.md` to the tests that there are: each row of its tables names at least one, and each that
//! is named is a test.

use std::fs;
use std::path::Path;

/// Where tests are.
fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The rows of the tables of a page, without their heads.
fn rows(page: &str) -> Vec<&str> {
    let lines: Vec<&str> = page.lines().collect();
    let is_rule = |line: &str| line.starts_with("|--");
    let is_head = |at: usize| lines.get(at + 1).is_some_and(|next| is_rule(next));
    let row = |(at, line): (usize, &&str)| line.starts_with('|') && !is_rule(line) && !is_head(at);
    let rows = lines.iter().enumerate().filter(|(at, line)| row((*at, line)));
    rows.map(|(_, line)| *line).collect()
}

/// What a row has in its last cell: `file::test`.
fn named(row: &str) -> Vec<&str> {
    let cells = row.trim_end();
    let cells = cells.strip_suffix('|').unwrap_or(cells);
    let last = cells.rsplit('|').next().unwrap_or_default();
    let quoted = last.split('`').skip(1).step_by(2);
    quoted.filter(|name| name.contains(".rs::")).collect()
}

/// Tells whether a text has a test of this name: a function, behind an attribute that makes it one.
fn has(source: &str, test: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let of_test = |line: &str| {
        let rest = line.strip_prefix("async ").unwrap_or(line);
        let rest = rest.strip_prefix("fn ").and_then(|rest| rest.strip_prefix(test));
        rest.is_some_and(|rest| rest.starts_with("()"))
    };
    let is_attribute = |line: &str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    lines
        .windows(2)
        .any(|pair| is_attribute(pair[0]) && of_test(pair[1]))
}

#[test]
fn each_row_of_composios_troubles_names_tests_that_there_are() {
    let page = fs::read_to_string(folder().join("composio/README.md")).expect("the page");
    let rows = rows(&page);
    assert!(rows.len() > 25, "{} rows", rows.len());
    for row in rows {
        let tests = named(row);
        assert!(!tests.is_empty(), "no test in: {row}");
        for name in tests {
            let (file, test) = name.split_once("::").expect("file::test");
            let source = fs::read_to_string(folder().join(file)).unwrap_or_default();
            assert!(has(&source, test), "there is no test {test} in tests/{file}");
        }
    }
}

#[test]
fn a_row_without_a_test_and_a_test_that_is_none_are_found() {
    let page = "| a | tests |\n|---|---|\n| x | `f.rs::y` and `z` |\n\n| none | |\n";
    assert_eq!(rows(page), ["| x | `f.rs::y` and `z` |", "| none | |"]);
    assert_eq!(named(rows(page)[0]), ["f.rs::y"]);
    assert_eq!(named("| `a.rs::b` in another cell | |"), Vec::<&str>::new());
    assert_eq!(named("| none | |"), Vec::<&str>::new());
    let text = "#[tokio::test]\nasync fn y() {\n}\nfn z() {}\n// fn w()\n#[test]\nfn wide() {}";
    assert!(has(text, "y") && has(text, "wide"));
    for none in ["z", "w", "wid", "x"] {
        assert!(!has(text, none), "{none}");
    }
}
