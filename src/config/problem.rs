//! What is wrong with a configuration and where: one line for each problem, with file, line and key.
//! Values never stand in here unless they are safe to print: they may be secrets.

use std::collections::BTreeMap;
use std::fmt;

/// Where a value of the configuration was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of a file, counted from one.
    Line {
        /// The file as the user named it.
        file: String,
        /// The line.
        line: usize,
    },
    /// A file as a whole.
    File(String),
    /// A variable of the environment.
    Variable(String),
    /// An option of the command line.
    Flag(&'static str),
    /// Nowhere: a default, or something that is missing.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(f, "{file}:{line}"),
            Self::File(file) => f.write_str(file),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::Flag(name) => f.write_str(name),
            Self::Nowhere => f.write_str("configuration"),
        }
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it was written.
    pub place: Place,
    /// The key, such as `gateways.brave.timeout_ms`; empty: the file as a whole.
    pub key: String,
    /// What is wrong and what would be right.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.place, self.text)
        } else {
            write!(f, "{}: {}: {}", self.place, self.key, self.text)
        }
    }
}

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Problem>);

impl ConfigErrors {
    /// Collects problems, sorted by place, each once.
    #[must_use]
    pub fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self(problems)
    }

    /// Returns the problems.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl From<Problem> for ConfigErrors {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Where each key of the merged configuration was written; the layer that won is the one that is named.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(BTreeMap<String, Place>);

impl Places {
    /// Notes that the key's value comes from there.
    pub(super) fn set(&mut self, key: &str, place: Place) {
        self.0.insert(key.to_owned(), place);
    }

    /// Lays the places of a later layer over these.
    pub(super) fn extend(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    /// Returns whether the key itself was written anywhere.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Returns the place of a key, or of the nearest table around it that has one.
    pub(super) fn of(&self, key: &str) -> Place {
        let mut key = key;
        loop {
            if let Some(place) = self.0.get(key) {
                return place.clone();
            }
            match key.rfind(['.', '[']) {
                Some(at) => key = key.get(..at).unwrap_or_default(),
                None => return Place::Nowhere,
            }
        }
    }
}
