//! One server of a client's file as a gateway. Knows the clients' own words for the same things.

use serde_json::{Map, Value};

use crate::config::is_variable_name;
use crate::limits;

/// Whose words a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Gemini CLI: `url` is HTTP+SSE, and `$NAME` is a variable anywhere.
    Gemini,
    /// All others.
    Other,
}

/// A gateway to write.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Its name.
    pub(super) name: String,
    /// Key and TOML value, in order.
    pub(super) keys: Vec<(&'static str, String)>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
    /// Variables that it refers to.
    pub(super) variables: Vec<String>,
}

/// Keys that are read here.
const KNOWN: &[&str] = &[
    "type",
    "transport",
    "command",
    "args",
    "env",
    "cwd",
    "url",
    "serverUrl",
    "httpUrl",
    "headers",
    "disabled",
    "enabled",
    "timeout",
    "includeTools",
    "excludeTools",
    "disabledTools",
];
/// Keys that say nothing to a gateway.
const IDLE: &[&str] = &["name", "description", "gallery", "version", "trust"];
/// Headers that the transport sets itself.
const OWN_HEADERS: &[&str] = &["accept", "content-type", "content-length", "host", "connection"];

/// Makes a gateway's name of a server's.
pub(super) fn name(name: &str) -> String {
    let mut own = String::new();
    for c in name.to_lowercase().chars() {
        let c = if c.is_ascii_alphanumeric() || c == '_' {
            c
        } else {
            '-'
        };
        let repeats = matches!(c, '-' | '_') && own.ends_with(['-', '_']);
        if !repeats {
            own.push(c);
        }
    }
    let own: String = own
        .trim_matches(['-', '_'])
        .chars()
        .take(limits::GATEWAY_NAME_BYTES_MAX)
        .collect();
    let own = own.trim_end_matches(['-', '_']);
    if own.is_empty() {
        "gateway".to_owned()
    } else {
        own.to_owned()
    }
}

/// Turns a server into a gateway.
pub(super) fn block(own: &str, name: &str, server: &Value, dialect: Dialect) -> Result<Block, String> {
    let server = server.as_object().ok_or("it is no object")?;
    let mut block = Block {
        name: own.to_owned(),
        ..Block::default()
    };
    if own != name {
        block.notes.push(format!("called {name:?} there"));
    }
    let url = ["httpUrl", "serverUrl", "url"]
        .into_iter()
        .find_map(|key| Some((key, text(server, key)?)));
    match (url, text(server, "command")) {
        (Some((key, url)), _) => remote(&mut block, server, (key, url), dialect),
        (None, Some(command)) => process(&mut block, server, command, dialect),
        (None, None) => return Err("it has neither a command nor a URL".to_owned()),
    }
    common(&mut block, server);
    Ok(block)
}

fn remote(block: &mut Block, server: &Map<String, Value>, (key, url): (&str, &str), dialect: Dialect) {
    let said = text(server, "type").or_else(|| text(server, "transport"));
    let sse = match said.map(str::to_ascii_lowercase).as_deref() {
        Some("sse") => true,
        Some(_) => false,
        None if key == "url" && dialect == Dialect::Gemini => true,
        None => url.ends_with("/sse"),
    };
    let value = block.references(url, dialect);
    block.keys.push(("url", quoted(&value)));
    if sse != url.ends_with("/sse") {
        let transport = if sse { "sse" } else { "http" };
        block.keys.push(("transport", quoted(transport)));
    }
    let headers: Vec<(&String, &Value)> = server
        .get("headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(name, _)| !OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()))
        .collect();
    block.texts("headers", &headers, dialect);
}

fn process(block: &mut Block, server: &Map<String, Value>, command: &str, dialect: Dialect) {
    let args = server.get("args").and_then(Value::as_array);
    let mut words = vec![command];
    words.extend(args.into_iter().flatten().filter_map(Value::as_str));
    // Clients on Windows go through its shell; there is none here.
    if let ["cmd" | "cmd.exe", "/c" | "/C", rest @ ..] = words.as_slice()
        && !rest.is_empty()
    {
        words = rest.to_vec();
        block.notes.push("`cmd /c` left out".to_owned());
    }
    let words: Vec<String> = words.iter().map(|word| block.references(word, dialect)).collect();
    block.keys.push(("command", list(&words)));
    let env: Vec<(&String, &Value)> = server
        .get("env")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .collect();
    block.texts("env", &env, dialect);
    if let Some(cwd) = text(server, "cwd") {
        let cwd = block.references(cwd, dialect);
        block.keys.push(("cwd", quoted(&cwd)));
    }
}

fn common(block: &mut Block, server: &Map<String, Value>) {
    match server.get("timeout").and_then(Value::as_u64) {
        Some(timeout @ 1_000..) => block.keys.push(("timeout_ms", timeout.to_string())),
        Some(timeout) => block
            .notes
            .push(format!("timeout = {timeout} left out: seconds or milliseconds?")),
        None => {}
    }
    let words = |keys: &[&str]| -> Option<Vec<String>> {
        let lists: Vec<&Vec<Value>> = keys
            .iter()
            .filter_map(|key| server.get(*key)?.as_array())
            .collect();
        let words = lists
            .iter()
            .flat_map(|list| list.iter())
            .filter_map(Value::as_str);
        (!lists.is_empty()).then(|| words.map(tool_name).collect())
    };
    if let Some(allow) = words(&["includeTools"]) {
        block.keys.push(("allow", list(&allow)));
    }
    if let Some(deny) = words(&["excludeTools", "disabledTools"]).filter(|deny| !deny.is_empty()) {
        block.keys.push(("deny", list(&deny)));
    }
    let flag = |key: &str| server.get(key).and_then(Value::as_bool);
    if flag("disabled") == Some(true) || flag("enabled") == Some(false) {
        block.keys.push(("enabled", "false".to_owned()));
    }
    let strange: Vec<&str> = server
        .keys()
        .map(String::as_str)
        .filter(|key| !KNOWN.contains(key) && !IDLE.contains(key))
        .collect();
    if !strange.is_empty() {
        block.notes.push(format!("left out: {}", strange.join(", ")));
    }
}

/// Gemini CLI may write `tool(arguments)`; only the name matters here.
fn tool_name(word: &str) -> String {
    word.split('(').next().unwrap_or(word).to_owned()
}

impl Block {
    fn texts(&mut self, key: &'static str, entries: &[(&String, &Value)], dialect: Dialect) {
        let mut texts = Vec::new();
        for (name, value) in entries {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Null => continue,
                other => other.to_string(),
            };
            let before = self.variables.len();
            let value = self.references(&text, dialect);
            if self.variables.len() == before && is_secret(name) && !text.is_empty() {
                self.notes.push(format!(
                    "the value of {name} stands here in plain text; better ${{{}}}",
                    variable(name)
                ));
            }
            texts.push(format!("{} = {}", bare_or_quoted(name), quoted(&value)));
        }
        if !texts.is_empty() {
            self.keys.push((key, format!("{{ {} }}", texts.join(", "))));
        }
    }

    /// Rewrites a client's references as ours, and keeps everything else from being taken for one.
    fn references(&mut self, text: &str, dialect: Dialect) -> String {
        if let Some(name) = text.strip_prefix('$').filter(|name| is_variable_name(name)) {
            return self.reference(name);
        }
        let mut own = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            own.push_str(before);
            if let Some((inside, after)) = after.strip_prefix('{').and_then(|after| after.split_once('}')) {
                let reference = self.braced(inside);
                own.push_str(&reference);
                rest = after;
                continue;
            }
            let end = after
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(after.len());
            let (name, tail) = after.split_at(end);
            if dialect == Dialect::Gemini && is_variable_name(name) {
                let reference = self.reference(name);
                own.push_str(&reference);
                rest = tail;
            } else {
                own.push_str(if after.starts_with('{') { "$$" } else { "$" });
                rest = after;
            }
        }
        own.push_str(rest);
        own
    }

    /// `${env:X}` of Cursor, VS Code and Windsurf, `${input:x}` of VS Code, `${X}` and `${X:-d}` of Claude Code.
    fn braced(&mut self, inside: &str) -> String {
        if let Some(name) = inside.strip_prefix("env:").filter(|name| is_variable_name(name)) {
            return self.reference(name);
        }
        if let Some(input) = inside.strip_prefix("input:") {
            return self.reference(&variable(input));
        }
        match inside {
            "userHome" => return self.reference("HOME"),
            "workspaceFolder" => {
                self.notes
                    .push("${workspaceFolder} became the working directory".to_owned());
                return ".".to_owned();
            }
            "pathSeparator" | "/" => return "/".to_owned(),
            _ => {}
        }
        let name = inside.split_once(":-").map_or(inside, |(name, _)| name);
        if is_variable_name(name) {
            if name.len() == inside.len() {
                return self.reference(name);
            }
            return format!("${{{inside}}}");
        }
        self.notes.push(format!("${{{inside}}} is not understood here"));
        format!("$${{{inside}}}")
    }

    fn reference(&mut self, name: &str) -> String {
        if !self.variables.iter().any(|known| known == name) {
            self.variables.push(name.to_owned());
        }
        format!("${{{name}}}")
    }
}

fn text<'s>(server: &'s Map<String, Value>, key: &str) -> Option<&'s str> {
    server.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// Returns the name of a variable for an input or a header: `brave-key` is `BRAVE_KEY`.
fn variable(name: &str) -> String {
    let upper: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    if is_variable_name(&upper) {
        upper
    } else {
        format!("INPUT_{upper}")
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["auth", "key", "token", "secret", "password", "pat"]
        .iter()
        .any(|word| {
            name.split(['_', '-']).any(|part| part == *word) || (word.len() > 3 && name.contains(word))
        })
}

/// Writes a TOML string.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.extend(format!("\\u{:04X}", u32::from(c)).chars()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}

fn bare_or_quoted(key: &str) -> String {
    let bare = !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { key.to_owned() } else { quoted(key) }
}
