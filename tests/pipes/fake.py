"""A stdio server that does what it is told, and what a bad one does. fake.py MODE [ARG…]; ends by itself after a while."""

import json
import os
import signal
import sys
import time

signal.alarm(120)
mode, args = sys.argv[1], sys.argv[2:]
state = {"cancelled": [], "asked": {}, "level": None, "initialized": None, "seen": [], "next": 1000, "listen": None}
META = "io.modelcontextprotocol/"


def send(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def answer(id, result):
    if mode == "modern":
        result = {"resultType": "complete", **result}
    send({"jsonrpc": "2.0", "id": id, "result": result})


def told(id, value):
    answer(id, {"content": [{"type": "text", "text": json.dumps(value)}]})


def notify(method, params):
    send({"jsonrpc": "2.0", "method": method, "params": params})


def refuse(id, code, text, data=None):
    error = {"code": code, "message": text}
    send({"jsonrpc": "2.0", "id": id, "error": error if data is None else {**error, "data": data}})


def ask(call, method, params):
    state["next"] += 1
    state["asked"][state["next"]] = call
    send({"jsonrpc": "2.0", "id": state["next"], "method": method, "params": params})


TOOLS = [
    "pid", "argv", "env", "cwd", "echo", "crash", "die", "progress", "ask", "sleep", "log", "garbage", "giant", "flood",
    "state", "twice", "nojson", "changed", "touch", "closeout", "helper",
]


def call(id, params):
    name, given = params["name"], params.get("arguments") or {}
    token = (params.get("_meta") or {}).get("progressToken")
    if name == "pid":
        told(id, os.getpid())
    elif name == "argv":
        told(id, sys.argv[1:])
    elif name == "env":
        told(id, dict(os.environ))
    elif name == "cwd":
        told(id, os.getcwd())
    elif name == "echo":
        told(id, {"params": params, "id": id})
    elif name == "crash":
        print("crashed\x1b[31m on purpose", file=sys.stderr, flush=True)
        os._exit(3)
    elif name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "progress":
        for step in range(3):
            notify("notifications/progress", {"progressToken": token, "progress": step, "total": 3})
        notify("notifications/progress", {"progressToken": "somebody else's", "progress": 9})
        told(id, token)
    elif name == "ask":
        if mode == "modern":
            if "inputResponses" in params:
                told(id, {"responses": params["inputResponses"], "state": params.get("requestState")})
            else:
                request = {"method": "elicitation/create", "params": {"mode": "form", "message": "name?"}}
                answer(id, {"resultType": "input_required", "inputRequests": {"q": request}, "requestState": "s1"})
        else:
            ask(id, given.get("method", "elicitation/create"), {"message": "name?"})
    elif name == "sleep":
        pass
    elif name == "log":
        for level in ("debug", "info", "error"):
            notify("notifications/message", {"level": level, "data": "for " + str(given.get("who"))})
        told(id, "logged")
    elif name == "garbage":
        for text in ("Listening on port 3000", "", "{", "[]", "null", '{"jsonrpc":"2.0"}', "\x1b[2Jhi"):
            print(text, flush=True)
        told(id, "after the garbage")
    elif name == "giant":
        block = "x" * (1 << 20)
        for _ in range(20):
            sys.stdout.write(block)
        sys.stdout.write("\n")
        told(id, "too late")
    elif name == "flood":
        for number in range(100_000):
            sys.stderr.write(f"line {number}\n")
        sys.stderr.flush()
        told(id, "flooded")
    elif name == "state":
        told(id, {**state, "asked": None})
    elif name == "twice":
        send({"jsonrpc": "2.0", "id": 999_999, "result": {"content": []}})
        send({"jsonrpc": "2.0", "id": "x", "result": {"content": []}})
        send({"jsonrpc": "2.0", "result": {"content": []}, "id": None})
        told(id, "first")
        told(id, "second")
    elif name == "nojson":
        send({"jsonrpc": "2.0", "id": id, "result": "a string is no result"})
    elif name == "changed":
        notify("notifications/tools/list_changed", {})
        told(id, "announced")
    elif name == "touch":
        notify("notifications/resources/updated", {"uri": given["uri"], "_meta": {META + "subscriptionId": state["listen"]}})
        told(id, "touched")
    elif name == "closeout":
        os.close(1)
        time.sleep(100)
    else:
        refuse(id, -32602, "Unknown tool: " + name)


def handle(message):
    method, id, params = message.get("method"), message.get("id"), message.get("params") or {}
    if method is None:
        told(state["asked"].pop(id), {key: message[key] for key in ("result", "error") if key in message})
        return
    state["seen"].append(method)
    if method == "notifications/cancelled":
        state["cancelled"].append(params["requestId"])
    elif method == "server/discover":
        if mode == "modern":
            answer(id, {
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {"listChanged": True}, "resources": {"subscribe": True}, "logging": {}},
                "instructions": "modern",
                "ttlMs": 0, "cacheScope": "private",
            })
        elif mode == "silent":
            pass
        elif mode == "exits":
            print("unknown method", file=sys.stderr)
            os._exit(2)
        else:
            refuse(id, -32601, "Method not found")
    elif method == "initialize":
        if mode == "modern":
            refuse(id, -32022, "Unsupported version", {"supported": ["2026-07-28"], "requested": "2025-11-25"})
        elif mode == "silent" and "server/discover" in state["seen"]:
            pass  # Wedged by the probe.
        else:
            state["initialized"] = params
            answer(id, {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {"listChanged": True}, "resources": {"subscribe": True}, "logging": {}},
                "serverInfo": {"name": "fake", "version": "1"},
            })
    elif method == "notifications/initialized":
        send({"jsonrpc": "2.0", "id": "early", "method": "roots/list"})
        state["asked"]["early"] = None
    elif method == "subscriptions/listen":
        state["listen"] = id
        state["filter"] = params["notifications"]
        notify("notifications/subscriptions/acknowledged", {"_meta": {META + "subscriptionId": id}})
    elif method == "ping":
        answer(id, {})
    elif method == "logging/setLevel":
        state["level"] = params["level"]
        answer(id, {})
    elif method in ("resources/subscribe", "resources/unsubscribe"):
        state[method] = params["uri"]
        answer(id, {})
    elif method == "tools/list":
        schema = {"type": "object"}
        answer(id, {"tools": [{"name": name, "inputSchema": schema} for name in TOOLS], "ttlMs": 0, "cacheScope": "private"})
    elif method == "tools/call":
        call(id, params)
    elif id is not None and method != "initialize":
        refuse(id, -32601, "Method not found")


if mode == "broken":
    print("no key was given", file=sys.stderr)
    sys.exit(1)
for line in sys.stdin:
    message = json.loads(line)
    if message.get("id") == "early":
        state["seen"].append({"early": message.get("error", {}).get("code")})
        continue
    handle(message)
