//! Url elicitation in its three forms: a request with an id (2025-11-25), a request without (2026-07-28), and the
//! error -32042 that a legacy upstream gives instead of asking.

use serde_json::{Value, json};

use crate::cells::{Era, UPSTREAMS, Upstream, peer};
use crate::fleet::shared;
use crate::peer::{Peer, block_on, everything};
use crate::talk::{Ended, Said, Turn};

fn accept() -> Said {
    Said::Result(json!({ "action": "accept" }))
}

fn of_era(era: Era) -> impl Iterator<Item = Upstream> {
    UPSTREAMS.into_iter().filter(move |upstream| upstream.era == era)
}

#[test]
fn a_legacy_upstreams_id_reaches_a_legacy_client_with_word_of_its_end() {
    let fleet = shared();
    block_on(async {
        let alice = peer(&fleet, Era::Legacy, "url-end").await;
        for upstream in of_era(Era::Legacy) {
            let arguments = json!({ "label": "end", "kind": "url", "complete": true, "rounds": 2 });
            let mut talk = alice.call(&format!("{}__ask", upstream.gateway), arguments).await;
            let (asked, _) = talk.finish(|_| accept()).await;
            let ids: Vec<&Value> = asked.iter().map(|asked| &asked.params["elicitationId"]).collect();
            assert_eq!(ids, ["end 1.1", "end 2.1"], "{}", upstream.gateway);
            let ended: Vec<&Value> = talk
                .heard
                .iter()
                .filter(|told| told["method"] == "notifications/elicitation/complete")
                .map(|told| &told["params"]["elicitationId"])
                .collect();
            assert_eq!(ended, ids, "{}", upstream.gateway);
        }
    });
}

#[test]
fn a_modern_client_sees_no_id_and_no_word_of_the_end() {
    let fleet = shared();
    block_on(async {
        let alice = peer(&fleet, Era::Modern, "url-plain").await;
        for upstream in UPSTREAMS {
            let arguments = json!({ "label": "end", "kind": "url", "complete": true });
            let mut talk = alice.call(&format!("{}__ask", upstream.gateway), arguments).await;
            let (asked, ended) = talk.finish(|_| accept()).await;
            let params =
                json!({ "mode": "url", "message": "end 1.1", "url": "https://example.com/end%201.1" });
            assert_eq!(asked[0].params, params, "{}", upstream.gateway);
            assert_eq!(
                ended.told()["heard"],
                json!([[{ "result": { "action": "accept" } }]])
            );
            assert_eq!(talk.heard, Vec::<Value>::new(), "{}", upstream.gateway);
        }
    });
}

#[test]
fn a_modern_upstreams_url_gets_an_id_for_a_legacy_client() {
    let fleet = shared();
    block_on(async {
        let alice = peer(&fleet, Era::Legacy, "url-mint").await;
        let mut ids = Vec::new();
        for upstream in of_era(Era::Modern) {
            let arguments = json!({ "label": "mint", "kind": "url", "count": 2 });
            let mut talk = alice.call(&format!("{}__ask", upstream.gateway), arguments).await;
            let (asked, _) = talk.finish(|_| accept()).await;
            for asked in asked {
                assert_eq!(asked.params["mode"], "url");
                let id = asked.params["elicitationId"].as_str().expect("an id").to_owned();
                assert!(id.len() == 32 && !ids.contains(&id), "{id}");
                ids.push(id);
            }
        }
        assert_eq!(ids.len(), 4);
    });
}

#[test]
fn a_client_of_an_older_revision_is_not_sent_to_a_url() {
    let fleet = shared();
    block_on(async {
        // All that 2025-06-18 knows to declare.
        let alice = Peer::legacy(fleet.mcp(), "url-old", "2025-06-18", json!({ "elicitation": {} })).await;
        for upstream in UPSTREAMS {
            let tool = format!("{}__ask", upstream.gateway);
            let ended = alice.ask(&tool, json!({ "label": "old", "kind": "url" })).await;
            let heard = &ended.told()["heard"][0][0];
            match upstream.era {
                Era::Legacy => assert_eq!(heard["error"]["code"], -32601, "{heard}"),
                Era::Modern => assert_eq!(heard["result"]["action"], "cancel", "{heard}"),
            }
            // A form is what it knows.
            let mut talk = alice.call(&tool, json!({ "label": "old", "kind": "form" })).await;
            let (asked, _) = talk.finish(|_| accept()).await;
            assert_eq!(asked.len(), 1);
        }
    });
}

async fn need_url(peer: &Peer, upstream: Upstream, label: &str) -> Ended {
    let tool = format!("{}__need_url", upstream.gateway);
    peer.ask(&tool, json!({ "label": label })).await
}

#[test]
fn a_url_that_is_required_first_is_told_to_legacy_clients_as_their_revision_has_it() {
    let fleet = shared();
    block_on(async {
        let newest = peer(&fleet, Era::Legacy, "url-required").await;
        let older = Peer::legacy(
            fleet.mcp(),
            "url-required",
            "2025-06-18",
            json!({ "elicitation": {} }),
        )
        .await;
        for upstream in of_era(Era::Legacy) {
            let elicitation = json!({ "mode": "url", "elicitationId": "need n", "url": "https://example.com/connect", "message": "Connect first" });
            let data = json!({ "elicitations": [elicitation] });
            let told = need_url(&newest, upstream, "n").await;
            let error =
                json!({ "code": -32042, "message": "This request needs a URL to be visited", "data": data });
            assert_eq!(told.error(), &error, "{}", upstream.gateway);
            let again = need_url(&newest, upstream, "n").await;
            assert_eq!(again.told()["calls"], 2);

            let told = need_url(&older, upstream, "o").await;
            assert_eq!(told.error()["code"], -32603);
            let message = told.error()["message"].as_str().unwrap();
            assert!(
                message.ends_with("visited; first open https://example.com/connect"),
                "{message}"
            );
        }
    });
}

#[test]
fn a_url_that_is_required_first_is_a_question_to_a_modern_client() {
    let fleet = shared();
    block_on(async {
        let alice = peer(&fleet, Era::Modern, "url-required-modern").await;
        for upstream in of_era(Era::Legacy) {
            let tool = format!("{}__need_url", upstream.gateway);
            // Twice, so that the second round is seen, too.
            let mut talk = alice.call(&tool, json!({ "label": "accepts", "times": 2 })).await;
            let (asked, ended) = talk.finish(|_| accept()).await;
            assert_eq!(asked.len(), 2, "{}", upstream.gateway);
            assert_eq!(asked[0].method, "elicitation/create");
            let params =
                json!({ "mode": "url", "url": "https://example.com/connect", "message": "Connect first" });
            assert_eq!(asked[0].params, params);
            assert_eq!(ended.told()["calls"], 3);

            let mut talk = alice.call(&tool, json!({ "label": "declines" })).await;
            let (asked, ended) = talk
                .finish(|_| Said::Result(json!({ "action": "decline" })))
                .await;
            assert_eq!((asked.len(), &ended.error()["code"]), (1, &json!(-32603)));
            let seen = alice
                .ask(
                    &format!("{}__seen", upstream.gateway),
                    json!({ "label": "declines" }),
                )
                .await;
            assert_eq!(seen.told()["calls"], 1, "not tried again");

            // The state is the caller's own, and this call's.
            let mut talk = alice.call(&tool, json!({ "label": "foreign" })).await;
            talk.asked().await;
            let bob = peer(&fleet, Era::Modern, "bob-url").await;
            let Turn::Ended(ended) = talk
                .again(&bob)
                .retry(serde_json::Map::new(), talk.state.clone())
                .await
            else {
                panic!("asked");
            };
            assert_eq!(ended.error()["code"], -32602);

            let mut declared = everything();
            declared["elicitation"] = json!({ "form": {} });
            let formal = Peer::modern(fleet.mcp(), "url-required-modern", declared);
            let ended = need_url(&formal, upstream, "undeclared").await;
            assert_eq!((ended.status, &ended.error()["code"]), (400, &json!(-32021)));
            let needed = json!({ "elicitation": { "url": {} } });
            assert_eq!(ended.error()["data"]["requiredCapabilities"], needed);
        }
    });
}
