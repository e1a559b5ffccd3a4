//! The description and what is served are held against each other: every route, every field, in both directions.

use std::collections::BTreeSet;

use http::Method;
use serde_json::Map;

use super::*;

const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

/// Every object in a document, with the path to it.
fn walk<'a>(value: &'a Value, path: &str, see: &mut impl FnMut(&str, &'a Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            see(path, members);
            for (key, value) in members {
                walk(value, &format!("{path}/{key}"), see);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                walk(value, &format!("{path}/{index}"), see);
            }
        }
        _ => {}
    }
}

/// A JSON value held against a schema, with the properties that were met on the way.
struct Held<'a> {
    document: &'a Value,
    met: BTreeSet<String>,
}

impl<'a> Held<'a> {
    fn target(&self, reference: &str) -> &'a Value {
        let pointer = reference.strip_prefix('#').unwrap();
        self.document
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    /// Returns what is wrong with a value.
    fn faults(&mut self, schema: &Value, at: &str, value: &Value) -> Vec<String> {
        if let Some(reference) = schema.get("$ref") {
            let reference = reference.as_str().unwrap();
            let name = reference.rsplit('/').next().unwrap();
            return self.faults(self.target(reference), name, value);
        }
        let mut faults = Vec::new();
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => vec![],
        };
        if !kinds.is_empty() && !kinds.iter().any(|kind| is(kind, value)) {
            faults.push(format!("{at} is {value}, no {kinds:?}"));
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            faults.push(format!("{at} is {value}, none of {allowed:?}"));
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let fits = choices
                .iter()
                .filter(|choice| self.faults(choice, at, value).is_empty());
            let fits = fits.count();
            if fits != 1 {
                faults.push(format!("{at} fits {fits} of oneOf: {value}"));
            }
        }
        for required in schema["required"].as_array().into_iter().flatten() {
            if value.get(required.as_str().unwrap()).is_none() {
                faults.push(format!("{at} has no {required}"));
            }
        }
        if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
            for value in values {
                faults.extend(self.faults(items, at, value));
            }
            if (values.len() as u64) < schema["minItems"].as_u64().unwrap_or(0) {
                faults.push(format!("{at} has too few items"));
            }
        }
        if let (Some(properties), Some(members)) = (schema.get("properties"), value.as_object()) {
            for (key, value) in members {
                let path = format!("{at}.{key}");
                match properties.get(key) {
                    Some(property) => {
                        faults.extend(self.faults(property, &path, value));
                        self.met.insert(path);
                    }
                    None if schema["additionalProperties"] == false => {
                        faults.push(format!("{path} is not described"));
                    }
                    None => {}
                }
            }
        }
        faults
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("no type of JSON Schema: {other}"),
    }
}

/// The schema of an operation's answer with a status, where the document names one.
fn schema_of<'a>(held: &Held<'a>, path: &str, method: &str, status: u16, kind: &str) -> Option<&'a Value> {
    let operation = &held.document["paths"][path][method];
    let mut response = &operation["responses"][status.to_string()];
    if let Some(reference) = response.get("$ref") {
        response = held.target(reference.as_str().unwrap());
    }
    response["content"][kind].get("schema")
}

#[test]
fn the_document_is_whole() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut referred = BTreeSet::new();
    walk(&document, "#", &mut |path, members| {
        if let Some(Value::String(reference)) = members.get("$ref") {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(
                document.pointer(pointer).is_some(),
                "{path}: {reference} leads nowhere"
            );
            assert_eq!(
                members.len(),
                1,
                "{path}: what stands beside a $ref is not read by everybody"
            );
            referred.insert(reference.clone());
        }
        for required in members
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let described = members
                .get("properties")
                .is_none_or(|all| all.get(required.as_str().unwrap()).is_some());
            assert!(described, "{path} requires {required} and does not describe it");
        }
    });
    for (kind, all) in document["components"].as_object().unwrap() {
        for name in all
            .as_object()
            .unwrap()
            .keys()
            .filter(|_| kind != "securitySchemes")
        {
            let reference = format!("#/components/{kind}/{name}");
            assert!(referred.contains(&reference), "nobody refers to {reference}");
        }
    }
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| *key != "parameters")
        {
            assert!(METHODS.contains(&method.as_str()), "{path} {method}");
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap()),
                "{path} {method}"
            );
            let open = operation["security"] == serde_json::json!([]);
            assert!(operation["responses"].get("200").is_some());
            assert!(open || operation["responses"].get("401").is_some());
        }
        let named: Vec<&str> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        let given = item["parameters"].as_array().map_or(0, Vec::len);
        assert_eq!(named.len(), given, "{path} has its parameters");
    }
}

#[tokio::test]
async fn every_route_is_described_with_its_methods_and_no_other_is() {
    let rig = quiet().await;
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    let served: BTreeSet<&str> = ROUTES.iter().chain(&OPEN_ROUTES).map(|(path, _)| *path).collect();
    assert_eq!(described, served);
    for (path, _) in OPEN_ROUTES {
        let operations = document["paths"][path].as_object().unwrap().values();
        for operation in operations {
            assert_eq!(
                operation["security"],
                serde_json::json!([]),
                "{path} needs no key"
            );
        }
    }
    for (path, item) in paths {
        for method in METHODS {
            let request = Request::builder()
                .method(Method::from_bytes(method.to_uppercase().as_bytes()).unwrap())
                .uri(path.replace(['{', '}'], ""))
                .body(Body::empty())
                .unwrap();
            let status = rig.send("alice", request).await.status;
            assert_eq!(
                status != 405,
                item.get(method).is_some(),
                "{method} {path}: {status}"
            );
        }
    }
}

/// Answers that together have every field.
async fn samples() -> Vec<(&'static str, &'static str, Got)> {
    let rig = rig(|call| {
        let name = call
            .request
            .params
            .as_ref()
            .and_then(|params| params.string("name"));
        Box::pin(async move {
            let text =
                r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#;
            let message = crate::protocol::message::Message::parse(Bytes::from_static(text.as_bytes()));
            if let Ok(crate::protocol::message::Message::Notification(said)) = message {
                call.events
                    .send(crate::exchange::Event::Notification(said))
                    .await
                    .unwrap();
            }
            match name.as_deref() {
                Some("rich") => {
                    let mut answer = crate::upstream::fake::error_answer(-32_602);
                    let text = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m","data":{}}}"#;
                    let parsed =
                        crate::protocol::message::Message::parse(Bytes::from_static(text.as_bytes()));
                    if let Ok(crate::protocol::message::Message::Response(response)) = parsed {
                        answer.response = response;
                    }
                    Ok(answer)
                }
                Some("b_only") => Err(CallError::Timeout {
                    gateway: GatewayId::new("b"),
                    timeout_ms: 1,
                }),
                _ => Ok(came(r#"{"content":[]}"#)),
            }
        })
    })
    .await;
    let (test, explain) = ("/tools/{name}/test", "/tools/{name}/explain");
    let mut all = vec![
        ("/tools", "get", rig.get("alice", "/tools").await),
        ("/tools", "get", rig.get("alice", "/tools?limit=1").await),
        ("/tools", "get", rig.get("alice", "/tools?limit=0").await),
        (test, "post", rig.post("alice", "/tools/echo/test", "{}").await),
        (test, "post", rig.post("alice", "/tools/rich/test", "{}").await),
        (test, "post", rig.post("alice", "/tools/nobody/test", "{}").await),
        ("/openapi.json", "get", rig.get("alice", "/openapi.json").await),
    ];
    for _ in 0..crate::limits::BREAKER_FAULTS {
        all.push((test, "post", rig.post("alice", "/tools/b_only/test", "{}").await));
    }
    all.push((test, "post", rig.post("alice", "/tools/b_only/test", "{}").await));
    for name in [
        "echo",
        "b__echo",
        "odd",
        "secret",
        "last_only",
        "nobody",
        "b_only",
    ] {
        all.push((
            explain,
            "get",
            rig.get("alice", &format!("/tools/{name}/explain")).await,
        ));
    }
    rig.all_looked();
    all.push((explain, "get", rig.get("alice", "/tools/echo/explain").await));
    all.push(("/gateways", "get", rig.get("alice", "/gateways").await));
    let long = format!(
        r#"{{"a":"{}"}}"#,
        "x".repeat(crate::limits::EXECUTION_TEXT_BYTES_MAX)
    );
    rig.post("alice", "/tools/echo/test", &long).await;
    let listed = rig.get("alice", "/executions?limit=1").await;
    let id = listed.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let one = "/executions/{id}";
    all.push((one, "get", rig.get("alice", &format!("/executions/{id}")).await));
    all.push((one, "get", rig.get("bob", &format!("/executions/{id}")).await));
    all.push(("/executions", "get", listed));
    all.push(("/stats", "get", rig.get("alice", "/stats").await));
    all.extend(integrations::samples().await);
    all
}

#[tokio::test]
async fn every_field_that_is_served_is_described_and_every_described_one_is_served() {
    let document = document();
    let mut held = Held {
        document: &document,
        met: BTreeSet::new(),
    };
    let mut outcomes = BTreeSet::new();
    for (path, method, got) in samples().await {
        let kind = got.headers[CONTENT_TYPE].to_str().unwrap().to_owned();
        let schema = schema_of(&held, path, method, got.status, &kind);
        let schema =
            schema.unwrap_or_else(|| panic!("{method} {path} {} {kind} is not described", got.status));
        let value = got.json();
        assert_eq!(
            held.faults(schema, path, &value),
            [""; 0],
            "{method} {path} {value}"
        );
        for reason in value["reasons"].as_array().into_iter().flatten() {
            outcomes.insert(reason["outcome"].clone().to_string());
        }
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let described: BTreeSet<String> = schemas
        .iter()
        .flat_map(|(name, schema)| {
            let properties = schema["properties"].as_object().unwrap();
            properties.keys().map(move |key| format!("{name}.{key}"))
        })
        .collect();
    assert_eq!(held.met, described);
    let all = &schemas["Reason"]["properties"]["outcome"]["enum"];
    let all: BTreeSet<String> = all.as_array().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(outcomes, all, "every outcome is met");
}

#[test]
fn a_field_that_is_not_described_is_found() {
    let document = document();
    let mut held = Held {
        document: &document,
        met: BTreeSet::new(),
    };
    let schema = &document["components"]["schemas"]["LastError"];
    let faults = |held: &mut Held<'_>, value: Value| held.faults(schema, "LastError", &value).len();
    assert_eq!(
        faults(&mut held, serde_json::json!({ "text": "x", "ageMs": 1 })),
        0
    );
    assert_eq!(
        faults(
            &mut held,
            serde_json::json!({ "text": "x", "ageMs": 1, "new": 1 })
        ),
        1
    );
    assert_eq!(
        faults(&mut held, serde_json::json!({ "text": 1, "ageMs": 1.5 })),
        2
    );
    assert_eq!(faults(&mut held, serde_json::json!({})), 2);
}
