//! `gateways.toml` as a layer: parsed with spans, checked against [`keys`](super::keys), references expanded.
//! Reports everything that is wrong, each with its line, rather than stopping at the first.

use std::collections::BTreeMap;

use figment::value::{Dict, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::expand::{Expanded, Lookup, ReadFile, expand};
use super::keys::{self, Kind, Shape};
use super::layer::Layer;
use super::nearest::nearest;
use super::problem::Place;

/// The configuration file as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// The name as the user gave it.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Reads the file's text as a layer.
pub(super) fn layer(file: &File, env: &BTreeMap<String, String>, read_file: ReadFile) -> Layer {
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    let mut reader = Reader {
        name: &file.name,
        text,
        lookup: Lookup {
            env,
            read_file,
            lenient: false,
        },
        layer: Layer::new("gateways.toml"),
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let values = reader.table("", "", table.get_ref());
        reader.layer.values = values;
    }
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        let place = reader.place(at);
        reader
            .layer
            .problem(place, "", format!("not TOML: {}", error.message()));
    }
    reader.layer
}

struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    lookup: Lookup<'a>,
    layer: Layer,
}

impl Reader<'_> {
    fn place(&self, at: usize) -> Place {
        let before = self.text.as_bytes().iter().take(at);
        Place::Line {
            file: self.name.to_owned(),
            line: 1 + before.filter(|&&byte| byte == b'\n').count(),
        }
    }

    fn problem(&mut self, at: usize, path: &str, text: impl Into<String>) {
        let place = self.place(at);
        self.layer.problem(place, path, text);
    }

    /// Reads a table whose keys the table of keys names. `pattern` is `path` with `*` for a gateway's name.
    fn table(&mut self, pattern: &str, path: &str, table: &DeTable<'_>) -> Dict {
        let mut values = Dict::new();
        for (name, value) in in_order(table) {
            let at = name.span().start;
            let name: &str = name.get_ref();
            let child_path = join(path, name);
            let child_pattern = join(pattern, if pattern == "gateways" { "*" } else { name });
            let place = self.place(at);
            self.layer.places.set(&child_path, place);
            if pattern == "gateways" {
                self.layer.gateways.push(name.to_owned());
            }
            if let Some(value) = self.value(&child_pattern, &child_path, at, value) {
                values.insert(name.to_owned(), value);
            }
        }
        values
    }

    fn value(&mut self, pattern: &str, path: &str, at: usize, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        match (keys::shape(pattern), value.get_ref()) {
            (Shape::Leaf(kind), _) => self.leaf(kind, path, value),
            (Shape::Table, DeValue::Table(table)) => {
                let strict = self.lookup;
                if pattern == "gateways.*" && disabled(table, strict) {
                    self.lookup.lenient = true;
                }
                let values = self.table(pattern, path, table);
                self.lookup = strict;
                Some(Value::from(values))
            }
            (Shape::List, DeValue::Array(entries)) => {
                let pattern = format!("{pattern}[]");
                let mut values = Vec::new();
                for (index, entry) in entries.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    let place = self.place(entry.span().start);
                    self.layer.places.set(&path, place);
                    if let DeValue::Table(table) = entry.get_ref() {
                        values.push(Value::from(self.table(&pattern, &path, table)));
                    } else {
                        self.wrong_type(&path, "a table", entry);
                    }
                }
                Some(Value::from(values))
            }
            (Shape::Table, _) => self.wrong_type(path, "a table", value),
            (Shape::List, _) => self.wrong_type(path, "a list of tables", value),
            (Shape::Unknown, _) => {
                self.problem(at, path, unknown(pattern));
                None
            }
        }
    }

    fn leaf(&mut self, kind: Kind, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        match (kind, value.get_ref()) {
            (Kind::Text | Kind::Command, DeValue::String(_)) => {
                Some(Value::from(self.text(path, value)?.text))
            }
            (Kind::Flag, DeValue::Boolean(flag)) => Some(Value::from(*flag)),
            (Kind::Number { min, max }, DeValue::Integer(number)) => {
                let read = i128::from_str_radix(number.as_str(), number.radix()).ok();
                self.number(path, value.span().start, read, (min, max))
            }
            (Kind::Choice(words), DeValue::String(_)) => {
                let word = self.text(path, value)?;
                self.choice(path, value.span().start, &word, words)
            }
            // A reference may stand where a number or a flag is wanted: then its value must be one.
            (Kind::Flag | Kind::Number { .. }, DeValue::String(_)) => {
                let text = self.text(path, value)?;
                if !text.from_outside {
                    return self.wrong_type(path, &kind.describe(), value);
                }
                match (kind, text.text.as_str()) {
                    (Kind::Number { min, max }, number) => {
                        self.number(path, value.span().start, number.trim().parse().ok(), (min, max))
                    }
                    (_, "true") => Some(Value::from(true)),
                    (_, "false") => Some(Value::from(false)),
                    _ => {
                        let text = format!("the reference must give {}", kind.describe());
                        self.problem(value.span().start, path, text);
                        None
                    }
                }
            }
            (Kind::Texts | Kind::Command, DeValue::Array(entries)) => {
                let mut texts = Vec::new();
                for (index, entry) in entries.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    let place = self.place(entry.span().start);
                    self.layer.places.set(&path, place);
                    texts.push(self.text(&path, entry).map(|text| Value::from(text.text)));
                }
                texts.into_iter().collect::<Option<Vec<Value>>>().map(Value::from)
            }
            (Kind::TextTable, DeValue::Table(table)) => {
                let mut texts = Dict::new();
                for (name, entry) in in_order(table) {
                    let path = join(path, name.get_ref());
                    let place = self.place(name.span().start);
                    self.layer.places.set(&path, place);
                    if let Some(text) = self.text(&path, entry) {
                        texts.insert(name.get_ref().to_string(), Value::from(text.text));
                    }
                }
                Some(Value::from(texts))
            }
            (Kind::Lists(keys), DeValue::Table(table)) => Some(self.lists(keys, path, table)),
            _ => self.wrong_type(path, &kind.describe(), value),
        }
    }

    /// Reads tables with lists of strings under certain keys.
    fn lists(&mut self, keys: &'static [&str], path: &str, tables: &DeTable<'_>) -> Value {
        let mut values = Dict::new();
        for (name, entry) in in_order(tables) {
            let path = join(path, name.get_ref());
            let place = self.place(name.span().start);
            self.layer.places.set(&path, place);
            let DeValue::Table(table) = entry.get_ref() else {
                self.wrong_type(&path, &format!("a table with {}", keys.join(", ")), entry);
                continue;
            };
            let mut lists = Dict::new();
            for (key, list) in in_order(table) {
                let (at, path) = (key.span().start, join(&path, key.get_ref()));
                let place = self.place(at);
                self.layer.places.set(&path, place);
                if keys.contains(&key.get_ref().as_ref()) {
                    let list = self.leaf(Kind::Texts, &path, list);
                    lists.extend(list.map(|list| (key.get_ref().to_string(), list)));
                } else {
                    self.problem(at, &path, format!("unknown key; known here: {}", keys.join(", ")));
                }
            }
            values.insert(name.get_ref().to_string(), Value::from(lists));
        }
        Value::from(values)
    }

    fn text(&mut self, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Expanded> {
        let DeValue::String(raw) = value.get_ref() else {
            self.wrong_type(path, "a string", value);
            return None;
        };
        match expand(raw, self.lookup) {
            Ok(expanded) => Some(expanded),
            Err(problems) => {
                for problem in problems {
                    self.problem(value.span().start, path, problem);
                }
                None
            }
        }
    }

    fn number(&mut self, path: &str, at: usize, read: Option<i128>, bounds: (u64, u64)) -> Option<Value> {
        let (min, max) = bounds;
        let number = read
            .and_then(|number| u64::try_from(number).ok())
            .filter(|number| (min..=max).contains(number));
        if number.is_none() {
            let right = Kind::Number { min, max }.describe();
            self.problem(at, path, format!("must be {right}"));
        }
        number.map(Value::from)
    }

    fn choice(&mut self, path: &str, at: usize, word: &Expanded, words: &'static [&str]) -> Option<Value> {
        if words.contains(&word.text.as_str()) {
            return Some(Value::from(word.text.clone()));
        }
        let mut text = format!("must be {}", Kind::Choice(words).describe());
        if !word.from_outside {
            text = format!("{text}, not {:?}", word.text);
            if let Some(meant) = nearest(&word.text, words.iter().copied()) {
                text = format!("{text}; did you mean \"{meant}\"?");
            }
        }
        self.problem(at, path, text);
        None
    }

    fn wrong_type(&mut self, path: &str, right: &str, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a decimal number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.problem(
            value.span().start,
            path,
            format!("must be {right}, and is {found}"),
        );
        None
    }
}

/// Returns whether a gateway's table turns the gateway off: then nobody uses what it refers to.
fn disabled(table: &DeTable<'_>, lookup: Lookup<'_>) -> bool {
    let off = match table.get("enabled").map(Spanned::get_ref) {
        Some(DeValue::Boolean(enabled)) => !enabled,
        Some(DeValue::String(raw)) => expand(raw, lookup).is_ok_and(|enabled| enabled.text == "false"),
        _ => false,
    };
    let variable = table
        .get("enabled_if_env")
        .and_then(|value| value.get_ref().as_str());
    off || variable.is_some_and(|name| lookup.env.get(name).is_none_or(String::is_empty))
}

/// Returns a table's entries in the order in which they were written.
fn in_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<toml::de::DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn unknown(pattern: &str) -> String {
    let (table, name) = pattern.rsplit_once('.').unwrap_or(("", pattern));
    let known = keys::children(table);
    if table.is_empty() && matches!(name, "mcpServers" | "servers") {
        return "unknown key; `toolgate import FILE` turns a client's JSON file into gateways".to_owned();
    }
    match nearest(name, known.iter().copied()) {
        Some(meant) => format!("unknown key, did you mean {meant}?"),
        None => format!("unknown key; known here: {}", known.join(", ")),
    }
}
