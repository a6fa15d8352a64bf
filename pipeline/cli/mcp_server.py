"""A server of the Model Context Protocol over standard input and output: what an assistant may do is in `assistant_tools`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from pipeline.cli.assistant_tools import AssistantTools
from pipeline.core.errors import BouillonError, reason
from pipeline.core.extras import install_command
from pipeline.store.database import DatabaseError

__all__ = ["MissingPackageError", "serve_assistant"]

_INSTRUCTIONS = """\
Bouillon compresses machine-learning models by recipe and measures what came out. Look at list_recipes and list_operations,
write a recipe, check it with check_recipe, see what it costs with plan_recipe, and run it with run_recipe; the same call goes
on where one was stopped. list_models, compare_models, explain_findings and query read what came out. Differences within
chance are said to be none: do not call such a model better.
"""
_READING = (
    "list_recipes",
    "list_operations",
    "check_recipe",
    "plan_recipe",
    "list_models",
    "query",
    "compare_models",
    "explain_findings",
)


class MissingPackageError(BouillonError, RuntimeError):
    """The package of the protocol is not installed."""


def serve_assistant(tools: AssistantTools) -> None:
    """Answer requests until standard input ends.

    Raises:
        MissingPackageError: without the extra `mcp`.
    """
    try:
        from mcp.server import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
        from mcp.types import ToolAnnotations
    except ImportError:
        raise MissingPackageError(f"The server needs the package mcp. Try: {install_command('mcp')}") from None

    server = MCPServer("bouillon", instructions=_INSTRUCTIONS, log_level="WARNING")
    for name in (*_READING, "run_recipe"):
        method = getattr(tools, name)
        server.add_tool(
            _explained(method, ToolError),
            name=name,
            description=inspect.getdoc(method),
            annotations=ToolAnnotations(read_only_hint=name in _READING, open_world_hint=False),
            structured_output=False,
        )
    server.run()


def _explained(method: Callable[..., Any], failure: type[Exception]) -> Callable[..., Any]:
    """A mistake is told as the command line tells it; the server goes on."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except BouillonError as error:
            raise failure(str(error)) from None
        except DatabaseError as error:
            raise failure(f"the query cannot be answered: {reason(error)}") from None

    return call
