"""The PyPI package mcp 2.x as a client, in any era. See driver.mjs for the contract."""

import json
import sys
import time
import warnings

import anyio
import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

warnings.simplefilter("ignore")
MODES = {"legacy": "legacy", "auto": "auto", "modern": "2026-07-28"}
CHANGED = {
    types.ToolListChangedNotification: "tools",
    types.PromptListChangedNotification: "prompts",
    types.ResourceListChangedNotification: "resources",
}


def plain(value):
    return value.model_dump(by_alias=True, mode="json", exclude_none=True) if hasattr(value, "model_dump") else value


def plain_error(e):
    while isinstance(e, BaseExceptionGroup) and e.exceptions:
        e = e.exceptions[0]
    return {
        "code": getattr(e, "code", None),
        "message": str(e) or repr(e),
        "data": getattr(e, "data", None),
        "kind": type(e).__name__,
    }


class Driver:
    def __init__(self, job):
        self.job = job
        self.subscriptions = None
        self.report = {
            "client": "pymcp", "questions": [], "logs": [], "updates": [], "changed": [], "steps": [],
        }

    async def pages(self, method, key):
        found, cursor = [], None
        while True:
            page = await method(cursor=cursor)
            found += [plain(one) for one in getattr(page, key)]
            cursor = page.next_cursor
            if cursor is None:
                return found

    def question(self, method, params):
        self.report["questions"].append({"method": method, "params": plain(params) if params else None})

    async def on_elicitation(self, _context, params):
        self.question("elicitation/create", params)
        return types.ElicitResult(**self.job["answers"]["elicitation"])

    async def on_sampling(self, _context, params):
        self.question("sampling/createMessage", params)
        text = types.TextContent(type="text", text=self.job["answers"]["sampling"])
        return types.CreateMessageResult(role="assistant", model="test", content=text)

    async def on_roots(self, _context):
        self.question("roots/list", None)
        return types.ListRootsResult(roots=[types.Root(**root) for root in self.job["answers"]["roots"]])

    async def on_log(self, params):
        self.report["logs"].append(plain(params))

    async def on_message(self, message):
        if isinstance(message, types.ResourceUpdatedNotification):
            self.report["updates"].append(plain(message.params))
        elif type(message) in CHANGED:
            self.report["changed"].append(CHANGED[type(message)])

    async def call(self, step, client, entry):
        options = {"meta": step.get("meta")}
        if step.get("progress"):
            heard = entry["progress"] = []

            async def on_progress(progress, total, message):
                heard.append({k: v for k, v in (("progress", progress), ("total", total), ("message", message)) if v is not None})

            options["progress_callback"] = on_progress
        if "cancel_after_ms" not in step:
            return plain(await client.call_tool(step["name"], step.get("arguments"), **options))
        result = None
        with anyio.move_on_after(step["cancel_after_ms"] / 1000) as scope:
            result = await client.call_tool(step["name"], step.get("arguments"), **options)
        if scope.cancelled_caught:
            entry["cancelled"] = True
            raise RuntimeError("the test cancels")
        return plain(result)

    async def listen(self, client, wanted):
        """Opens a listen stream for the rest of the run; its events arrive at on_message as well."""
        opened = await self.subscriptions.start(self.hold, client, wanted)
        return plain(opened)

    async def hold(self, client, wanted, *, task_status=anyio.TASK_STATUS_IGNORED):
        flags = {
            "tools_list_changed": wanted.get("toolsListChanged", False),
            "prompts_list_changed": wanted.get("promptsListChanged", False),
            "resources_list_changed": wanted.get("resourcesListChanged", False),
            "resource_subscriptions": wanted.get("resourceSubscriptions", ()),
        }
        async with client.listen(**flags) as subscription:
            task_status.started(subscription.honored)
            async for _event in subscription:
                pass

    async def play(self, step, client, entry):
        op = step["op"]
        if op == "tools":
            return await self.pages(client.list_tools, "tools")
        if op == "resources":
            return await self.pages(client.list_resources, "resources")
        if op == "templates":
            return await self.pages(client.list_resource_templates, "resource_templates")
        if op == "prompts":
            return await self.pages(client.list_prompts, "prompts")
        if op == "call":
            return await self.call(step, client, entry)
        if op == "read":
            return plain(await client.read_resource(step["uri"]))
        if op == "prompt":
            return plain(await client.get_prompt(step["name"], step.get("arguments")))
        if op == "complete":
            kind = types.PromptReference if step["ref"]["type"] == "ref/prompt" else types.ResourceTemplateReference
            return plain(await client.complete(kind(**step["ref"]), step["argument"]))
        if op == "log_level":
            return plain(await client.set_logging_level(step["level"]))
        if op == "ping":
            return plain(await client.send_ping())
        if op == "subscribe":
            return plain(await client.subscribe_resource(step["uri"]))
        if op == "listen":
            return await self.listen(client, step["filter"])
        if op == "sleep":
            return await anyio.sleep(step["ms"] / 1000)
        if op == "wait":
            end = time.monotonic() + step.get("ms", 10_000) / 1000
            while len(self.report[step["for"]]) < step["count"]:
                if time.monotonic() > end:
                    raise RuntimeError(f"only {len(self.report[step['for']])} of {step['count']} {step['for']} came")
                await anyio.sleep(0.02)
            return len(self.report[step["for"]])
        raise RuntimeError(f"no such step: {op}")

    async def steps(self, client):
        self.report["version"] = client.protocol_version
        self.report["server"] = plain(client.server_info)
        self.report["capabilities"] = plain(client.server_capabilities)
        self.report["instructions"] = client.instructions
        async with anyio.create_task_group() as self.subscriptions:
            for step in self.job["steps"]:
                began = time.monotonic()
                entry = {"op": step["op"], "ok": True}
                try:
                    with anyio.fail_after(step.get("timeout_ms", 45_000) / 1000):
                        entry["value"] = await self.play(step, client, entry)
                except Exception as e:  # every failure is a finding for the report
                    entry["ok"], entry["error"] = False, plain_error(e)
                entry["ms"] = round((time.monotonic() - began) * 1000)
                self.report["steps"].append(entry)
            self.subscriptions.cancel_scope.cancel()

    async def run(self):
        job, answers = self.job, self.job.get("answers") or {}
        headers = dict(job.get("headers") or {})
        if job.get("key"):
            headers["Authorization"] = f"Bearer {job['key']}"
        timeout = httpx2.Timeout(30, read=300)
        try:
            with anyio.fail_after(job.get("timeout_ms", 90_000) / 1000):
                async with httpx2.AsyncClient(headers=headers, timeout=timeout) as http:
                    async with Client(
                        streamable_http_client(job["url"], http_client=http),
                        mode=MODES[job["era"]],
                        client_info=types.Implementation(name="toolgate-test-pymcp", version="2"),
                        elicitation_callback=self.on_elicitation if "elicitation" in answers else None,
                        sampling_callback=self.on_sampling if "sampling" in answers else None,
                        list_roots_callback=self.on_roots if "roots" in answers else None,
                        logging_callback=self.on_log,
                        message_handler=self.on_message,
                        cache=None,
                    ) as client:
                        await self.steps(client)
        except TimeoutError:
            self.report["hung"] = True
        except Exception as e:
            self.report["connect_error" if not self.report["steps"] else "close_error"] = plain_error(e)


if __name__ == "__main__":
    driver = Driver(json.load(sys.stdin))
    anyio.run(driver.run)
    print(json.dumps(driver.report))
    sys.exit(3 if driver.report.get("hung") else 0)
