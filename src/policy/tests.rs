use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};

use super::*;
use crate::catalog::Naming;
use crate::catalog::listing::{Item, Kind, Listing};
use crate::config;
use crate::identity::Identity;
use crate::ids::{GatewayId, UserId};
use crate::protocol::json::Raw;

const FILE: &str = r#"
[tools]
permitted = ["a_*", "b_*", "fetch"]
[gateways.a]
url = "http://a.example/mcp"
deny = ["*_delete"]
[gateways.b]
url = "http://b.example/mcp"
allow = ["b_read"]
[gateways.docs]
url = "http://docs.example/mcp"
"#;

fn config() -> config::Config {
    let file = config::File {
        name: "gateways.toml".to_owned(),
        text: FILE.to_owned(),
    };
    let sources = config::Sources::new(Some(file), BTreeMap::new(), config::Flags::default());
    config::load(&sources).unwrap().config
}

fn item(kind: Kind, name: &str) -> Item {
    let text = format!(
        r#"{{"{}":"{name}","name":"{name}","inputSchema":{{}}}}"#,
        kind.key()
    )
    .replacen(
        &format!(r#""name":"{name}","name":"#),
        r#""title":"x","name":"#,
        1,
    );
    Item::read(kind, Raw::parse(&Bytes::from(text)).unwrap()).unwrap()
}

fn policy() -> Policy {
    let config = config();
    let catalog = Arc::new(Catalog::new(Naming::of(&config)));
    let tools = |names: &[&str]| names.iter().map(|name| item(Kind::Tool, name)).collect();
    let prompts = |name| vec![item(Kind::Prompt, name)];
    catalog.publish(
        &GatewayId::new("a"),
        Listing {
            tools: tools(&["a_get", "a_delete", "fetch", "hidden"]),
            prompts: prompts("pa"),
            ..Listing::default()
        },
    );
    catalog.publish(
        &GatewayId::new("b"),
        Listing {
            tools: tools(&["b_read", "b_write"]),
            prompts: prompts("pb"),
            ..Listing::default()
        },
    );
    catalog.publish(
        &GatewayId::new("docs"),
        Listing {
            prompts: prompts("pd"),
            ..Listing::default()
        },
    );
    Policy::new(catalog, Rules::of(&config).unwrap())
}

fn principal(tools: Option<&[&str]>) -> Arc<Principal> {
    let key = config::Key {
        user: UserId::new("alice"),
        sha256: Sha256::digest(b"k").into(),
        acts_for_users: false,
        tools: tools.map(|tools| tools.iter().map(ToString::to_string).collect()),
    };
    let identity = Identity::new(Some(&config::Auth { keys: vec![key] })).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer k"));
    identity.authenticate(&headers).unwrap()
}

fn seen(view: &View, kind: Kind) -> Vec<String> {
    view.entries(kind)
        .map(|entry| entry.route.exposed.to_string())
        .collect()
}

#[test]
fn every_rule_hides_and_refuses_alike() {
    let policy = policy();
    let alice = principal(None);
    let view = policy.view(&alice);
    assert_eq!(seen(&view, Kind::Tool), ["a_get", "fetch", "b_read"]);
    for (name, rule) in [
        ("a_delete", Rule::Denied),
        ("hidden", Rule::NotPermitted),
        ("b_write", Rule::NotAllowed),
    ] {
        let route = view.snapshot().resolve(Kind::Tool, name).unwrap();
        assert_eq!(view.admit(&alice, route).unwrap_err(), rule, "{name}");
    }
    let route = view.snapshot().resolve(Kind::Tool, "fetch").unwrap();
    assert_eq!(view.admit(&alice, route).unwrap().route().own.as_ref(), "fetch");
}

#[test]
fn a_key_narrows_what_is_permitted() {
    let policy = policy();
    let alice = principal(Some(&["b_*", "hidden"]));
    let view = policy.view(&alice);
    assert_eq!(seen(&view, Kind::Tool), ["b_read"], "a key never widens");
    assert_eq!(
        seen(&view, Kind::Prompt),
        ["pb"],
        "prompts go with the tools of their gateway"
    );
    let route = view.snapshot().resolve(Kind::Tool, "fetch").unwrap();
    assert_eq!(view.admit(&alice, route).unwrap_err(), Rule::NotOnKey);
    let route = view.snapshot().resolve(Kind::Prompt, "pa").unwrap();
    assert_eq!(view.admit(&alice, route).unwrap_err(), Rule::NoToolOfGateway);
}

#[test]
fn views_are_shared_until_something_changes() {
    let policy = policy();
    let alice = principal(None);
    let view = policy.view(&alice);
    assert!(Arc::ptr_eq(&view, &policy.view(&principal(None))));
    let narrow = principal(Some(&["fetch"]));
    assert!(Arc::ptr_eq(&policy.view(&narrow), &policy.view(&narrow)));
    policy.replace(Rules::default());
    let wide = policy.view(&alice);
    assert!(!Arc::ptr_eq(&view, &wide));
    assert_eq!(seen(&wide, Kind::Tool).len(), 6);
    assert_eq!(seen(&wide, Kind::Prompt), ["pa", "pb", "pd"]);
}

#[test]
fn a_restricted_key_after_a_reload_gets_its_new_view() {
    let policy = policy();
    let before = policy.view(&principal(Some(&["fetch"])));
    let after = policy.view(&principal(Some(&["b_*"])));
    assert_eq!(
        (seen(&before, Kind::Tool), seen(&after, Kind::Tool)),
        (vec!["fetch".into()], vec!["b_read".into()])
    );
}

#[test]
fn pages_are_the_bytes_of_the_entries() {
    let view = policy().view(&principal(None));
    let pages = view.pages(Kind::Tool, 2);
    assert_eq!(pages.len(), 2);
    let all: Vec<String> = view
        .entries(Kind::Tool)
        .map(|entry| entry.raw.as_str().to_owned())
        .collect();
    assert_eq!(pages[0], format!("{},{}", all[0], all[1]));
    assert_eq!(pages[1], all[2]);
    assert_eq!(view.pages(Kind::Resource, 2)[0], "");
}

#[test]
fn explain_tells_refused_from_unknown() {
    let view = policy().view(&principal(None));
    assert!(matches!(
        &view.explain("fetch")[..],
        [Explanation::Callable { .. }]
    ));
    assert!(matches!(
        &view.explain("a_delete")[..],
        [Explanation::Hidden {
            rule: Rule::Denied,
            ..
        }]
    ));
    assert_eq!(view.explain("nope"), [Explanation::Unknown]);
}

#[test]
fn where_nothing_is_restricted_a_gateway_whose_tools_have_no_names_keeps_its_prompts() {
    let text = FILE
        .replace(r#"permitted = ["a_*", "b_*", "fetch"]"#, r#"prefix = "never""#)
        .replace(r#"deny = ["*_delete"]"#, "")
        .replace(r#"allow = ["b_read"]"#, "");
    let file = config::File {
        name: "gateways.toml".to_owned(),
        text,
    };
    let sources = config::Sources::new(Some(file), BTreeMap::new(), config::Flags::default());
    let config = config::load(&sources).unwrap().config;
    let catalog = Arc::new(Catalog::new(Naming::of(&config)));
    for (gateway, prompt) in [("a", "pa"), ("b", "pb")] {
        catalog.publish(
            &GatewayId::new(gateway),
            Listing {
                tools: vec![item(Kind::Tool, "same")],
                prompts: vec![item(Kind::Prompt, prompt)],
                ..Listing::default()
            },
        );
    }
    let policy = Policy::new(catalog, Rules::of(&config).unwrap());
    assert_eq!(seen(&policy.view(&principal(None)), Kind::Prompt), ["pa", "pb"]);
    let narrow = policy.view(&principal(Some(&["same"])));
    assert_eq!(
        seen(&narrow, Kind::Prompt),
        ["pa"],
        "b has none that this key may use"
    );
}

#[test]
fn a_route_of_an_older_list_is_decided_by_its_name_not_by_its_place() {
    let policy = policy();
    let alice = principal(None);
    let older = policy.view(&alice);
    let route = older.snapshot().resolve(Kind::Tool, "hidden").unwrap().clone();
    let moved = ["a_get", "a_get2", "a_get3", "a_get4"];
    let tools = moved.iter().map(|name| item(Kind::Tool, name)).collect();
    policy.catalog.publish(
        &GatewayId::new("a"),
        Listing {
            tools,
            ..Listing::default()
        },
    );
    let newer = policy.view(&alice);
    assert_eq!(newer.admit(&alice, &route).unwrap_err(), Rule::NotPermitted);
}

#[test]
fn a_page_is_bounded_in_bytes() {
    let config = config();
    let catalog = Arc::new(Catalog::new(Naming::of(&config)));
    let large = |n: usize| {
        let text = format!(
            r#"{{"name":"a_{n}","inputSchema":{{}},"x":"{}"}}"#,
            "x".repeat(crate::limits::LIST_ITEM_BYTES_MAX - 100)
        );
        Item::read(Kind::Tool, Raw::parse(&Bytes::from(text)).unwrap()).unwrap()
    };
    let tools = (0..40).map(large).collect();
    catalog.publish(
        &GatewayId::new("a"),
        Listing {
            tools,
            ..Listing::default()
        },
    );
    let policy = Policy::new(catalog, Rules::of(&config).unwrap());
    let view = policy.view(&principal(None));
    let pages = view.pages(Kind::Tool, 500);
    assert!(pages.len() > 1);
    assert!(
        pages
            .iter()
            .all(|page| page.len() <= crate::limits::PAGE_BYTES_MAX)
    );
    let all: Vec<&str> = view.entries(Kind::Tool).map(|entry| entry.raw.as_str()).collect();
    let pages: Vec<&str> = pages
        .iter()
        .map(|page| std::str::from_utf8(page).unwrap())
        .collect();
    assert_eq!(pages.join(","), all.join(","));
}
