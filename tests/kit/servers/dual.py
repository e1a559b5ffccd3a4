"""A server on the PyPI package mcp 2.x: the one ready-made server that speaks both eras, over HTTP and over stdio.

    dual.py stdio | dual.py PORT

Its tools make visible what passes unseen elsewhere: whether a cancellation arrived, whose session a call came in on,
and which era and version the call was spoken in.
"""

import sys
import warnings
from typing import Annotated

import anyio
from mcp.server.mcpserver import Context, Elicit, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Resolve
from mcp_types import Completion
from pydantic import BaseModel

warnings.simplefilter("ignore")
server = MCPServer("dual", instructions="Dual-era test server.")
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
