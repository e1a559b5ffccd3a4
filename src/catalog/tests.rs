mod hostile;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::listing::Item;
use super::*;
use crate::config::{Names, Prefix};
use crate::protocol::json::Raw;

fn tool(name: &str) -> Item {
    let text = format!(
        r#"{{"name":{},"x-vendor":1e99,"inputSchema":{{"type":"object"}}}}"#,
        Raw::from(name).as_str()
    );
    Item::read(Kind::Tool, Raw::parse(&Bytes::from(text)).unwrap()).unwrap()
}

fn listing(tools: &[&str]) -> Listing {
    Listing {
        tools: tools.iter().map(|name| tool(name)).collect(),
        ..Listing::default()
    }
}

fn resources(uris: &[&str]) -> Listing {
    let item = |uri: &&str| {
        let text = format!(r#"{{"uri":"{uri}","name":"r"}}"#);
        Item::read(Kind::Resource, Raw::parse(&Bytes::from(text)).unwrap()).unwrap()
    };
    Listing {
        resources: uris.iter().map(item).collect(),
        has_resources: true,
        ..Listing::default()
    }
}

fn id(name: &str) -> GatewayId {
    GatewayId::new(name)
}

fn catalog(order: &[&str], prefix: Prefix, names: Names) -> Catalog {
    Catalog::new(Naming::for_test(order, prefix, names, &[]))
}

fn names(catalog: &Catalog) -> Vec<String> {
    let snapshot = catalog.snapshot();
    snapshot
        .entries(Kind::Tool)
        .iter()
        .map(|entry| entry.route.exposed.to_string())
        .collect()
}

impl Naming {
    fn for_test(order: &[&str], prefix: Prefix, names: Names, rename: &[(&str, &str, &str)]) -> Self {
        let mut table: HashMap<GatewayId, BTreeMap<String, String>> = HashMap::new();
        for (gateway, own, exposed) in rename {
            table
                .entry(id(gateway))
                .or_default()
                .insert((*own).to_owned(), (*exposed).to_owned());
        }
        let order = order.iter().map(|name| id(name)).collect();
        Self::of_parts(order, prefix, names, table)
    }
}

#[test]
fn a_name_is_bare_where_unique_and_prefixed_where_not() {
    let catalog = catalog(&["a", "b"], Prefix::OnConflict, Names::Portable);
    catalog.publish(&id("a"), listing(&["echo", "one"]));
    catalog.publish(&id("b"), listing(&["echo", "two"]));
    assert_eq!(names(&catalog), ["echo", "one", "b__echo", "two"]);
    let snapshot = catalog.snapshot();
    let route = snapshot.resolve(Kind::Tool, "b__echo").unwrap();
    assert_eq!((route.gateway.as_str(), &*route.own), ("b", "echo"));
    let raw = &snapshot.entries(Kind::Tool)[2].raw;
    assert_eq!(
        raw.as_str(),
        r#"{"name":"b__echo","x-vendor":1e99,"inputSchema":{"type":"object"}}"#
    );
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    for swap in 0..100 {
        let catalog = catalog(&["a", "b"], Prefix::OnConflict, Names::Portable);
        let mut arrivals = ["a", "b"];
        if swap % 2 == 0 {
            arrivals.reverse();
        }
        for gateway in arrivals {
            catalog.publish(&id(gateway), listing(&["echo"]));
        }
        assert_eq!(names(&catalog), ["echo", "b__echo"]);
        assert_eq!(
            catalog.snapshot().resolve(Kind::Tool, "echo").unwrap().gateway,
            id("a")
        );
    }
}

#[test]
fn names_wait_for_gateways_that_come_first() {
    let catalog = catalog(&["a", "b"], Prefix::OnConflict, Names::Portable);
    catalog.publish(&id("b"), listing(&["echo"]));
    assert!(names(&catalog).is_empty());
    assert_eq!(catalog.snapshot().left_out()[0].reason, Unnamed::Waiting);
    catalog.looked(&id("a"));
    assert_eq!(names(&catalog), ["echo"]);
    // The latecomer cannot take the name over.
    catalog.publish(&id("a"), listing(&["echo"]));
    assert_eq!(
        catalog.snapshot().resolve(Kind::Tool, "echo").unwrap().gateway,
        id("b")
    );
    assert_eq!(
        catalog.snapshot().resolve(Kind::Tool, "a__echo").unwrap().gateway,
        id("a")
    );
}

#[test]
fn a_name_stays_while_its_tool_comes_and_goes() {
    let catalog = catalog(&["a", "b"], Prefix::OnConflict, Names::Portable);
    catalog.publish(&id("a"), listing(&["echo"]));
    catalog.publish(&id("b"), listing(&["echo"]));
    catalog.publish(&id("a"), listing(&[]));
    assert_eq!(names(&catalog), ["b__echo"], "the bare name is still a's");
    catalog.publish(&id("a"), listing(&["echo"]));
    assert_eq!(names(&catalog), ["echo", "b__echo"]);
    catalog.remove(&id("a"));
    assert_eq!(names(&catalog), ["b__echo"], "names never shift");
}

#[test]
fn nobody_poses_as_another_gateway() {
    let catalog = catalog(&["a", "b"], Prefix::OnConflict, Names::Portable);
    catalog.publish(&id("a"), listing(&[]));
    catalog.publish(&id("b"), listing(&["a__secret"]));
    assert_eq!(names(&catalog), ["b__a__secret"]);
}

#[test]
fn names_are_valid_for_every_client() {
    let catalog = catalog(&["a"], Prefix::OnConflict, Names::Portable);
    let long = "x".repeat(100);
    catalog.publish(&id("a"), listing(&["a.b", "a/b", "a_b", "größe", &long]));
    let given = names(&catalog);
    assert_eq!(given.len(), 5);
    for name in &given {
        assert!(name.len() <= 64, "{name}");
        assert!(
            name.chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'),
            "{name}"
        );
    }
    let again = Catalog::new(Naming::for_test(&["a"], Prefix::OnConflict, Names::Portable, &[]));
    again.publish(&id("a"), listing(&["a.b", "a/b", "a_b", "größe", &long]));
    assert_eq!(names(&again), given, "the same after a restart");
}

#[test]
fn prefix_always_and_never_and_rename() {
    let always = catalog(&["a", "b"], Prefix::Always, Names::Portable);
    always.publish(&id("b"), listing(&["echo"]));
    always.publish(&id("a"), listing(&["echo"]));
    assert_eq!(names(&always), ["a__echo", "b__echo"]);

    let never = catalog(&["a", "b"], Prefix::Never, Names::AsIs);
    never.publish(&id("a"), listing(&["e.cho"]));
    never.publish(&id("b"), listing(&["e.cho"]));
    assert_eq!(names(&never), ["e.cho"]);
    assert_eq!(never.snapshot().left_out()[0].reason, Unnamed::Taken);

    let naming = Naming::for_test(&["a"], Prefix::Always, Names::Portable, &[("a", "echo", "say")]);
    let renamed = Catalog::new(naming);
    renamed.publish(&id("a"), listing(&["echo", "other"]));
    assert_eq!(names(&renamed), ["say", "a__other"]);
}

#[test]
fn uris_are_mapped_only_where_they_collide() {
    let catalog = catalog(&["a", "b_c"], Prefix::Always, Names::Portable);
    catalog.publish(&id("a"), resources(&["test://x", "test://y"]));
    catalog.publish(&id("b_c"), resources(&["test://x", "other://z"]));
    let snapshot = catalog.snapshot();
    let uris: Vec<&str> = snapshot
        .entries(Kind::Resource)
        .iter()
        .map(|entry| &*entry.route.exposed)
        .collect();
    assert_eq!(uris, ["test://x", "test://y", "gw-b-c+test://x", "other://z"]);
    let unlisted = snapshot.resolve_uri("other://q");
    let gateways: Vec<&str> = unlisted.iter().map(|route| route.gateway.as_str()).collect();
    assert_eq!(
        gateways,
        ["b_c", "a"],
        "the one that lists the scheme is asked first"
    );
}

fn app(name: &str, uri: &str) -> Item {
    let text = format!(
        r#"{{"name":"{name}","inputSchema":{{"type":"object"}},"_meta":{{"ui":{{"resourceUri":"{uri}","csp":{{}}}}}}}}"#
    );
    Item::read(Kind::Tool, Raw::parse(&Bytes::from(text)).unwrap()).unwrap()
}

#[test]
fn an_app_finds_its_page_and_its_tools() {
    let catalog = catalog(&["a", "b"], Prefix::Always, Names::Portable);
    let with_app = |tools: &[&str]| {
        let mut listing = Listing {
            tools: vec![app("show", "ui://x")],
            ..resources(&["ui://x"])
        };
        listing.tools.extend(tools.iter().map(|name| tool(name)));
        listing
    };
    catalog.publish(&id("a"), with_app(&["save"]));
    catalog.publish(&id("b"), with_app(&["save", "load"]));
    let snapshot = catalog.snapshot();
    let of = |name: &str| {
        snapshot
            .resolve(Kind::Tool, name)
            .map(|route| route.exposed.to_string())
    };
    assert_eq!(
        of("load").as_deref(),
        Some("b__load"),
        "the page calls by the name that its server gave"
    );
    assert_eq!(
        of("save").as_deref(),
        Some("a__save"),
        "and never reaches another server's tool by it later on"
    );
    let page = &snapshot.entries(Kind::Tool)[2].raw;
    assert!(
        page.as_str().contains(r#""resourceUri":"gw-b+ui://x","csp":{}"#),
        "{page:?}"
    );
    catalog.publish(&id("a"), Listing::default());
    assert_eq!(
        catalog.snapshot().resolve(Kind::Tool, "save"),
        None,
        "it does not pass on to b"
    );
}

#[test]
fn an_own_name_of_a_gateway_without_apps_is_unknown() {
    let catalog = catalog(&["a"], Prefix::Always, Names::Portable);
    catalog.publish(&id("a"), listing(&["save"]));
    assert_eq!(catalog.snapshot().resolve(Kind::Tool, "save"), None);
}

#[test]
fn changes_are_counted_by_list_and_only_when_something_changed() {
    let catalog = catalog(&["a"], Prefix::OnConflict, Names::Portable);
    let changes = catalog.changes();
    catalog.publish(&id("a"), listing(&["echo"]));
    assert_eq!(
        *changes.borrow(),
        Changes {
            tools: 1,
            prompts: 0,
            resources: 0
        }
    );
    catalog.publish(&id("a"), listing(&["echo"]));
    assert_eq!(
        *changes.borrow(),
        Changes {
            tools: 1,
            prompts: 0,
            resources: 0
        }
    );
    catalog.publish(&id("a"), resources(&["test://x"]));
    assert_eq!(
        *changes.borrow(),
        Changes {
            tools: 2,
            prompts: 0,
            resources: 1
        }
    );
}

#[test]
fn an_announced_change_is_told_even_where_no_difference_is_seen() {
    let catalog = catalog(&["a"], Prefix::OnConflict, Names::Portable);
    catalog.publish(&id("a"), listing(&["echo"]));
    let before = *catalog.changes().borrow();
    catalog.announced(false, true, false);
    assert_eq!(
        *catalog.changes().borrow(),
        before,
        "told with the list, not before it"
    );
    catalog.publish(&id("a"), listing(&["echo"]));
    let after = *catalog.changes().borrow();
    assert_eq!((after.tools, after.prompts), (before.tools, before.prompts + 1));
}
