"""Composio's own Python SDK against the fake of tests/composio: it must accept every answer.

argv[1]: {"url", "key"}. Prints one JSON object: what each step came to, what broke its own models ("violations"), and
which routes were asked ("routes"). Beyond what the SDK itself insists on, every good answer is held to the model that
Composio generates from its API's description (composio_client._generated), with all required fields."""


import html.parser
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

os.environ["COMPOSIO_DISABLE_TELEMETRY"] = "true"
for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
    os.environ.pop(name, None)

import httpx
from composio import Composio
from composio_client._generated import pydantic_gen as generated
from pydantic import BaseModel, ValidationError

job = json.loads(sys.argv[1])
routes, violations = {}, []

# The parts of a path that name something, by what stands before them.
NAMED = {
    "session": "SessionId", "connected_accounts": "Nanoid", "auth_configs": "Nanoid", "toolkits": "Slug", "tools": "ToolSlug",
    "mcp": "Id", "servers": "ServerId", "instances": "InstanceId", "trigger_instances": "Slug", "manage": "TriggerId",
    "webhook_subscriptions": "Id", "triggers_types": "Slug",
    "app": "AppKey",
}
FIXED = {
    "link", "complete_auth", "servers", "custom", "generate", "multi", "categories", "enum", "execute", "active", "manage",
    "event_types", "app", "changelog",
}


def model_of(method, path):
    """Names the generated model of a route: PATCH /connected_accounts/{id}/status -> PatchV31ConnectedAccounts…Response."""
    words, before = [], None
    for part in path.strip("/").split("/")[2:]:
        named = "Status" if part in ("ENABLED", "DISABLED") else NAMED.get(before) if part not in FIXED else None
        if before == "execute":
            named = "ToolSlug"
        words.append("By" + named if named else "".join(word.capitalize() for word in part.split("_")))
        before = None if named else part
    name = f"{method.capitalize()}V31{''.join(words)}Response"
    spelt = {found.lower(): found for found in dir(generated)}
    return spelt.get(name.lower()), name


def keep(request, response):
    path = urllib.parse.urlsplit(str(request.url)).path
    found, name = model_of(request.method, path)
    routes[name] = routes.get(name, 0) + 1
    if response.status_code >= 400 or not response.content:
        return
    if found is None:
        violations.append(f"{request.method} {path}: there is no model {name}")
        return
    try:
        model = getattr(generated, found)
        # A model, or a union of models.
        if isinstance(model, type) and issubclass(model, BaseModel):
            model.model_validate_json(response.content)
        else:
            from pydantic import TypeAdapter

            TypeAdapter(model).validate_json(response.content)
    except ValidationError as error:
        violations.append(f"{request.method} {path}: {found}: {error.errors(include_url=False, include_input=False)[:4]}")


sent = httpx.Client.send


def send(self, request, **options):
    response = sent(self, request, **options)
    response.read()
    keep(request, response)
    return response


httpx.Client.send = send


class Form(html.parser.HTMLParser):
    """The buttons of the consent page."""

    def __init__(self):
        super().__init__()
        self.method, self.buttons = None, []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "form":
            self.method = attrs.get("method")
        if tag == "button":
            self.buttons.append((attrs.get("name"), attrs.get("value")))


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def consent(url, decision="allow", **fields):
    """Opens a link and presses a button, as a person would; returns where the browser is sent."""
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay())
    form = Form()
    form.feed(browser.open(url).read().decode())
    assert form.method == "post" and ("decision", decision) in form.buttons, form.buttons
    body = urllib.parse.urlencode({**fields, "decision": decision}).encode()
    try:
        return {"status": browser.open(url, data=body).status}
    except urllib.error.HTTPError as answer:
        return {"status": answer.code, "location": answer.headers.get("location")}


def plain(value):
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return json.loads(json.dumps(value, default=lambda other: getattr(other, "__dict__", str(other))))


def failure(call):
    """The class and the text of what a call raises."""
    try:
        call()
    except Exception as error:
        return {"class": type(error).__name__, "text": str(error), "status": getattr(error, "status_code", None)}
    return None


done = {}
composio = Composio(api_key=job["key"], base_url=job["url"], allow_tracking=False)
user = "py_user"

session = composio.create(user_id=user, toolkits=["github", "gmail", "hackernews"], mcp=True)
done["created"] = {"id": session.session_id, "mcp": plain(session.mcp)}
again = composio.use(session.session_id, mcp=True)
done["used"] = {"id": again.session_id, "same_url": again.mcp.url == session.mcp.url}
done["before"] = [plain(toolkit) for toolkit in session.toolkits().items]

request = session.authorize("github", callback_url="https://app.example/cb?state=abc")
done["link"] = {"id": request.id, "status": request.status, "url": request.redirect_url}
done["redirect"] = consent(request.redirect_url)
account = request.wait_for_connection(timeout=20)
done["account"] = plain(account)
done["after"] = [plain(toolkit) for toolkit in session.toolkits(toolkits=["github"]).items]

executed = session.execute("GITHUB_GET_THE_AUTHENTICATED_USER", arguments={})
done["executed"] = plain(executed)
done["failed"] = plain(session.execute("GITHUB_GET_REPO", arguments={}))
done["searched"] = plain(session.search(query="get the authenticated user on github"))
done["meta"] = plain(session.execute_meta("COMPOSIO_MANAGE_CONNECTIONS", arguments={"toolkits": ["gmail", "github"]}))
done["proxied"] = plain(session.proxy_execute(toolkit="github", endpoint="/user", method="GET"))
done["unconnected"] = failure(lambda: session.execute("GMAIL_GET_PROFILE", arguments={}))
tools = session.tools()
done["tools"] = sorted(tool["function"]["name"] for tool in tools)

session.update(toolkits={"enable": ["github", "slack"]})
done["updated"] = sorted(toolkit.slug for toolkit in session.toolkits().items)
done["history"] = [entry.version for entry in session.list_config_history().items]
done["bare_list"] = failure(lambda: session.update(toolkits=["github"]))

done["direct"] = sorted(
    tool["function"]["name"]
    for tool in composio.create(user_id=user, toolkits=["hackernews"], session_preset="direct_tools").tools()
)
done["tool_execute"] = plain(
    composio.tools.execute("GITHUB_GET_THE_AUTHENTICATED_USER", user_id=user, arguments={}, version="20260101_00")
)
done["tool_list"] = sorted(tool.slug for tool in composio.tools.get_raw_composio_tools(toolkits=["github"], limit=50))
done["toolkits"] = sorted(toolkit.slug for toolkit in composio.toolkits.list().items)
done["toolkit"] = plain(composio.toolkits.get(slug="github"))["slug"]

accounts = composio.connected_accounts
done["listed"] = [plain(one) for one in accounts.list(user_ids=[user], statuses=["ACTIVE"]).items]
config = done["listed"][0]["auth_config"]["id"]
done["second"] = failure(lambda: accounts.link(user, config))
retired = failure(lambda: accounts.initiate(user, config, allow_multiple=True))
done["retired"] = retired
link = accounts.link(user, config, callback_url="https://app.example/cb", allow_multiple=True)
done["denied"] = consent(link.redirect_url, "deny")
done["denied_wait"] = failure(lambda: link.wait_for_connection(timeout=10))
accounts.disable(account.id)
done["disabled"] = accounts.get(account.id).status
accounts.enable(account.id)
done["enabled"] = accounts.get(account.id).status
accounts.update(account.id, alias="work")
done["alias"] = plain(accounts.get(account.id))["alias"]
done["revoked"] = plain(accounts.revoke(account.id))
done["deleted"] = plain(accounts.delete(account.id))
done["gone_account"] = failure(lambda: accounts.get(account.id))

configs = composio.auth_configs
made = configs.create("notion", options={"type": "use_composio_managed_auth", "name": "N"})
custom = configs.create(
    "serpapi", options={"type": "use_custom_auth", "auth_scheme": "API_KEY", "credentials": {}, "name": "S"}
)
done["configs"] = sorted(plain(one)["toolkit"]["slug"] for one in configs.list().items)
done["config"] = plain(configs.get(made.id))
keyed = accounts.initiate(user, custom.id, config={"auth_scheme": "API_KEY", "val": {"generic_api_key": "k"}})
done["keyed"] = {"status": keyed.status, "waited": plain(keyed.wait_for_connection(timeout=10))["status"]}
configs.disable(made.id)
done["config_disabled"] = plain(configs.get(made.id))["status"]
configs.delete(made.id)

server = composio.mcp.create("py-server", toolkits=[{"toolkit": "serpapi", "auth_config_id": custom.id}], allowed_tools=["SERPAPI_SEARCH"])
done["server"] = {"id": server.id, "name": server.name, "tools": server.allowed_tools}
done["instance"] = plain(composio.mcp.generate(user, server.id))
done["servers"] = [one["name"] if isinstance(one, dict) else one.name for one in composio.mcp.list()["items"]]
composio.mcp.update(server.id, allowed_tools=["SERPAPI_SEARCH"])
done["server_deleted"] = plain(composio.mcp.delete(server.id))

done["triggers"] = [plain(one)["slug"] for one in composio.triggers.list().items]

# What the gateway needs of the API beyond what the SDK's own classes ask.
raw = httpx.Client(base_url=f"{job['url']}/api/v3.1", headers={"x-api-key": job["key"]}, trust_env=False)


def ask(method, path, **body):
    answer = raw.request(method, path, json=body if method in ("POST", "PATCH") else None)
    return {"status": answer.status_code, "body": answer.json() if answer.content else None}


hackers = ask("POST", "/tool_router/session", user_id=user, toolkits={"enable": ["gmail", "hackernews"]})["body"]
at = f"/tool_router/session/{hackers['session_id']}"
gmail = ask("POST", f"{at}/link", toolkit="gmail")["body"]
consent(gmail["redirect_url"])
trigger = ask("POST", "/trigger_instances/GMAIL_NEW_GMAIL_MESSAGE/upsert", user_id=user)["body"]["trigger_id"]
hook_id = ask("POST", "/webhook_subscriptions", webhook_url="https://app.example/hook", enabled_events=["composio.trigger.message"])["body"]["id"]
server_id = ask("POST", "/mcp/servers", name="whole server", auth_config_ids=[custom.id])["body"]["id"]
done["raw"] = {
    name: ask(method, path, **body)
    for name, method, path, body in [
        ("attach", "POST", f"{at}/attach", {}),
        ("no_auth", "POST", f"{at}/link", {"toolkit": "hackernews"}),
        ("restricted", "POST", f"{at}/link", {"toolkit": "slack"}),
        ("unknown_key", "POST", "/tool_router/session", {"user_id": user, "toolkit": []}),
        ("enabled", "POST", "/tool_router/session", {"user_id": user, "toolkits": {"enabled": ["gmail"]}}),
        ("foreign_pin", "POST", "/tool_router/session", {"user_id": "other", "connected_accounts": {"gmail": [gmail["connected_account_id"]]}}),
        ("unmanaged", "POST", "/tool_router/session", {"user_id": user, "auth_configs": {"twitter": "ac_none"}}),
        ("multi", "POST", "/toolkits/multi", {"toolkits": ["gmail"]}),
        ("categories", "GET", "/toolkits/categories", {}),
        ("enum", "GET", "/tools/enum", {}),
        ("tool", "GET", "/tools/GMAIL_SEND_EMAIL", {}),
        ("trigger_list", "GET", "/trigger_instances/active", {}),
        ("trigger_off", "PATCH", f"/trigger_instances/manage/{trigger}", {"status": "disable"}),
        ("trigger_gone", "DELETE", f"/trigger_instances/manage/{trigger}", {}),
        ("trigger_type", "GET", "/triggers_types/GMAIL_NEW_GMAIL_MESSAGE", {}),
        ("hooks", "GET", "/webhook_subscriptions", {}),
        ("hook", "GET", f"/webhook_subscriptions/{hook_id}", {}),
        ("hook_changed", "PATCH", f"/webhook_subscriptions/{hook_id}", {"enabled_events": ["composio.connected_account.expired"]}),
        ("hook_rotated", "POST", f"/webhook_subscriptions/{hook_id}/rotate_secret", {}),
        ("hook_events", "GET", "/webhook_subscriptions/event_types", {}),
        ("hook_gone", "DELETE", f"/webhook_subscriptions/{hook_id}", {}),
        ("server_app", "GET", "/mcp/app/serpapi", {}),
        ("instance", "POST", f"/mcp/servers/{server_id}/instances", {"user_id": user}),
        ("instance_again", "POST", f"/mcp/servers/{server_id}/instances", {"user_id": user}),
        ("instances", "GET", f"/mcp/servers/{server_id}/instances", {}),
        ("instance_gone", "DELETE", f"/mcp/servers/{server_id}/instances/{user}", {}),
        ("refreshed", "POST", f"/connected_accounts/{gmail['connected_account_id']}/refresh", {}),
        ("pending", "GET", f"/connected_accounts/{gmail['connected_account_id']}", {}),
        ("not_revocable", "POST", f"/connected_accounts/{gmail['connected_account_id']}/revoke", {}),
    ]
}

session.delete()
done["gone"] = failure(lambda: composio.use(session.session_id))
wrong = Composio(api_key="ak_wrong", base_url=job["url"], allow_tracking=False)
done["refused"] = failure(lambda: wrong.create(user_id=user))

if "webhook" in job:
    hook = job["webhook"]
    verify = lambda **changed: composio.triggers.verify_webhook(**{**hook, **changed})
    done["webhook"] = {"version": str(plain(verify()["version"])), "raw": plain(verify()["raw_payload"])}
    done["webhook_tampered"] = failure(lambda: verify(payload=hook["payload"].replace("hooked", "another")))
    done["webhook_old"] = failure(lambda: verify(timestamp=str(int(hook["timestamp"]) - 600)))

print(json.dumps({"done": done, "violations": violations, "routes": routes}))
