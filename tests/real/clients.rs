//! Every real client in every era that it speaks, each through one gateway to upstreams of both eras: the same script,
//! the same answers.

use serde_json::{Value, json};

use crate::drivers::{Client, Era, Report, Script};
use crate::gateway::{self, ALICE, Toolgate};
use crate::http_servers::{Server, dual, progress_is};
use crate::kit;

/// The Python SDK's server twice, spoken to in one era each, and a legacy server over stdio.
struct House {
    _dual: Server,
    toolgate: Toolgate,
}

fn house() -> House {
    let dual = dual();
    let url = dual.url("/mcp");
    let config = format!("{}\n[tools]\nprefix = \"always\"\n", gateway::two_users())
        + &gateway::http("old", &url, "era = \"legacy\"")
        + &gateway::http("new", &url, "era = \"modern\"")
        + &gateway::stdio("time", &[&kit::python("mcp-server-time")], "");
    House {
        toolgate: Toolgate::start(&config),
        _dual: dual,
    }
}

/// Every step is asked of both upstreams, under the names `old …` and `new …`.
fn script(client: Client) -> Script {
    let mut script = Script::new()
        .step("tools", json!({ "op": "tools" }))
        .step("tools again", json!({ "op": "tools" }));
    if client.speaks() == Era::Legacy {
        script = script
            .step("ping", json!({ "op": "ping" }))
            .step("log level", json!({ "op": "log_level", "level": "info" }));
    }
    for (up, labels) in [("old", OLD), ("new", NEW)] {
        let tool = |name: &str| format!("{up}__dual_{name}");
        let call = |name: &str, arguments: Value, more: Value| {
            let mut step = json!({ "op": "call", "name": tool(name), "arguments": arguments });
            step.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            step
        };
        let id = format!("{client:?} {up}");
        let level = json!({ "meta": { "io.modelcontextprotocol/logLevel": "info" } });
        let level = if client.speaks() == Era::Legacy {
            json!({})
        } else {
            level
        };
        let greet = format!("{up}__dual_greet");
        script = script
            .step(labels[0], call("echo", json!({ "text": "canary é \u{1f426} 12345678901234567890" }), json!({})))
            .step(labels[1], call("fail", json!({ "text": "as asked" }), json!({})))
            .step(labels[2], call("count", json!({ "steps": 5, "delay_ms": 20 }), json!({ "progress": true })))
            .step(labels[3], call("slow", json!({ "call": id, "ms": 30_000 }), json!({ "cancel_after_ms": 400 })))
            .step(labels[4], json!({ "op": "sleep", "ms": 500 }))
            .step(labels[5], call("fate", json!({ "call": id }), json!({})))
            .step(labels[6], call("say", json!({ "level": "warning", "text": format!("heard of {up}") }), level))
            .step(labels[7], json!({ "op": "prompt", "name": greet, "arguments": { "who": "Bo" } }))
            .step(labels[8], json!({ "op": "complete", "ref": { "type": "ref/prompt", "name": greet }, "argument": { "name": "who", "value": "al" } }))
            .step(labels[9], call("version", json!({}), json!({})));
    }
    script
        .step("resources", json!({ "op": "resources" }))
        .step("templates", json!({ "op": "templates" }))
        .step("read", json!({ "op": "read", "uri": "dual://text/fixed" }))
        .step("read unknown", json!({ "op": "read", "uri": "nowhere://at/all" }))
        .step("prompts", json!({ "op": "prompts" }))
        .call(
            "convert",
            "time__convert_time",
            json!({ "source_timezone": "UTC", "time": "16:30", "target_timezone": "Asia/Kolkata" }),
        )
        .call("unknown tool", "time__no_such_tool", json!({}))
        .step(
            "heard",
            json!({ "op": "wait", "for": "logs", "count": 2, "ms": 5000 }),
        )
}

const OLD: [&str; 10] = [
    "old echo",
    "old fail",
    "old count",
    "old slow",
    "old pause",
    "old fate",
    "old say",
    "old prompt",
    "old complete",
    "old version",
];
const NEW: [&str; 10] = [
    "new echo",
    "new fail",
    "new count",
    "new slow",
    "new pause",
    "new fate",
    "new say",
    "new prompt",
    "new complete",
    "new version",
];

fn judge(client: Client, seen: &Report) {
    let tools = seen.names("tools");
    assert_eq!(tools.len(), 12 + 12 + 2, "{tools:?}");
    assert_eq!(
        seen.names("tools again"),
        tools,
        "the order of the list must not change"
    );
    let version = seen.fact("version").as_str().unwrap();
    assert_eq!(
        version,
        if client.speaks() == Era::Legacy {
            "2025-11-25"
        } else {
            "2026-07-28"
        }
    );
    for (labels, spoken) in [(OLD, "2025-11-25"), (NEW, "2026-07-28")] {
        assert_eq!(seen.text(labels[0]), "canary é \u{1f426} 12345678901234567890");
        assert_eq!(
            seen.tool_error(labels[1]),
            "Error executing tool dual_fail: as asked"
        );
        assert_eq!(seen.text(labels[2]), "counted to 5");
        progress_is(seen.entry(labels[2]), &[1, 2, 3, 4, 5]);
        assert_eq!(seen.entry(labels[2])["progress"][4]["message"], "step 5");
        assert_eq!(
            seen.entry(labels[3])["cancelled"],
            true,
            "{:#}",
            seen.entry(labels[3])
        );
        assert_eq!(
            seen.text(labels[5]),
            "cancelled",
            "the cancellation must reach the upstream ({})",
            labels[5]
        );
        assert_eq!(seen.text(labels[6]), "said");
        assert_eq!(
            seen.value(labels[7])["messages"][0]["content"]["text"],
            "Greet Bo."
        );
        assert_eq!(
            seen.value(labels[8])["completion"]["values"],
            json!(["alba", "albert"])
        );
        assert_eq!(
            seen.text(labels[9]),
            spoken,
            "the era that is configured is the era that is spoken"
        );
    }
    let logs: Vec<&Value> = seen
        .fact("logs")
        .as_array()
        .unwrap()
        .iter()
        .map(|l| &l["data"])
        .collect();
    assert_eq!(logs, ["heard of old", "heard of new"], "{:#}", seen.fact("logs"));
    assert_eq!(seen.value("read")["contents"][0]["text"], "The fixed text.");
    let unknown = seen.error("read unknown");
    assert!(
        unknown["message"]
            .as_str()
            .unwrap()
            .to_lowercase()
            .contains("not found"),
        "{unknown:#}"
    );
    assert_eq!(
        seen.value("convert")["structuredContent"]["time_difference"],
        "+5.5h"
    );
    let unknown = seen.error("unknown tool");
    assert_eq!(unknown["code"], -32602, "{unknown:#}");
    assert!(
        unknown["message"]
            .as_str()
            .unwrap()
            .contains("time__no_such_tool"),
        "{unknown:#}"
    );
}

fn sees_the_whole_house(client: Client) {
    let house = house();
    let seen = client.play(&house.toolgate.mcp(), Some(ALICE), script(client));
    judge(client, &seen);
}

/// One test for each client, so that a failure names its client and the others still run.
macro_rules! clients {
    ($($name:ident: $client:expr,)*) => {
        $(#[test]
        fn $name() {
            sees_the_whole_house($client);
        })*

        #[test]
        fn every_client_in_every_era_has_a_test_here() {
            assert_eq!([$($client),*], Client::ALL);
        }
    };
}

clients! {
    sdk_1_sees_the_whole_house: Client::Sdk1,
    client_2_as_legacy_sees_the_whole_house: Client::Client2(Era::Legacy),
    client_2_as_modern_sees_the_whole_house: Client::Client2(Era::Modern),
    client_2_probing_sees_the_whole_house: Client::Client2(Era::Auto),
    python_as_legacy_sees_the_whole_house: Client::PyMcp(Era::Legacy),
    python_as_modern_sees_the_whole_house: Client::PyMcp(Era::Modern),
    python_probing_sees_the_whole_house: Client::PyMcp(Era::Auto),
    rmcp_as_legacy_sees_the_whole_house: Client::Rmcp(Era::Legacy),
    rmcp_as_modern_sees_the_whole_house: Client::Rmcp(Era::Modern),
    rmcp_probing_sees_the_whole_house: Client::Rmcp(Era::Auto),
}
