//! One layer of the configuration: values by path, and where each was written. Layers are merged by figment.

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::problem::{Place, Places, Problem};

/// What one source gives: values, their places, and what is wrong with them.
#[derive(Default)]
pub(super) struct Layer {
    /// What the layer is called.
    pub(super) name: &'static str,
    /// The values.
    pub(super) values: Dict,
    /// Where they were written.
    pub(super) places: Places,
    /// What was wrong. A value with a problem is not among the values.
    pub(super) problems: Vec<Problem>,
    /// What should be looked at but stops nothing.
    pub(super) warnings: Vec<Problem>,
    /// Gateways in the order in which they were written.
    pub(super) gateways: Vec<String>,
}

impl Layer {
    /// Makes an empty layer.
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// Sets the value of a key, such as `server.listen`, making the tables around it.
    pub(super) fn set(&mut self, path: &[&str], value: Value, place: Place) {
        self.places.set(&path.join("."), place);
        insert(&mut self.values, path, value);
    }

    /// Notes a problem.
    pub(super) fn problem(&mut self, place: Place, key: &str, text: impl Into<String>) {
        self.problems.push(Problem {
            place,
            key: key.to_owned(),
            text: text.into(),
        });
    }

    /// Notes a warning.
    pub(super) fn warning(&mut self, place: Place, key: &str, text: impl Into<String>) {
        self.warnings.push(Problem {
            place,
            key: key.to_owned(),
            text: text.into(),
        });
    }
}

fn insert(dict: &mut Dict, path: &[&str], value: Value) {
    let Some((name, rest)) = path.split_first() else {
        return;
    };
    if rest.is_empty() {
        dict.insert((*name).to_owned(), value);
        return;
    }
    let below = dict
        .entry((*name).to_owned())
        .or_insert_with(|| Value::from(Dict::new()));
    if let Value::Dict(_, below) = below {
        insert(below, rest, value);
    }
}

impl Provider for &Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}
