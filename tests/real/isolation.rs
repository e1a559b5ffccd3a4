//! Two users with fifty sessions each, all at once, on real upstreams: nobody ever sees what belongs to the other.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::gateway::{self, ALICE, BOB, Toolgate};
use crate::http_servers::{dual, everything};
use crate::kit;
use crate::wire::{Answer, JsonBody, Session, block_on, client, modern_call};

const SESSIONS_PER_USER: usize = 50;
const ROUNDS: usize = 3;

struct User {
    name: &'static str,
    key: &'static str,
    other: &'static str,
}

const USERS: [User; 2] = [
    User {
        name: "alice",
        key: ALICE,
        other: "bob",
    },
    User {
        name: "bob",
        key: BOB,
        other: "alice",
    },
];

/// Nothing of the other user may stand anywhere in what came back.
fn own(user: &User, answer: &Answer) {
    assert!(
        !answer.raw.contains(&format!("{}-canary", user.other)),
        "{} sees {}'s: {}",
        user.name,
        user.other,
        answer.raw
    );
}

/// One session's share of the load. Returns the session, to be attacked afterwards.
async fn live(http: reqwest::Client, url: String, user: &User, number: usize) -> Session {
    let session = Session::open(http.clone(), &url, user.key).await;
    let mine = format!("{}-canary", user.name);
    for round in 0..ROUNDS {
        let canary = format!("{mine}-{number}-{round}");
        let id = (round * 10) as u64;

        let answer = session.call(id, "echo", json!({ "message": canary }), None).await;
        own(user, &answer);
        assert_eq!(
            answer.text(),
            Ok(format!("Echo: {canary}").as_str()),
            "{number}/{round}"
        );

        let answer = session
            .call(id + 1, "dual_keep", json!({ "text": canary }), None)
            .await;
        assert_eq!(answer.text(), Ok("kept"), "{number}/{round}");

        let token = format!("token-{canary}");
        let arguments = json!({ "steps": 3, "delay_ms": 5 });
        let answer = session.call(id + 2, "dual_count", arguments, Some(&token)).await;
        own(user, &answer);
        assert_eq!(answer.text(), Ok("counted to 3"), "{number}/{round}");
        let tokens: Vec<_> = answer
            .messages
            .iter()
            .filter_map(|m| m["params"]["progressToken"].as_str())
            .collect();
        assert_eq!(tokens, [token.as_str(); 3], "{number}/{round}: {}", answer.raw);
        assert_eq!(
            answer.messages.last().unwrap()["id"],
            json!(id + 2),
            "{number}/{round}"
        );

        // Upstream sessions belong to a user: what is recalled is what one of this user's own sessions kept.
        let answer = session.call(id + 3, "dual_recall", json!({}), None).await;
        own(user, &answer);
        let recalled = answer.text().unwrap_or_else(|e| panic!("{number}/{round}: {e}"));
        assert!(recalled.starts_with(&mine), "{number}/{round}: {recalled}");

        let answer = modern_call(&http, &url, user.key, "echo", json!({ "message": canary })).await;
        own(user, &answer);
        assert_eq!(
            answer.text(),
            Ok(format!("Echo: {canary}").as_str()),
            "{number}/{round}"
        );
    }
    session
}

/// The other user's key on this session: as if the session did not exist.
async fn swapped(session: &Session, thief: &str) {
    let list = json!({ "jsonrpc": "2.0", "id": 99, "method": "tools/list" });
    let post = session
        .request_as(thief, Method::POST)
        .json_body(&list)
        .send()
        .await
        .unwrap();
    assert_eq!(post.status(), 404, "POST with somebody else's session");
    let get = session.request_as(thief, Method::GET).send().await.unwrap();
    assert_eq!(get.status(), 404, "GET with somebody else's session");
    let delete = session.request_as(thief, Method::DELETE).send().await.unwrap();
    assert_eq!(delete.status(), 404, "DELETE with somebody else's session");
    let nobody = session
        .request_as("no-such-key", Method::POST)
        .json_body(&list)
        .send()
        .await
        .unwrap();
    assert_eq!(nobody.status(), 401, "POST with no key at all");
    let answer = session
        .call(100, "echo", json!({ "message": "still here" }), None)
        .await;
    assert_eq!(
        answer.text(),
        Ok("Echo: still here"),
        "the owner's session must survive all of it"
    );
}

#[test]
fn two_users_with_fifty_sessions_each_see_only_their_own() {
    let (python, node) = (dual(), everything("streamableHttp", kit::free_port()));
    let config = gateway::two_users()
        + &gateway::http("dual", &python.url("/mcp"), "era = \"legacy\"")
        + &gateway::http("everything", &node.url("/mcp"), "");
    let toolgate = Toolgate::start(&config);
    block_on(async {
        let http = client();
        let all = USERS
            .iter()
            .flat_map(|user| (0..SESSIONS_PER_USER).map(move |number| (user, number)));
        let sessions =
            join_all(all.map(|(user, number)| live(http.clone(), toolgate.mcp(), user, number))).await;
        assert_eq!(sessions.len(), 2 * SESSIONS_PER_USER);
        let (alice, bob) = sessions.split_at(SESSIONS_PER_USER);
        join_all(alice.iter().step_by(5).map(|session| swapped(session, BOB))).await;
        join_all(bob.iter().step_by(5).map(|session| swapped(session, ALICE))).await;
        for session in sessions {
            let gone = session.request(Method::DELETE).send().await.unwrap();
            assert!(
                gone.status().is_success(),
                "DELETE of one's own session: {}",
                gone.status()
            );
        }
    });
}
