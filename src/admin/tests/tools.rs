use super::*;

fn names(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn tools_are_listed_as_the_caller_sees_them() {
    let rig = quiet().await;
    let page = rig.get("alice", "/tools").await;
    assert_eq!(
        (page.status, page.headers[CACHE_CONTROL].to_str().unwrap()),
        (200, "no-store")
    );
    let page = page.json();
    // `last` stands behind `late`, which has not answered: it has no names yet.
    assert_eq!(names(&page), ["echo", "even", "rich", "b__echo", "b_only"]);
    assert_eq!(page["items"][1]["ownName"], "odd");
    assert_eq!(page["items"][3]["gateway"], "b");
    assert!(page.get("nextCursor").is_none());
    let narrow = rig.get("narrow", "/tools").await.json();
    assert_eq!(names(&narrow), ["echo"]);
}

#[tokio::test]
async fn what_a_gateway_wrote_stays_as_it_wrote_it() {
    let rig = quiet().await;
    let got = rig.get("alice", "/tools?q=rich").await;
    assert!(
        got.text
            .contains(r#""inputSchema":{ "type":"object", "x": 1.50e+3 }"#),
        "{}",
        got.text
    );
    assert!(
        got.text.contains(r#""description":"Finds needles""#),
        "{}",
        got.text
    );
    assert!(!got.text.contains("_meta"), "{}", got.text);
}

#[tokio::test]
async fn tools_are_found_by_gateway_and_by_words() {
    let rig = quiet().await;
    for (query, found) in [
        ("gateway=b", vec!["b__echo", "b_only"]),
        ("gateway=nobody", vec![]),
        ("q=ECHO", vec!["echo", "b__echo"]),
        ("q=odd", vec!["even"]),
        ("q=needles+rich", vec!["rich"]),
        ("q=needles+poor", vec![]),
        ("q=", vec!["echo", "even", "rich", "b__echo", "b_only"]),
        ("q=echo&gateway=a", vec!["echo"]),
    ] {
        let page = rig.get("alice", &format!("/tools?{query}")).await.json();
        assert_eq!(names(&page), found, "{query}");
    }
}

#[tokio::test]
async fn a_list_comes_in_pages_that_neither_repeat_nor_skip() {
    let rig = quiet().await;
    let first = rig.get("alice", "/tools?limit=2").await.json();
    assert_eq!(names(&first), ["echo", "even"]);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = format!("/tools?limit=2&cursor={cursor}");
    assert_eq!(
        names(&rig.get("alice", &second).await.json()),
        ["rich", "b__echo"]
    );
    // The first tool goes: what came after the last one given moves up.
    rig.catalog.publish(&GatewayId::new("a"), {
        let mut listing = lists("a").unwrap();
        listing.tools.remove(0);
        listing
    });
    assert_eq!(
        names(&rig.get("alice", &second).await.json()),
        ["rich", "b__echo"]
    );
    // The last one given goes as well.
    rig.catalog.publish(&GatewayId::new("a"), {
        let mut listing = lists("a").unwrap();
        listing.tools.remove(2);
        listing
    });
    assert_eq!(
        names(&rig.get("alice", &second).await.json()),
        ["rich", "b__echo"]
    );
    let filtered = rig.get("alice", "/tools?limit=1&q=echo").await.json();
    let cursor = filtered["nextCursor"].as_str().unwrap();
    let last = rig
        .get("alice", &format!("/tools?limit=1&q=echo&cursor={cursor}"))
        .await
        .json();
    assert_eq!(names(&last), ["b__echo"]);
    assert!(last.get("nextCursor").is_none());
}

#[tokio::test]
async fn a_cursor_is_good_for_its_caller_alone() {
    let rig = quiet().await;
    let first = rig.get("alice", "/tools?limit=1").await.json();
    let cursor = first["nextCursor"].as_str().unwrap();
    for (key, cursor) in [("bob", cursor), ("alice", "rubbish"), ("alice", "")] {
        let got = rig.get(key, &format!("/tools?cursor={cursor}")).await;
        assert!(got.problem(400).contains("begin again"), "{key} {cursor}");
    }
}

#[tokio::test]
async fn a_page_of_large_tools_ends_early() {
    let rig = quiet().await;
    let large = |name: &str| {
        let text = format!(
            r#"{{"name":"{name}","inputSchema":{{"type":"object"}},"description":"{}"}}"#,
            "x".repeat(400 * 1024)
        );
        Item::read(Kind::Tool, Raw::parse(&Bytes::from(text)).unwrap()).unwrap()
    };
    let listing = Listing {
        tools: (0..12).map(|n| large(&format!("t{n}"))).collect(),
        ..Listing::default()
    };
    rig.catalog.publish(&GatewayId::new("b"), listing);
    let mut path = "/tools?gateway=b".to_owned();
    let mut sizes = Vec::new();
    loop {
        let got = rig.get("alice", &path).await;
        assert!(got.text.len() < crate::limits::API_PAGE_BYTES_MAX + crate::limits::MIB);
        let page = got.json();
        sizes.push(names(&page).len());
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        path = format!("/tools?gateway=b&cursor={cursor}");
    }
    assert_eq!(sizes, [10, 2], "eleven would be too large for one page");
}

#[tokio::test]
async fn a_query_that_is_not_understood_is_refused() {
    let rig = quiet().await;
    for (query, named) in [
        ("gatway=b", "\"gatway\""),
        ("limit=0", "1 to 11"),
        ("limit=12", "1 to 11"),
        ("q=a&q=b", "twice"),
    ] {
        let got = rig.get("alice", &format!("/tools?{query}")).await;
        assert!(got.problem(400).contains(named), "{query}: {}", got.text);
    }
    let long = format!("/tools?q={}", "x".repeat(crate::limits::SEARCH_BYTES_MAX + 1));
    assert!(rig.get("alice", &long).await.problem(400).contains("256"));
}
