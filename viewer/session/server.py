"""The server's manners: it serves this machine alone unless configured otherwise, and holds no message back."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import wraps
from itertools import pairwise
from typing import Any

from bokeh.server.views.ws import WSHandler
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream
from tornado.web import Application, ErrorHandler

__all__ = ["check_hosts", "is_local", "send_at_once", "serve_this_machine", "serves_network"]

_OWN_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_ORIGIN_OPTION = "--allow-websocket-origin"
_FORBIDDEN = 403


def serve_this_machine(command: Sequence[str] = tuple(sys.orig_argv)) -> None:
    """Hang up on other machines, before a byte of theirs is read, unless the command names an `--address`.

    `panel serve` listens on all networks by default, and a page carries the results in itself.
    """
    if _addresses(command):
        return
    handle = HTTPServer.handle_stream

    @wraps(handle)
    def take_local(self: HTTPServer, stream: IOStream, address: Any) -> None:
        if is_local(address):
            handle(self, stream, address)
        else:
            stream.close()

    setattr(HTTPServer, "handle_stream", take_local)  # noqa: B010 - a type checker forbids to assign it


def serves_network(command: Sequence[str] = tuple(sys.orig_argv)) -> bool:
    """Whether a command lets other machines in: it names an `--address` that is not this machine's own."""
    return any(host_name(address) not in _OWN_NAMES for address in _addresses(command))


def is_local(address: Any) -> bool:
    """Whether a connection comes from this machine; `address` is as the socket gives it, a path for local sockets."""
    if not isinstance(address, tuple):
        return True
    host = ipaddress.ip_address(str(address[0]).split("%", maxsplit=1)[0])
    mapped = getattr(host, "ipv4_mapped", None)
    return bool((mapped or host).is_loopback)


def check_hosts(command: Sequence[str] = tuple(sys.orig_argv)) -> None:
    """Answer requests to this machine's own names alone, and to those that the command names as websocket origins.

    Any web page may give a name of its own the address of this machine; its scripts would then be served the results as
    if they were that page's own.
    """
    allowed = _OWN_NAMES | {host_name(origin) for origin in _origins(command)}
    find = Application.find_handler

    @wraps(find)
    def find_for_host(self: Application, request: HTTPServerRequest, **more: Any) -> Any:
        if any(fnmatchcase(host_name(request.host), pattern) for pattern in allowed):
            return find(self, request, **more)
        return self.get_handler_delegate(request, ErrorHandler, {"status_code": _FORBIDDEN})

    setattr(Application, "find_handler", find_for_host)  # noqa: B010 - a type checker forbids to assign it


def host_name(host: str) -> str:
    """The name in a `Host` header or an origin such as `name:5006`, `[::1]:5006` or `*`, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if host.count(":") == 1 else host.lower()


def _addresses(command: Sequence[str]) -> list[str]:
    return _option_values("--address", command)


def _option_values(option: str, command: Sequence[str]) -> list[str]:
    """Values of an option, written as two words or as one; it may be given several times."""
    values = [word.partition("=")[2] for word in command if word.startswith(f"{option}=")]
    return values + [value for word, value in pairwise(command) if word == option]


def _origins(command: Sequence[str]) -> list[str]:
    values = _option_values(_ORIGIN_OPTION, command)
    return [*values, *filter(None, os.environ.get("BOKEH_ALLOW_WS_ORIGIN", "").split(","))]


def send_at_once() -> None:
    """Let every frame leave as it is written.

    A message to the page is several small frames. By default the system holds each one back until the page's machine has
    acknowledged the one before, which it does after 40 ms: on a click longer than everything else together.
    """
    open_socket = WSHandler.open

    @wraps(open_socket)
    def open_at_once(self: WSHandler) -> None:
        open_socket(self)
        if self.ws_connection is not None:
            self.set_nodelay(True)

    setattr(WSHandler, "open", open_at_once)  # noqa: B010 - a type checker forbids to assign it
