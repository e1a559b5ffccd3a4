//! Gateways that list things to pose as others, to take names over, or to cost us time and memory.

use super::*;

fn renaming(order: &[&str], prefix: Prefix, rename: &[(&str, &str, &str)]) -> Naming {
    Naming::for_test(order, prefix, Names::Portable, rename)
}

fn owner(catalog: &Catalog, kind: Kind, name: &str) -> Option<String> {
    let snapshot = catalog.snapshot();
    snapshot
        .resolve(kind, name)
        .map(|route| route.gateway.to_string())
}

#[test]
fn nobody_poses_as_another_gateway_by_characters_that_are_mapped() {
    let catalog = catalog(&["a", "b"], Prefix::OnConflict, Names::Portable);
    catalog.publish(&id("a"), listing(&[]));
    catalog.publish(&id("b"), listing(&["a..secret", "a._other", "a//third"]));
    assert_eq!(names(&catalog), ["b__a__secret", "b__a__other", "b__a__third"]);
}

#[test]
fn nobody_poses_as_another_gateway_by_the_own_name_of_a_tool_with_pages() {
    let catalog = catalog(&["a", "b"], Prefix::OnConflict, Names::Portable);
    catalog.publish(&id("a"), listing(&[]));
    let mut posing = listing(&["a__secret", "mine"]);
    posing.tools.push(app("show", "ui://x"));
    catalog.publish(&id("b"), posing);
    assert_eq!(owner(&catalog, Kind::Tool, "a__secret"), None);
}

#[test]
fn nobody_takes_a_uri_that_another_gateways_would_be_mapped_to() {
    let catalog = catalog(&["b", "a"], Prefix::OnConflict, Names::Portable);
    catalog.publish(
        &id("b"),
        resources(&["gw-a+test://x", "test://x", "gw-b+test://y"]),
    );
    catalog.publish(&id("a"), resources(&["test://x"]));
    assert_eq!(
        owner(&catalog, Kind::Resource, "gw-a+test://x").as_deref(),
        Some("a")
    );
    assert_eq!(
        owner(&catalog, Kind::Resource, "gw-b+gw-a+test://x").as_deref(),
        Some("b")
    );
}

#[test]
fn nobody_takes_a_name_that_the_configuration_gives_to_another() {
    for prefix in [Prefix::OnConflict, Prefix::Never, Prefix::Always] {
        let catalog = Catalog::new(renaming(
            &["a", "b"],
            prefix,
            &[("b", "echo", "a__say"), ("b", "two", "say")],
        ));
        catalog.publish(&id("a"), listing(&["say", "a__say"]));
        catalog.publish(&id("b"), listing(&["echo", "two"]));
        assert_eq!(
            owner(&catalog, Kind::Tool, "say").as_deref(),
            Some("b"),
            "{prefix:?}"
        );
        assert_eq!(
            owner(&catalog, Kind::Tool, "a__say").as_deref(),
            Some("b"),
            "{prefix:?}"
        );
    }
}

#[test]
fn rules_that_change_for_one_gateway_move_no_name_of_another() {
    let catalog = catalog(&["b"], Prefix::OnConflict, Names::Portable);
    catalog.publish(&id("b"), listing(&["echo", "two"]));
    // A newcomer before it in the file, with a name of its own.
    catalog.configure(renaming(&["a", "b"], Prefix::OnConflict, &[("a", "x", "y")]));
    catalog.publish(&id("a"), listing(&["echo", "x"]));
    assert_eq!(owner(&catalog, Kind::Tool, "echo").as_deref(), Some("b"));
    assert_eq!(names(&catalog), ["a__echo", "y", "echo", "two"]);
    catalog.configure(renaming(
        &["a", "b"],
        Prefix::OnConflict,
        &[("a", "x", "z"), ("b", "two", "2")],
    ));
    assert_eq!(names(&catalog), ["a__echo", "z", "echo", "2"]);
    catalog.configure(renaming(&["a", "b"], Prefix::Always, &[]));
    assert_eq!(names(&catalog), ["a__echo", "a__x", "b__echo", "b__two"]);
}

#[test]
fn the_merged_lists_stay_fresh_as_long_as_the_least_of_them() {
    let catalog = catalog(&["a", "b", "c"], Prefix::OnConflict, Names::Portable);
    assert_eq!(catalog.snapshot().ttl(), None);
    for (gateway, ttl) in [("a", Some(9)), ("b", None), ("c", Some(3))] {
        let ttl = ttl.map(std::time::Duration::from_secs);
        catalog.publish(&id(gateway), Listing { ttl, ..listing(&[]) });
    }
    assert_eq!(catalog.snapshot().ttl(), Some(std::time::Duration::from_secs(3)));
}

#[test]
fn an_entry_holds_nothing_of_the_page_that_it_came_in() {
    let page = Bytes::from(format!(
        r#"{{"tools":[{{"name":"a","inputSchema":{{}},"_meta":{{"ui":{{"resourceUri":"ui://x"}}}}}}],"x":"{}"}}"#,
        "x".repeat(1_000)
    ));
    let entry = Raw::parse(&page).unwrap().object().unwrap().get("tools").unwrap();
    let entry = entry.array().unwrap().next().unwrap();
    let item = Item::read(Kind::Tool, entry).unwrap();
    for kept in [&item.raw, item.app.as_ref().unwrap()] {
        assert!(!page.as_ptr_range().contains(&kept.as_bytes().as_ptr()));
    }
}

#[test]
fn a_tool_that_mirrors_more_arguments_than_a_request_has_room_for_is_left_out() {
    let schema = |count: usize| {
        let properties: Vec<String> = (0..count)
            .map(|n| format!(r#""p{n}":{{"type":"string","x-mcp-header":"H{n}"}}"#))
            .collect();
        let text = format!(
            r#"{{"name":"t","inputSchema":{{"type":"object","properties":{{{}}}}}}}"#,
            properties.join(",")
        );
        Item::read(Kind::Tool, Raw::parse(&Bytes::from(text)).unwrap())
    };
    assert!(schema(crate::limits::PARAM_HEADERS_MAX).is_ok());
    assert!(schema(crate::limits::PARAM_HEADERS_MAX + 1).is_err());
}

#[test]
fn a_look_that_finds_nothing_new_costs_nothing() {
    let catalog = catalog(&["a", "b"], Prefix::OnConflict, Names::Portable);
    catalog.publish(&id("b"), listing(&["echo"]));
    catalog.publish(&id("a"), listing(&["one"]));
    let before = catalog.snapshot();
    assert_eq!(before.entries(Kind::Tool).len(), 2);
    catalog.publish(&id("a"), listing(&["one"]));
    assert!(Arc::ptr_eq(&before, &catalog.snapshot()));
    catalog.publish(&id("a"), listing(&["two"]));
    assert_eq!(names(&catalog), ["two", "echo"]);
}
