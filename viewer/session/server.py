"""The server's manners: it serves this machine alone unless configured otherwise, and holds no message back."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Sequence
from functools import wraps
from typing import Any

from bokeh.server.views.ws import WSHandler
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

__all__ = ["is_local", "send_at_once", "serve_this_machine"]


def serve_this_machine(command: Sequence[str] = tuple(sys.orig_argv)) -> None:
    """Hang up on other machines, before a byte of theirs is read, unless the command names an `--address`.

    `panel serve` listens on all networks by default, and a page carries the results in itself.
    """
    if any(word.split("=")[0] == "--address" for word in command):
        return
    handle = HTTPServer.handle_stream

    @wraps(handle)
    def take_local(self: HTTPServer, stream: IOStream, address: Any) -> None:
        if is_local(address):
            handle(self, stream, address)
        else:
            stream.close()

    setattr(HTTPServer, "handle_stream", take_local)  # noqa: B010 - a type checker forbids to assign it


def is_local(address: Any) -> bool:
    """Whether a connection comes from this machine; `address` is as the socket gives it, a path for local sockets."""
    if not isinstance(address, tuple):
        return True
    host = ipaddress.ip_address(str(address[0]).split("%", maxsplit=1)[0])
    mapped = getattr(host, "ipv4_mapped", None)
    return bool((mapped or host).is_loopback)


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
