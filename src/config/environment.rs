//! The environment as a layer: `TOOLGATE_*`, and the variables of an older deployment (`MCP_GATEWAY_URLS`,
//! `MCP_<NAME>_URL`, `PERMITTED_TOOLS`, `COMPOSIO_API_KEY`). An empty variable counts as not set, as container files leave them.

use std::collections::{BTreeMap, BTreeSet};

use figment::value::{Dict, Value};
use url::Url;

use super::keys::{self, Kind};
use super::layer::Layer;
use super::nearest::nearest;
use super::problem::Place;
use crate::limits;

/// How the text of a variable becomes the value of a key.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Commas,
    Number,
    Tools,
}

/// Variables that set one key.
const VARIABLES: &[(&str, &[&str], Form)] = &[
    ("TOOLGATE_LISTEN", &["server", "listen"], Form::Text),
    ("TOOLGATE_PUBLIC_URL", &["server", "public_url"], Form::Text),
    ("TOOLGATE_STORE", &["server", "store"], Form::Text),
    (
        "TOOLGATE_ALLOWED_ORIGINS",
        &["server", "allowed_origins"],
        Form::Commas,
    ),
    (
        "TOOLGATE_ALLOWED_HOSTS",
        &["server", "allowed_hosts"],
        Form::Commas,
    ),
    (
        "TOOLGATE_DRAIN_TIMEOUT_MS",
        &["server", "drain_timeout_ms"],
        Form::Number,
    ),
    ("TOOLGATE_LOG", &["log", "level"], Form::Text),
    ("TOOLGATE_LOG_FORMAT", &["log", "format"], Form::Text),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        &["telemetry", "otlp_endpoint"],
        Form::Text,
    ),
    ("PERMITTED_TOOLS", &["tools", "permitted"], Form::Tools),
];

/// Names the configuration file.
pub const CONFIG_VARIABLE: &str = "TOOLGATE_CONFIG";
/// Holds one key: admitted by the server, sent by the client commands.
pub const KEY_VARIABLE: &str = "TOOLGATE_KEY";
const COMPOSIO_KEY_VARIABLE: &str = "COMPOSIO_API_KEY";
/// What the name of a toolkit stands behind, in upper case, in the variable of its auth config.
const AUTH_CONFIG_PREFIX: &str = "COMPOSIO_AUTH_CONFIG_";
const URLS_VARIABLE: &str = "MCP_GATEWAY_URLS";

/// Reads the environment as a layer over the file's.
pub(super) fn layer(env: &BTreeMap<String, String>, file: &Layer) -> Layer {
    let env: BTreeMap<&str, &str> = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.trim()))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let mut layer = Layer::new("environment");
    for (variable, path, form) in VARIABLES {
        if let Some(text) = env.get(variable)
            && let Some(value) = value(&mut layer, variable, path, *form, text)
        {
            layer.set(path, value, Place::Variable((*variable).to_owned()));
        }
    }
    gateways(&mut layer, &env, file);
    composio(&mut layer, &env, file);
    strangers(&mut layer, &env);
    layer
}

/// Returns `TOOLGATE_KEY` as a layer whose list of keys is added to the file's.
pub(super) fn key_layer(env: &BTreeMap<String, String>, keys_before: usize) -> Layer {
    let mut layer = Layer::new("environment");
    let Some(key) = env
        .get(KEY_VARIABLE)
        .map(|key| key.trim())
        .filter(|key| !key.is_empty())
    else {
        return layer;
    };
    let entry = Dict::from([
        ("user".to_owned(), Value::from(super::LOCAL_USER)),
        ("key".to_owned(), Value::from(key)),
    ]);
    let place = Place::Variable(KEY_VARIABLE.to_owned());
    layer.set(
        &["auth", "keys"],
        Value::from(vec![Value::from(entry)]),
        place.clone(),
    );
    layer.places = super::problem::Places::default();
    layer.places.set(&format!("auth.keys[{keys_before}]"), place);
    layer
}

fn value(layer: &mut Layer, variable: &str, path: &[&str], form: Form, text: &str) -> Option<Value> {
    let key = path.join(".");
    let place = Place::Variable(variable.to_owned());
    let kind = keys::find(&key).map(|key| key.kind);
    match (form, kind) {
        (Form::Text, Some(Kind::Choice(words))) if !words.contains(&text) => {
            let right = Kind::Choice(words).describe();
            layer.problem(place, &key, format!("must be {right}"));
            None
        }
        (Form::Text, _) => Some(Value::from(text)),
        (Form::Number, Some(Kind::Number { min, max })) => {
            let number = text
                .parse()
                .ok()
                .filter(|number: &u64| (min..=max).contains(number));
            if number.is_none() {
                let right = Kind::Number { min, max }.describe();
                layer.problem(place, &key, format!("must be {right}"));
            }
            number.map(Value::from)
        }
        (Form::Number, _) => None,
        (Form::Tools, _) if text.starts_with('[') => match serde_json::from_str::<Vec<String>>(text) {
            Ok(tools) => Some(Value::from(tools)),
            Err(error) => {
                let text =
                    format!("must be a JSON array of strings, or names with commas between them: {error}");
                layer.problem(place, &key, text);
                None
            }
        },
        (Form::Commas | Form::Tools, _) => Some(Value::from(commas(text))),
    }
}

fn commas(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

fn gateways(layer: &mut Layer, env: &BTreeMap<&str, &str>, file: &Layer) {
    let mut urls = urls_of(file);
    let mut taken = file.gateways.clone();
    for (variable, url) in env {
        let Some(name) = variable
            .strip_prefix("MCP_")
            .and_then(|rest| rest.strip_suffix("_URL"))
        else {
            continue;
        };
        let name = name.to_ascii_lowercase();
        let place = Place::Variable((*variable).to_owned());
        if layer.gateways.contains(&name) {
            let text = "two variables, which differ in upper and lower case, name this gateway";
            layer.problem(place, &format!("gateways.{name}"), text);
            continue;
        }
        urls.insert(plain(url));
        if !file.gateways.contains(&name) {
            layer.places.set(&format!("gateways.{name}"), place.clone());
        }
        layer.set(&["gateways", &name, "url"], Value::from(*url), place);
        taken.push(name.clone());
        layer.gateways.push(name);
    }
    let place = Place::Variable(URLS_VARIABLE.to_owned());
    for text in commas(env.get(URLS_VARIABLE).copied().unwrap_or_default()) {
        let Ok(url) = Url::parse(&text) else {
            layer.problem(
                place.clone(),
                "gateways",
                "must be URLs with commas between them, such as http://mcp-brave:8080/mcp",
            );
            continue;
        };
        if !urls.insert(plain(&text)) {
            continue;
        }
        let name = name_of(&url, &taken);
        layer.set(&["gateways", &name, "url"], Value::from(text), place.clone());
        taken.push(name.clone());
        layer.gateways.push(name);
    }
}

/// `COMPOSIO_API_KEY` and `COMPOSIO_BASE_URL` go to the gateways of that kind that have none of their own; where there
/// is no such gateway, the key makes one.
fn composio(layer: &mut Layer, env: &BTreeMap<&str, &str>, file: &Layer) {
    let in_file = file.values.get("gateways").and_then(Value::as_dict);
    let gateways = in_file.into_iter().flatten().filter_map(|(name, gateway)| {
        let gateway = gateway.as_dict()?;
        let ours = gateway.get("kind").and_then(Value::as_str) == Some("composio");
        ours.then(|| (name.clone(), gateway.clone()))
    });
    let mut gateways: Vec<(String, Dict)> = gateways.collect();
    if let Some(key) = env.get(COMPOSIO_KEY_VARIABLE)
        && gateways.is_empty()
    {
        let place = Place::Variable(COMPOSIO_KEY_VARIABLE.to_owned());
        if file
            .gateways
            .iter()
            .chain(&layer.gateways)
            .any(|name| name == "composio")
        {
            let text = "is not used: the gateway that is called composio is not of kind \"composio\"";
            layer.warning(place, "", text);
            return;
        }
        layer.places.set("gateways.composio", place.clone());
        let path = ["gateways", "composio", "kind"];
        layer.set(&path, Value::from("composio"), place.clone());
        layer.set(&["gateways", "composio", "api_key"], Value::from(*key), place);
        layer.gateways.push("composio".to_owned());
        gateways.push((
            "composio".to_owned(),
            Dict::from([("api_key".to_owned(), Value::from(*key))]),
        ));
    }
    for (name, gateway) in gateways {
        for (variable, key) in [
            (COMPOSIO_KEY_VARIABLE, "api_key"),
            ("COMPOSIO_BASE_URL", "base_url"),
        ] {
            if let Some(text) = env.get(variable)
                && !gateway.contains_key(key)
            {
                let place = Place::Variable(variable.to_owned());
                layer.set(&["gateways", &name, key], Value::from(*text), place);
            }
        }
        auth_configs(layer, env, &name, &gateway);
    }
}

/// `COMPOSIO_AUTH_CONFIG_<PROVIDER>` is the auth config of a toolkit, for gateways that have the toolkit and no auth
/// config of their own for it.
fn auth_configs(layer: &mut Layer, env: &BTreeMap<&str, &str>, name: &str, gateway: &Dict) {
    let toolkits = gateway.get("toolkits").and_then(Value::as_array);
    let own = gateway.get("auth_configs").and_then(Value::as_dict);
    for (variable, id) in env {
        let Some(provider) = variable
            .strip_prefix(AUTH_CONFIG_PREFIX)
            .filter(|provider| !provider.is_empty())
        else {
            continue;
        };
        let provider = provider.to_ascii_lowercase();
        let is_it = |slug: &&str| slug.replace('-', "_") == provider;
        let toolkit = match toolkits {
            Some(toolkits) => toolkits.iter().filter_map(Value::as_str).find(is_it),
            None => Some(provider.as_str()),
        };
        let place = Place::Variable((*variable).to_owned());
        match toolkit {
            Some(toolkit) if own.is_some_and(|own| own.contains_key(toolkit)) => {}
            Some(toolkit) => {
                let path = ["gateways", name, "auth_configs", toolkit];
                layer.set(&path, Value::from(*id), place);
            }
            None => {
                let text = format!("is not used by gateway {name}: it has no toolkit {provider}");
                layer.warning(place, "", text);
            }
        }
    }
}

/// Returns the URLs of the file's gateways: the environment may name one of them again.
fn urls_of(file: &Layer) -> BTreeSet<String> {
    let gateways = file.values.get("gateways").and_then(Value::as_dict);
    gateways
        .into_iter()
        .flat_map(Dict::values)
        .filter_map(|gateway| gateway.as_dict()?.get("url")?.as_str())
        .map(plain)
        .collect()
}

/// Returns a URL in the one form in which two spellings of it are equal.
fn plain(url: &str) -> String {
    Url::parse(url).map_or_else(
        |_| url.to_owned(),
        |url| url.as_str().trim_end_matches('/').to_owned(),
    )
}

/// Derives a gateway's name from its host: `http://mcp-brave:8080/mcp` is `brave`. The port, then a number, tell
/// equal hosts apart.
fn name_of(url: &Url, taken: &[String]) -> String {
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let host = host.trim_matches(['[', ']']);
    let plain: String = host
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let plain = plain.trim_matches('-');
    let short = plain.strip_prefix("mcp-").unwrap_or(plain);
    let short = short.strip_suffix("-mcp").unwrap_or(short);
    let base: String = if short.is_empty() { "gateway" } else { short }
        .chars()
        .take(limits::GATEWAY_NAME_BYTES_MAX - "-65535-99".len())
        .collect();
    let base = base.trim_end_matches('-').to_owned();
    let with_port = url
        .port_or_known_default()
        .map_or_else(|| base.clone(), |port| format!("{base}-{port}"));
    let numbered = (2..=limits::GATEWAYS_MAX).map(|number| format!("{with_port}-{number}"));
    [base.clone(), with_port.clone()]
        .into_iter()
        .chain(numbered)
        .find(|name| !taken.contains(name))
        .unwrap_or(base)
}

/// Warns of variables that look like ours and are not.
fn strangers(layer: &mut Layer, env: &BTreeMap<&str, &str>) {
    let known: Vec<&str> = VARIABLES
        .iter()
        .map(|(name, ..)| *name)
        .chain([CONFIG_VARIABLE, KEY_VARIABLE])
        .collect();
    for name in env.keys() {
        // Kubernetes sets TOOLGATE_PORT_…, TOOLGATE_SERVICE_… for a service that is called toolgate.
        if name.starts_with("TOOLGATE_")
            && !known.contains(name)
            && !name.contains("_PORT")
            && !name.contains("_SERVICE_")
            && let Some(meant) = nearest(name, known.iter().copied())
        {
            let place = Place::Variable((*name).to_owned());
            layer.warning(place, "", format!("unknown variable, did you mean {meant}?"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(url: &str, taken: &[&str]) -> String {
        let taken: Vec<String> = taken.iter().map(ToString::to_string).collect();
        name_of(&Url::parse(url).unwrap(), &taken)
    }

    #[test]
    fn names_come_from_hosts_and_stay_apart() {
        assert_eq!(name("http://mcp-brave:8080/mcp", &[]), "brave");
        assert_eq!(name("http://fetch-mcp/mcp", &[]), "fetch");
        assert_eq!(name("https://Tools.Example.com/mcp", &[]), "tools-example-com");
        assert_eq!(name("http://127.0.0.1:3001/mcp", &[]), "127-0-0-1");
        assert_eq!(name("http://[::1]:3001/mcp", &[]), "1");
        assert_eq!(name("http://mcp-brave:8081/mcp", &["brave"]), "brave-8081");
        assert_eq!(
            name("http://mcp-brave:8081/x", &["brave", "brave-8081"]),
            "brave-8081-2"
        );
    }

    #[test]
    fn a_long_host_still_gives_a_name_within_bounds() {
        let name = name(
            "https://a-very-long-subdomain.of-a-long-domain.example.com/mcp",
            &[],
        );
        assert!(name.len() <= limits::GATEWAY_NAME_BYTES_MAX, "{name}");
        assert!(!name.ends_with('-'), "{name}");
    }
}
