//! The table of keys, the types and `docs/configuration.md` say the same.

use toolgate::config::keys;

#[test]
fn the_configuration_reference_is_the_table_of_keys() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, rest) = page
        .split_once("<!-- keys: begin -->\n")
        .expect("a mark where the table begins");
    let (written, _) = rest
        .split_once("<!-- keys: end -->")
        .expect("a mark where the table ends");
    assert_eq!(
        written,
        keys::reference(),
        "docs/configuration.md differs from src/config/keys.rs; put the output of `toolgate check --keys` between its marks"
    );
}

#[test]
fn every_key_stands_once_and_is_explained() {
    let mut seen = std::collections::BTreeSet::new();
    for key in keys::KEYS {
        assert!(seen.insert(key.path), "{} stands twice", key.path);
        assert!(
            key.meaning.ends_with('.') && key.meaning.len() > 8,
            "{}",
            key.path
        );
        assert!(!key.meaning.contains('|'), "{} would break the table", key.path);
    }
}
