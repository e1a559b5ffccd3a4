"""A server on the PyPI package mcp 2.x: the one ready-made server that speaks both eras, over HTTP and over stdio.

    dual.py stdio | dual.py PORT

Its tools make visible what passes unseen elsewhere: whether a cancellation arrived, whose session a call came in on,
and which era and version the call was spoken in.
"""

import contextlib
import sys
import warnings
from typing import Annotated

import anyio
from mcp.server.lowlevel import NotificationOptions
from mcp.server.mcpserver import Context, Elicit, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Resolve
from mcp_types import Completion
from pydantic import BaseModel

warnings.simplefilter("ignore")
sessions = set()  # legacy sessions that have asked for the tools: those hear of new ones


class Dual(MCPServer):
    """Says in both eras that its list of tools may change; the SDK on its own says so in the modern one only."""

    def __init__(self):
        super().__init__("dual", instructions="Dual-era test server.")
        options = self._lowlevel_server.create_initialization_options
        changing = NotificationOptions(tools_changed=True)
        self._lowlevel_server.create_initialization_options = lambda: options(changing)

    async def _handle_list_tools(self, ctx, params):
        sessions.add(ctx.session)
        return await super()._handle_list_tools(ctx, params)


server = Dual()
kept = {}  # session id of the transport -> what that session asked to keep
fates = {}  # call id -> "running" | "cancelled" | "done"


def session_of(ctx):
    return (ctx.headers or {}).get("mcp-session-id", "none")


@server.tool()
async def dual_echo(text: str) -> str:
    """Returns the text."""
    return text


@server.tool()
async def dual_fail(text: str) -> str:
    """Fails with the text."""
    raise ToolError(text)


@server.tool()
async def dual_version(ctx: Context) -> str:
    """Returns the protocol version of this very request."""
    return str(ctx.protocol_version)


@server.tool()
async def dual_headers(ctx: Context) -> dict[str, str]:
    """Returns the HTTP headers that came with this call."""
    return dict(ctx.headers or {})


@server.tool()
async def dual_keep(text: str, ctx: Context) -> str:
    """Keeps the text with the session that this call came in on."""
    kept[session_of(ctx)] = text
    return "kept"


@server.tool()
async def dual_recall(ctx: Context) -> str:
    """Returns what this session kept."""
    return kept.get(session_of(ctx), "nothing")


@server.tool()
async def dual_count(steps: int, delay_ms: int, ctx: Context) -> str:
    """Reports progress for each step."""
    for step in range(1, steps + 1):
        await anyio.sleep(delay_ms / 1000)
        await ctx.report_progress(step, steps, f"step {step}")
    return f"counted to {steps}"


@server.tool()
async def dual_slow(call: str, ms: int) -> str:
    """Takes its time; dual_fate tells how it ended."""
    fates[call] = "running"
    try:
        await anyio.sleep(ms / 1000)
    except anyio.get_cancelled_exc_class():
        fates[call] = "cancelled"
        raise
    fates[call] = "done"
    return "slept"


@server.tool()
async def dual_fate(call: str) -> str:
    """Returns what became of a dual_slow."""
    return fates.get(call, "unknown")


@server.tool()
async def dual_say(level: str, text: str, ctx: Context) -> str:
    """Sends one log message."""
    await ctx.log(level, text, logger_name="dual")
    return "said"


@server.tool()
async def dual_grow(name: str, ctx: Context) -> str:
    """Adds a tool of that name and announces it in both eras."""

    async def grown() -> str:
        return name

    server.add_tool(grown, name=name, description="Was not there from the start.")
    await ctx.notify_tools_changed()
    for session in list(sessions):
        with contextlib.suppress(Exception):  # one that is gone, or that has no way to be told
            await session.send_tool_list_changed()
    return "grown"


class Answer(BaseModel):
    name: str


async def ask_name(ctx: Context) -> Elicit[Answer]:
    return Elicit("Who are you?", Answer)


@server.tool()
async def dual_ask(answer: Annotated[Answer, Resolve(ask_name)]) -> str:
    """Asks the user for a name, as the era has it."""
    return f"Hello, {answer.name}!"


@server.resource("dual://text/fixed")
def fixed() -> str:
    return "The fixed text."


@server.resource("dual://item/{item}")
def item(item: str) -> str:
    return f"Item {item}."


@server.prompt()
def dual_greet(who: str) -> str:
    """Greets somebody."""
    return f"Greet {who}."


@server.completion()
async def complete(_ref, argument, _context):
    values = [name for name in ("alba", "albert", "bertha") if name.startswith(argument.value)]
    return Completion(values=values, total=len(values), has_more=False)


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
