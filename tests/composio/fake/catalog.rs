//! The toolkits and tools that the fake has: OAuth that Composio manages, OAuth that needs an app of one's own, an API
//! key, and none at all. Slugs are Composio's; schemas are shortened.

use serde_json::{Map, Value, json};

pub(super) struct Toolkit {
    pub(super) slug: &'static str,
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// How accounts are authorised.
    pub(super) scheme: &'static str,
    /// Whether Composio has an app of its own for that.
    pub(super) managed: bool,
    pub(super) tools: &'static [Tool],
}

impl Toolkit {
    pub(super) fn no_auth(&self) -> bool {
        self.scheme == "NO_AUTH"
    }

    pub(super) fn oauth(&self) -> bool {
        matches!(self.scheme, "OAUTH1" | "OAUTH2" | "DCR_OAUTH")
    }
}

pub(super) struct Tool {
    pub(super) slug: &'static str,
    pub(super) about: &'static str,
    pub(super) tags: &'static [&'static str],
    /// Name, JSON type, whether it is required.
    pub(super) arguments: &'static [(&'static str, &'static str, bool)],
}

const READS: &[&str] = &["readOnlyHint", "idempotentHint", "openWorldHint"];
const CREATES: &[&str] = &["createHint", "openWorldHint"];
const UPDATES: &[&str] = &["updateHint", "openWorldHint"];
const DESTROYS: &[&str] = &["destructiveHint", "openWorldHint"];

const fn action(
    slug: &'static str,
    about: &'static str,
    tags: &'static [&'static str],
    arguments: &'static [(&'static str, &'static str, bool)],
) -> Tool {
    Tool {
        slug,
        about,
        tags,
        arguments,
    }
}

const fn kit(
    slug: &'static str,
    name: &'static str,
    (scheme, managed): (&'static str, bool),
    about: &'static str,
    tools: &'static [Tool],
) -> Toolkit {
    Toolkit {
        slug,
        name,
        about,
        scheme,
        managed,
        tools,
    }
}

const REPO: &[(&str, &str, bool)] = &[("owner", "string", true), ("repo", "string", true)];

/// Every toolkit.
pub(super) const TOOLKITS: &[Toolkit] = &[
    kit(
        "gmail",
        "Gmail",
        ("OAUTH2", true),
        "Google's mail.",
        &[
            action(
                "GMAIL_FETCH_EMAILS",
                "Lists mails.",
                READS,
                &[("query", "string", false), ("max_results", "integer", false)],
            ),
            action(
                "GMAIL_SEND_EMAIL",
                "Sends a mail.",
                CREATES,
                &[
                    ("recipient_email", "string", true),
                    ("subject", "string", false),
                    ("body", "string", true),
                ],
            ),
            action(
                "GMAIL_CREATE_EMAIL_DRAFT",
                "Makes a draft.",
                CREATES,
                &[("recipient_email", "string", true), ("body", "string", true)],
            ),
            action(
                "GMAIL_DELETE_MESSAGE",
                "Deletes a mail for good.",
                DESTROYS,
                &[("message_id", "string", true)],
            ),
            action("GMAIL_GET_PROFILE", "Says whose mailbox it is.", READS, &[]),
        ],
    ),
    kit(
        "github",
        "GitHub",
        ("OAUTH2", true),
        "Repositories, issues, reviews.",
        &[
            action(
                "GITHUB_GET_THE_AUTHENTICATED_USER",
                "Says who is logged in.",
                READS,
                &[],
            ),
            action("GITHUB_GET_REPO", "Describes a repository.", READS, REPO),
            action("GITHUB_GET_A_REPOSITORY", "Describes a repository.", READS, REPO),
            action(
                "GITHUB_CREATE_AN_ISSUE",
                "Opens an issue.",
                CREATES,
                &[
                    ("owner", "string", true),
                    ("repo", "string", true),
                    ("title", "string", true),
                    ("body", "string", false),
                ],
            ),
            action(
                "GITHUB_STAR_A_REPOSITORY_FOR_THE_AUTHENTICATED_USER",
                "Stars a repository.",
                UPDATES,
                REPO,
            ),
            action(
                "GITHUB_DELETE_A_REPOSITORY",
                "Deletes a repository.",
                DESTROYS,
                REPO,
            ),
        ],
    ),
    kit(
        "slack",
        "Slack",
        ("OAUTH2", true),
        "Messages of a team.",
        &[
            action(
                "SLACK_LIST_ALL_CHANNELS",
                "Lists channels.",
                READS,
                &[("limit", "integer", false)],
            ),
            action(
                "SLACK_SEND_MESSAGE",
                "Sends a message.",
                CREATES,
                &[("channel", "string", true), ("text", "string", true)],
            ),
            action(
                "SLACK_DELETES_A_MESSAGE_FROM_A_CHAT",
                "Deletes a message.",
                DESTROYS,
                &[("channel", "string", true), ("ts", "string", true)],
            ),
        ],
    ),
    kit(
        "notion",
        "Notion",
        ("OAUTH2", true),
        "Pages and databases.",
        &[
            action(
                "NOTION_SEARCH_NOTION_PAGE",
                "Searches pages.",
                READS,
                &[("query", "string", false)],
            ),
            action(
                "NOTION_CREATE_NOTION_PAGE",
                "Makes a page.",
                CREATES,
                &[("parent_id", "string", true), ("title", "string", true)],
            ),
        ],
    ),
    kit(
        "googlecalendar",
        "Google Calendar",
        ("OAUTH2", true),
        "Google's calendar.",
        &[
            action(
                "GOOGLECALENDAR_EVENTS_LIST",
                "Lists events.",
                READS,
                &[("calendarId", "string", false)],
            ),
            action(
                "GOOGLECALENDAR_CREATE_EVENT",
                "Makes an event.",
                CREATES,
                &[("start_datetime", "string", true), ("summary", "string", false)],
            ),
        ],
    ),
    kit(
        "linear",
        "Linear",
        ("OAUTH2", true),
        "Issues of a team.",
        &[
            action("LINEAR_LIST_LINEAR_ISSUES", "Lists issues.", READS, &[]),
            action(
                "LINEAR_CREATE_LINEAR_ISSUE",
                "Opens an issue.",
                CREATES,
                &[("title", "string", true), ("team_id", "string", true)],
            ),
        ],
    ),
    kit(
        "twitter",
        "Twitter",
        ("OAUTH2", false),
        "Composio has no app of its own for it.",
        &[
            action(
                "TWITTER_CREATION_OF_A_POST",
                "Posts.",
                CREATES,
                &[("text", "string", true)],
            ),
            action("TWITTER_USER_LOOKUP_ME", "Says who is logged in.", READS, &[]),
        ],
    ),
    kit(
        "serpapi",
        "SerpApi",
        ("API_KEY", false),
        "Search results, for an API key.",
        &[action(
            "SERPAPI_SEARCH",
            "Searches the web.",
            READS,
            &[("query", "string", true)],
        )],
    ),
    // That a tool's slug begins otherwise than its toolkit's occurs in no sample; that it cannot is not documented. [I]
    kit(
        "odd_names",
        "Odd names",
        ("NO_AUTH", false),
        "Tools that are called otherwise.",
        &[action("ODDLY_CALLED", "Says something.", READS, &[])],
    ),
    kit(
        "hackernews",
        "Hacker News",
        ("NO_AUTH", false),
        "Read by anybody.",
        &[
            action("HACKERNEWS_GET_FRONTPAGE", "Lists the front page.", READS, &[]),
            action(
                "HACKERNEWS_GET_USER",
                "Describes a user.",
                READS,
                &[("username", "string", true)],
            ),
        ],
    ),
];

pub(super) const VERSION: &str = "20260101_00";

pub(super) fn toolkit(slug: &str) -> Option<&'static Toolkit> {
    TOOLKITS.iter().find(|toolkit| toolkit.slug == slug)
}

pub(super) fn every_tool() -> impl Iterator<Item = (&'static Toolkit, &'static Tool)> {
    TOOLKITS
        .iter()
        .flat_map(|toolkit| toolkit.tools.iter().map(move |tool| (toolkit, tool)))
}

pub(super) fn tool(slug: &str) -> Option<(&'static Toolkit, &'static Tool)> {
    every_tool().find(|(_, tool)| tool.slug == slug)
}

pub(super) fn logo(slug: &str) -> String {
    format!("https://logos.composio.dev/api/{slug}")
}

/// The JSON Schema of a tool's arguments. What is optional may be null.
pub(super) fn input_schema(tool: &Tool) -> Value {
    let field = |(name, kind, required): &(&str, &str, bool)| {
        let kind = if *required {
            json!(kind)
        } else {
            json!([kind, "null"])
        };
        let about = format!("The {}.", name.replace('_', " "));
        (
            (*name).to_owned(),
            json!({ "type": kind, "title": name, "description": about }),
        )
    };
    let required = tool.arguments.iter().filter(|(_, _, required)| *required);
    json!({
        "type": "object", "title": format!("{}Request", tool.slug),
        "properties": tool.arguments.iter().map(field).collect::<Map<_, _>>(),
        "required": required.map(|(name, _, _)| name).collect::<Vec<_>>(),
    })
}

pub(super) fn output_schema() -> Value {
    json!({
        "type": "object", "title": "Response", "required": ["data", "successful"],
        "properties": {
            "data": { "type": "object" }, "error": { "type": "string", "nullable": true, "default": null },
            "successful": { "type": "boolean" },
        },
    })
}

/// A name for people: `GMAIL_SEND_EMAIL` is "Send email".
pub(super) fn title(slug: &str) -> String {
    let words = slug.split_once('_').map_or(slug, |(_, rest)| rest);
    let words = words.replace('_', " ").to_lowercase();
    let first = words.chars().next().unwrap_or_default().to_uppercase();
    first.chain(words.chars().skip(1)).collect()
}
