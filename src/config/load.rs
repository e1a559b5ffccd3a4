//! From sources to a checked configuration: layers are read, merged by figment, extracted, and their meaning checked.

use std::collections::BTreeMap;

use figment::Figment;
use figment::providers::Serialized;
use figment::value::Value;

use super::check::Checker;
use super::layer::Layer;
use super::problem::{ConfigErrors, Place, Places, Problem};
use super::raw::Raw;
use super::sources::Sources;
use super::{Config, environment, file};

/// A configuration that may be served, and what was noticed on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What an operator should look at; nothing of it stops the start.
    pub warnings: Vec<String>,
    /// Gateways that are written down and turned off, with the reason.
    pub disabled: Vec<Disabled>,
}

/// A gateway that is turned off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disabled {
    /// Its name.
    pub name: String,
    /// Why, as a phrase: `BRAVE_API_KEY is not set`.
    pub reason: String,
}

/// Makes the configuration: defaults < file < environment < flags.
///
/// # Errors
/// Everything that is wrong, together.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    let layers = read(sources);
    let mut problems: Vec<Problem> = layers.iter().flat_map(|layer| layer.problems.clone()).collect();
    let mut warnings: Vec<Problem> = layers.iter().flat_map(|layer| layer.warnings.clone()).collect();
    if problems.iter().any(|problem| problem.key.is_empty()) {
        // The file is not TOML: what follows from its absence would only confuse.
        return Err(ConfigErrors::new(problems));
    }
    let (raw, places) = merge(&layers, &sources.env)?;
    let order = order(&layers);
    let mut checker = Checker::new(&places, &sources.env);
    let config = checker.config(&raw, &order);
    // A value that did not pass its layer is missing here; what is said about its surroundings may be wrong.
    let broken: Vec<String> = problems.iter().map(|problem| unit(&problem.key)).collect();
    problems.extend(
        checker
            .problems
            .into_iter()
            .filter(|problem| !broken.contains(&unit(&problem.key))),
    );
    warnings.extend(checker.warnings);
    warnings.sort();
    warnings.dedup();
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded {
            config,
            warnings: warnings.iter().map(ToString::to_string).collect(),
            disabled: checker.disabled,
        }),
        _ => Err(ConfigErrors::new(problems)),
    }
}

/// Returns the address to listen on as far as it can be known, even when the configuration has problems elsewhere:
/// `toolgate health` must work while the file is being edited.
#[must_use]
pub fn listen_address(sources: &Sources) -> String {
    let listen = |layer: &Layer| {
        let server = layer.values.get("server")?.as_dict()?;
        Some(server.get("listen")?.as_str()?.to_owned())
    };
    let layers = read(sources);
    layers
        .iter()
        .rev()
        .find_map(listen)
        .unwrap_or_else(|| super::LISTEN.to_owned())
}

/// Reads the layers, the weakest first.
fn read(sources: &Sources) -> [Layer; 3] {
    let file = match &sources.file {
        Some(file) => file::layer(file, &sources.env, sources.read_file),
        None => Layer::new("gateways.toml"),
    };
    let environment = environment::layer(&sources.env, &file);
    let mut flags = Layer::new("command line");
    if let Some(listen) = &sources.flags.listen {
        let place = Place::Flag("--listen");
        flags.set(&["server", "listen"], Value::from(listen.as_str()), place);
    }
    if let Some(log) = &sources.flags.log {
        flags.set(&["log", "level"], Value::from(log.as_str()), Place::Flag("--log"));
    }
    [file, environment, flags]
}

fn merge(layers: &[Layer; 3], env: &BTreeMap<String, String>) -> Result<(Raw, Places), ConfigErrors> {
    let mut places = Places::default();
    let mut figment = Figment::from(Serialized::defaults(Raw::default()));
    for layer in layers {
        places.extend(layer.places.clone());
        figment = figment.merge(layer);
    }
    let keys_before = layers.iter().map(keys_of).sum();
    let key = environment::key_layer(env, keys_before);
    places.extend(key.places.clone());
    // The one list that grows rather than being replaced: a key of the environment must not lock out the file's.
    figment = figment.admerge(&key);
    let raw = figment.extract().map_err(|errors| {
        let problems = errors.into_iter().map(|error| {
            let key = error.path.join(".");
            Problem {
                place: places.of(&key),
                key,
                text: error.kind.to_string(),
            }
        });
        ConfigErrors::new(problems.collect())
    })?;
    Ok((raw, places))
}

fn keys_of(layer: &Layer) -> usize {
    let auth = layer.values.get("auth").and_then(Value::as_dict);
    let keys = auth.and_then(|auth| auth.get("keys")).and_then(Value::as_array);
    keys.map_or(0, <[Value]>::len)
}

/// Returns the gateways' names in the order of the file, then those of the environment.
fn order(layers: &[Layer; 3]) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    for name in layers.iter().flat_map(|layer| &layer.gateways) {
        if !order.contains(name) {
            order.push(name.clone());
        }
    }
    order
}

/// Returns the part of the configuration that is checked as a whole: a gateway, or a section.
fn unit(key: &str) -> String {
    let mut parts = key.split(['.', '[']);
    let section = parts.next().unwrap_or_default();
    match parts.next() {
        Some(name) if section == "gateways" => format!("gateways.{name}"),
        _ => section.to_owned(),
    }
}
