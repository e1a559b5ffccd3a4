//! What the meta tools do. Their answers have the documented shapes; nothing of them is promised by Composio.

use serde_json::{Map, Value, json};

use super::accounts::{Account, Status};
use super::answers::{Reply, Said};
use super::catalog::{self, Tool, Toolkit};
use super::executions::{NoAccount, Ran, candidates, in_session};
use super::session_rules;
use super::session_tools::link_for;
use super::sessions::Session;
use super::world::{World, id, iso};

/// What came of a call.
pub(super) enum Called {
    Ran(Ran),
    /// Nothing yet; the caller asks again.
    Wait,
    /// The arguments break the schema.
    Invalid(String),
}

/// Carries out a meta tool.
pub(super) fn call(
    world: &mut World,
    session: &Session,
    slug: &str,
    arguments: &Value,
    began_ms: u64,
) -> Called {
    let list = |key: &str, most: usize| match arguments.get(key).and_then(Value::as_array) {
        Some(list) if (1..=most).contains(&list.len()) => Ok(list.clone()),
        Some(_) => Err(format!("Error in {key}: must hold 1 to {most} items")),
        None => Err(format!("Error in {key}: Required")),
    };
    let text = |key: &str| match arguments.get(key).and_then(Value::as_str) {
        Some(text) => Ok(text),
        None => Err(format!("Error in {key}: Required")),
    };
    let ran = match slug {
        "COMPOSIO_SEARCH_TOOLS" => list("queries", 7).map(|queries| search(world, session, &queries)),
        "COMPOSIO_GET_TOOL_SCHEMAS" => list("tool_slugs", 1000).map(|slugs| schemas(session, &slugs)),
        "COMPOSIO_MULTI_EXECUTE_TOOL" => list("tools", 50).map(|tools| multi_execute(world, session, &tools)),
        "COMPOSIO_MANAGE_CONNECTIONS" => list("toolkits", 100).map(|toolkits| {
            let again = arguments["reinitiate_all"] == true;
            manage(world, session, &toolkits, again)
        }),
        "COMPOSIO_WAIT_FOR_CONNECTIONS" => match list("toolkits", 100) {
            Ok(toolkits) => {
                let all = arguments["mode"] == "all";
                match wait(world, session, &toolkits, all, began_ms) {
                    Some(ran) => Ok(ran),
                    None => return Called::Wait,
                }
            }
            Err(fault) => Err(fault),
        },
        "COMPOSIO_REMOTE_WORKBENCH" => text("code_to_execute").map(workbench),
        _ => text("command").map(bash),
    };
    ran.map_or_else(Called::Invalid, Called::Ran)
}

fn reachable(session: &Session) -> impl Iterator<Item = (&'static Toolkit, &'static Tool)> {
    catalog::every_tool().filter(|(toolkit, tool)| session_rules::allows(&session.blocks, toolkit, tool))
}

/// What a search knows of a toolkit's connection.
fn connection(world: &World, session: &Session, toolkit: &Toolkit) -> Value {
    let accounts = candidates(world, session, toolkit.slug);
    let first = accounts.first();
    let active = first.is_some() || toolkit.no_auth();
    let message = if active {
        format!("Connection is active for {}", toolkit.slug)
    } else {
        format!(
            "No active connection for {}. Use COMPOSIO_MANAGE_CONNECTIONS",
            toolkit.slug
        )
    };
    let mut status = json!({
        "toolkit": toolkit.slug, "description": toolkit.about, "has_active_connection": active,
        "status_message": message,
    });
    if let Some(account) = first {
        status["connection_details"] =
            json!({ "connected_account_id": account.id, "user_id": account.user_id });
        status["current_user_info"] = json!({ "login": account.user_id });
    }
    if session.multi_account() {
        status["accounts"] = listed(&accounts);
        if accounts.len() > 1 && session.flag("multi_account", "require_explicit_selection", false) {
            status["account_selection"] = json!("required");
        }
    }
    status
}

/// Accounts as multi-account mode lists them.
fn listed(accounts: &[&Account]) -> Value {
    let one = |(index, account): (usize, &&Account)| {
        json!({ "id": account.id, "word_id": account.word_id, "alias": account.alias,
            "status": account.status.name(), "created_at": iso(account.begun_ms), "is_default": index == 0 })
    };
    accounts.iter().enumerate().map(one).collect()
}

/// Searches by words: the data of `COMPOSIO_SEARCH_TOOLS`, and of `POST …/search`.
pub(super) fn search(world: &World, session: &Session, queries: &[Value]) -> Ran {
    let (mut results, mut schemas, mut statuses) = (Vec::new(), Map::new(), Map::new());
    for (index, query) in queries.iter().enumerate() {
        let use_case = query["use_case"].as_str().unwrap_or_default();
        let words: Vec<String> = use_case
            .to_lowercase()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let score = |(toolkit, tool): &(&Toolkit, &Tool)| {
            let text = format!(
                "{} {} {}",
                toolkit.slug,
                tool.slug.to_lowercase(),
                tool.about.to_lowercase()
            );
            words
                .iter()
                .filter(|word| word.len() > 2 && text.contains(word.as_str()))
                .count()
        };
        let mut found: Vec<_> = reachable(session).map(|found| (score(&found), found)).collect();
        found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        found.truncate(3);
        let slugs: Vec<&str> = found.iter().map(|(_, (_, tool))| tool.slug).collect();
        let mut toolkits: Vec<&str> = found.iter().map(|(_, (toolkit, _))| toolkit.slug).collect();
        toolkits.dedup();
        for (_, (toolkit, tool)) in &found {
            schemas.insert(tool.slug.to_owned(), schema_of(toolkit, tool));
            statuses.insert(toolkit.slug.to_owned(), connection(world, session, toolkit));
        }
        results.push(json!({
            "index": index + 1, "use_case": use_case, "primary_tool_slugs": slugs.iter().take(1).collect::<Vec<_>>(),
            "related_tool_slugs": slugs.iter().skip(1).collect::<Vec<_>>(), "toolkits": toolkits,
            "difficulty": "easy", "execution_guidance": "Execute the primary tool.", "plan_id": id("plan_"),
            "recommended_plan_steps": ["Execute the primary tool."], "known_pitfalls": [],
        }));
    }
    let now = world.now_ms();
    Ran::good(json!({
        "results": results, "tool_schemas": schemas,
        "toolkit_connection_statuses": statuses.into_iter().map(|(_, status)| status).collect::<Vec<_>>(),
        "time_info": { "current_time_utc": iso(now), "current_time_utc_epoch_seconds": now / 1000,
            "message": "The time in UTC." },
        "session": { "id": "coal", "generate_id": false, "instructions": "Pass this session id on." },
        "next_steps_guidance": ["Connect what is not connected, then execute."],
    }))
}

fn schema_of(toolkit: &Toolkit, tool: &Tool) -> Value {
    json!({ "toolkit": toolkit.slug, "tool_slug": tool.slug, "description": tool.about,
        "input_schema": catalog::input_schema(tool), "hasFullSchema": true })
}

fn schemas(session: &Session, slugs: &[Value]) -> Ran {
    let (mut found, mut missing) = (Map::new(), Vec::new());
    for slug in slugs.iter().filter_map(Value::as_str) {
        match reachable(session).find(|(_, tool)| tool.slug == slug) {
            Some((toolkit, tool)) => drop(found.insert(slug.to_owned(), schema_of(toolkit, tool))),
            None => missing.push(slug),
        }
    }
    let mut data = json!({ "success": missing.is_empty(), "tool_schemas": found });
    if !missing.is_empty() {
        let near = |slug: &&str| {
            let prefix = slug.split('_').next().unwrap_or_default().to_owned();
            let near = reachable(session).filter(move |(_, tool)| tool.slug.starts_with(&prefix));
            let near: Vec<&str> = near.map(|(_, tool)| tool.slug).take(3).collect();
            ((*slug).to_owned(), json!(near))
        };
        data["suggestions"] = missing.iter().map(near).collect::<Map<_, _>>().into();
        data["not_found_message"] = json!(format!("{} tools were not found", missing.len()));
        data["not_found"] = json!(missing);
    }
    Ran::good(data)
}

fn multi_execute(world: &mut World, session: &Session, tools: &[Value]) -> Ran {
    let mut results = Vec::new();
    let mut failed = 0;
    for (index, tool) in tools.iter().enumerate() {
        let slug = tool["tool_slug"].as_str().unwrap_or_default();
        let arguments = tool.get("arguments").cloned().unwrap_or_else(|| json!({}));
        let mut result = json!({ "tool_slug": slug, "index": index });
        let account = tool["account"].as_str();
        let ran = in_session(world, session, slug, &arguments, account, "multi_execute");
        let ran = ran.unwrap_or_else(|(NoAccount::None(why) | NoAccount::Several(why))| Ran::failed(why));
        failed += usize::from(ran.error.is_some());
        match ran.error {
            Some(error) if ran.data == json!({}) => result["error"] = json!(error),
            error => {
                result["response"] = json!({ "successful": error.is_none(), "data": ran.data, "error": error,
                    "log_id": id("log_") });
            }
        }
        results.push(result);
    }
    let data = json!({ "results": results, "total_count": tools.len(),
        "success_count": tools.len() - failed, "error_count": failed });
    // Whether the whole counts as failed when a part has failed is not known. [I]
    let whole = match world.switches.multi_execute_fails.as_str() {
        "any" => failed > 0,
        "never" => false,
        _ => failed == tools.len(),
    };
    let error = whole.then(|| format!("{failed} out of {} tools failed", tools.len()));
    Ran { data, error }
}

fn manage(world: &mut World, session: &Session, toolkits: &[Value], again: bool) -> Ran {
    let mut results = Map::new();
    let (mut active, mut initiated, mut failed) = (0, 0, 0);
    for slug in toolkits.iter().filter_map(Value::as_str) {
        let result = manage_one(world, session, slug, again);
        match result["status"].as_str() {
            Some("active") => active += 1,
            Some("initiated") => initiated += 1,
            _ => failed += 1,
        }
        results.insert(slug.to_owned(), result);
    }
    let summary = json!({ "total_toolkits": results.len(), "active_connections": active,
        "initiated_connections": initiated, "failed_connections": failed });
    let message = format!("{active} active, {initiated} initiated, {failed} failed");
    Ran::good(json!({ "message": message, "results": results, "summary": summary }))
}

fn manage_one(world: &mut World, session: &Session, slug: &str, again: bool) -> Value {
    let refused = |message: &str| json!({ "toolkit": slug, "status": "failed", "error_message": message });
    if !session_rules::allows_toolkit(&session.blocks, slug) {
        return refused(&format!("[Session Restriction] Toolkit '{slug}' is not allowed"));
    }
    let Some(toolkit) = catalog::toolkit(slug) else {
        return refused(&format!("Toolkit '{slug}' does not exist"));
    };
    if toolkit.no_auth() {
        return json!({ "toolkit": slug, "status": "active", "has_active_connection": true,
            "instruction": "This toolkit needs no connection." });
    }
    let accounts = candidates(world, session, slug);
    let had = !accounts.is_empty();
    if let (Some(account), false) = (accounts.first(), again) {
        let mut result = json!({
            "toolkit": slug, "status": "active", "has_active_connection": true,
            "connected_account_id": account.id, "auth_config_id": account.auth_config_id,
            "current_user_info": { "login": account.user_id }, "created_at": iso(account.begun_ms),
        });
        if session.multi_account() {
            result["accounts"] = listed(&accounts);
        }
        return result;
    }
    match link_for(world, session, slug, None, None) {
        Ok(link) => json!({
            "toolkit": slug, "status": "initiated", "has_active_connection": false,
            "connected_account_id": link.account, "redirect_url": link.url, "was_reinitiated": had,
            "instruction": format!("Ask the user to open {} and to allow the connection.", link.url),
        }),
        Err(Reply {
            body: Said::Json(body),
            ..
        }) => refused(body["error"]["message"].as_str().unwrap_or("No link can be made")),
        Err(_) => refused("No link can be made"),
    }
}

/// Waits until any or all of the toolkits are connected, or have failed, or the time is up.
fn wait(world: &World, session: &Session, toolkits: &[Value], all: bool, began_ms: u64) -> Option<Ran> {
    let mut results = Map::new();
    let mut settled = 0;
    for slug in toolkits.iter().filter_map(Value::as_str) {
        let of = |account: &&Account| account.user_id == session.user_id && account.toolkit == slug;
        let newest = world
            .accounts
            .values()
            .filter(of)
            .max_by_key(|account| account.made);
        let usable = candidates(world, session, slug)
            .first()
            .map(|account| account.id.clone());
        let (status, id) = match (usable, newest) {
            (Some(id), _) => ("ACTIVE", Some(id)),
            (None, None) => ("NOT_FOUND", None),
            (None, Some(account)) => match account.status {
                Status::Initializing | Status::Initiated => ("INITIATED", Some(account.id.clone())),
                _ => ("FAILED", Some(account.id.clone())),
            },
        };
        settled += usize::from(status != "INITIATED");
        results.insert(
            slug.to_owned(),
            json!({ "toolkit": slug, "status": status, "connected_account_id": id }),
        );
    }
    let done = if all {
        settled == results.len()
    } else {
        settled > 0
    };
    let late = world.now_ms() >= began_ms + world.switches.wait_ms;
    let message = if done {
        "Done waiting."
    } else {
        "The time is up; ask again."
    };
    (done || late).then(|| Ran::good(json!({ "message": message, "results": results })))
}

/// The sandbox of the fake understands `print("…")`, a line each.
fn workbench(code: &str) -> Ran {
    let printed = code.lines().filter_map(|line| {
        let inside = line.trim().strip_prefix("print(")?.strip_suffix(')')?;
        Some(inside.trim_matches(['"', '\'']))
    });
    let stdout: Vec<&str> = printed.collect();
    Ran::good(
        json!({ "results": null, "stdout": stdout.join("\n"), "stderr": "", "error": null,
        "sandbox_id_suffix": "fake" }),
    )
}

/// It understands `echo …` as well.
fn bash(command: &str) -> Ran {
    let (stdout, stderr) = match command.strip_prefix("echo ") {
        Some(words) => (format!("{words}\n"), String::new()),
        None => (
            String::new(),
            format!("the fake's sandbox does not know: {command}\n"),
        ),
    };
    Ran::good(
        json!({ "stdout": stdout, "stdoutLines": stdout.lines().count(), "stderr": stderr,
        "stderrLines": stderr.lines().count() }),
    )
}
