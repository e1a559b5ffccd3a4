//! `${VAR}`, `${VAR:-default}` and `${file:path}` inside the strings of the configuration file. `$${` is a literal `${`.
//! Never prints what a variable or file holds.

use std::collections::BTreeMap;
use std::path::Path;

use crate::limits;

/// Reads a file that `${file:…}` names.
pub type ReadFile = fn(&Path) -> std::io::Result<Vec<u8>>;

/// What strings may refer to.
#[derive(Clone, Copy)]
pub(super) struct Lookup<'a> {
    /// The environment.
    pub(super) env: &'a BTreeMap<String, String>,
    /// The files.
    pub(super) read_file: ReadFile,
    /// Whether an unset variable is empty rather than an error, because nobody will use the value.
    pub(super) lenient: bool,
}

/// A string after expansion.
#[cfg_attr(test, derive(Debug))]
#[derive(PartialEq, Eq)]
pub(super) struct Expanded {
    /// The text.
    pub(super) text: String,
    /// Whether anything was put in: then the text may be a secret.
    pub(super) from_outside: bool,
}

/// Expands all references of a string.
///
/// # Errors
/// One sentence for every reference that cannot be followed.
pub(super) fn expand(raw: &str, lookup: Lookup<'_>) -> Result<Expanded, Vec<String>> {
    let mut text = String::with_capacity(raw.len());
    let mut from_outside = false;
    let mut problems = Vec::new();
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            text.push_str(before);
            text.push_str("${");
            rest = after;
            continue;
        }
        text.push_str(before);
        let Some((reference, after)) = after.split_once('}') else {
            problems.push("`${` without `}` (write `$${` for a literal `${`)".to_owned());
            rest = "";
            break;
        };
        match follow(reference, lookup) {
            Ok(value) => text.push_str(&value),
            Err(problem) => problems.push(problem),
        }
        from_outside = true;
        rest = after;
    }
    text.push_str(rest);
    if problems.is_empty() {
        Ok(Expanded { text, from_outside })
    } else {
        Err(problems)
    }
}

fn follow(reference: &str, lookup: Lookup<'_>) -> Result<String, String> {
    if let Some(path) = reference.strip_prefix("file:") {
        return read(path, lookup);
    }
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_variable_name(name) {
        return Err(format!(
            "`${{{reference}}}` is no reference; right are ${{VAR}}, ${{VAR:-default}} and ${{file:path}}"
        ));
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(format!(
            "the default of ${{{name}:-…}} holds another reference, which is not supported"
        ));
    }
    match (lookup.env.get(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value.clone()),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) if lookup.lenient => Ok(String::new()),
        (None, None) => Err(format!(
            "variable {name} is not set; set it, or give a default: ${{{name}:-default}}"
        )),
    }
}

fn read(path: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let bytes = match (lookup.read_file)(Path::new(path)) {
        Ok(bytes) => bytes,
        Err(_) if lookup.lenient => return Ok(String::new()),
        Err(error) => return Err(format!("cannot read {path}: {error}")),
    };
    if bytes.len() > limits::CONFIG_FILE_BYTES_MAX {
        return Err(format!(
            "{path} is larger than {} bytes",
            limits::CONFIG_FILE_BYTES_MAX
        ));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{path} is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// Returns whether this can be the name of a variable.
#[must_use]
pub(crate) fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
        match path.to_str() {
            Some("/run/secrets/key") => Ok(b"from file\n".to_vec()),
            Some("binary") => Ok(vec![0xff]),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    fn expanded(raw: &str) -> Result<String, Vec<String>> {
        let env = BTreeMap::from([("A", "alpha"), ("EMPTY", "")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        let lookup = Lookup {
            env: &env,
            read_file,
            lenient: false,
        };
        expand(raw, lookup).map(|expanded| expanded.text)
    }

    #[test]
    fn references_become_values_and_everything_else_stays() {
        for (raw, right) in [
            ("plain", "plain"),
            ("${A}", "alpha"),
            ("x ${A} y ${A} z", "x alpha y alpha z"),
            ("${A:-other}", "alpha"),
            ("${NOT_SET:-other}", "other"),
            ("${NOT_SET:-}", ""),
            ("${EMPTY:-other}", "other"),
            ("${EMPTY}", ""),
            ("${file:/run/secrets/key}", "from file"),
            ("$A costs $5 }", "$A costs $5 }"),
            ("$${A}", "${A}"),
            ("$${A} ${A}", "${A} alpha"),
            ("größe ${A}", "größe alpha"),
        ] {
            assert_eq!(expanded(raw), Ok(right.to_owned()), "{raw}");
        }
    }

    #[test]
    fn what_a_reference_gives_is_not_expanded_again() {
        let env = BTreeMap::from([("A".to_owned(), "${B}".to_owned())]);
        let lookup = Lookup {
            env: &env,
            read_file,
            lenient: false,
        };
        assert_eq!(expand("${A}", lookup).unwrap().text, "${B}");
    }

    #[test]
    fn every_bad_reference_of_a_string_is_named() {
        let problems = expanded("${ONE} ${TWO}").unwrap_err();
        assert_eq!(problems.len(), 2);
        assert!(problems[0].contains("variable ONE is not set") && problems[1].contains("variable TWO"));
        for (raw, part) in [
            ("${A", "without `}`"),
            ("${}", "is no reference"),
            ("${a b}", "is no reference"),
            ("${1A}", "is no reference"),
            ("${NOT_SET:-${A}}", "another reference"),
            ("${file:nowhere}", "cannot read nowhere"),
            ("${file:binary}", "not UTF-8"),
        ] {
            let problems = expanded(raw).unwrap_err();
            assert!(problems[0].contains(part), "{raw}: {problems:?}");
        }
    }

    #[test]
    fn unset_variables_are_empty_where_nobody_uses_the_value() {
        let env = BTreeMap::new();
        let lookup = Lookup {
            env: &env,
            read_file,
            lenient: true,
        };
        assert_eq!(expand("a${B}c${file:nowhere}", lookup).unwrap().text, "ac");
    }
}
