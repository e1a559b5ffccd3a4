#!/usr/bin/env python3
"""What run.sh asks of the composed endpoint, as a client of 2025-11-25 with nothing but the standard library.

  check.py URL refused                 no key and a wrong key get 401
  check.py URL host STATUS NAME        a request with this Host header gets this status
  check.py URL list NAME...            the list has these tools
  check.py URL only NAME...            and no other
  check.py URL call NAME JSON TEXT     the tool's result is no error and has TEXT in it

The key comes from TOOLGATE_KEY. Exit code 0, or 1 with what was wrong."""

import json
import os
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 60
PAGES_MAX = 20


class Wrong(Exception):
    pass


class Client:
    def __init__(self, url, key):
        self.url, self.key, self.host, self.session, self.next_id = url, key, None, None, 0

    def post(self, message):
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        if self.host:
            headers["Host"] = self.host
        if self.session:
            headers["Mcp-Session-Id"] = self.session
            headers["MCP-Protocol-Version"] = "2025-11-25"
        request = urllib.request.Request(self.url, json.dumps(message).encode(), headers, method="POST")
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)

    def request(self, method, params):
        self.next_id += 1
        with self.post({"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params}) as response:
            self.session = response.headers.get("Mcp-Session-Id") or self.session
            answer = self.answer(response)
        if "error" in answer:
            raise Wrong(f"{method}: {answer['error']}")
        return answer["result"]

    def answer(self, response):
        if response.headers.get_content_type() != "text/event-stream":
            return json.load(response)
        data = []
        for line in response:
            line = line.decode().rstrip("\r\n")
            if line.startswith("data:"):
                data.append(line[5:].strip())
            elif not line and data:
                message, data = "\n".join(data), []
                message = json.loads(message) if message else {}
                if message.get("id") == self.next_id and ("result" in message or "error" in message):
                    return message
        raise Wrong("the stream ended without an answer")

    def start(self):
        info = {"name": "compose-test", "version": "1"}
        self.request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info})
        self.post({"jsonrpc": "2.0", "method": "notifications/initialized"}).close()
        return self

    def tools(self):
        names, cursor = [], None
        for _ in range(PAGES_MAX):
            page = self.request("tools/list", {"cursor": cursor} if cursor else {})
            names += [tool["name"] for tool in page["tools"]]
            cursor = page.get("nextCursor")
            if not cursor:
                return names
        raise Wrong(f"more than {PAGES_MAX} pages of tools")


def refused(url):
    for key in (None, "not-the-key"):
        try:
            Client(url, key).start()
        except urllib.error.HTTPError as error:
            if error.code == 401:
                continue
            raise Wrong(f"{error.code} instead of 401") from error
        raise Wrong("admitted " + ("without a key" if key is None else "with a wrong key"))


def answers_host(client, status, host):
    client.host, got = host, "200"
    try:
        client.start()
    except urllib.error.HTTPError as error:
        got = str(error.code)
    if got != status:
        raise Wrong(f"Host {host} gets {got}, not {status}")


def listed(client, wanted, and_no_other):
    names = client.tools()
    missing = [name for name in wanted if name not in names]
    if missing or and_no_other and len(names) > len(wanted):
        raise Wrong(f"not listed: {missing}; listed: {names}")
    print(f"{len(names)} tools")


def called(client, name, arguments, text):
    result = client.request("tools/call", {"name": name, "arguments": json.loads(arguments)})
    texts = [item.get("text", "") for item in result["content"]]
    if result.get("isError") or not any(text in item for item in texts):
        raise Wrong(f"{name} gave {json.dumps(result)[:600]}")


def main(url, what, *rest):
    if what == "refused":
        return refused(url)
    client = Client(url, os.environ["TOOLGATE_KEY"])
    if what == "host":
        return answers_host(client, *rest)
    client.start()
    return called(client, *rest) if what == "call" else listed(client, rest, what == "only")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (Wrong, OSError) as error:
        sys.exit(f"check.py {sys.argv[2]}: {error}")
