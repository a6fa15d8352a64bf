"""Hooks of the server's start and of a visit: the work that a visit would wait for is done ahead of it."""

from __future__ import annotations

import sys
from typing import Any

from bokeh.settings import settings
from tornado.ioloop import IOLoop

from viewer.app import warm_cache
from viewer.map.figures import fill_pools
from viewer.session.server import check_hosts, send_at_once, serve_this_machine

__all__ = ["on_server_loaded", "on_session_created"]

_LATER_S = 1.0
"""After a visitor has come: by then the page is drawn."""


def on_server_loaded(server_context: Any) -> None:
    """Fill the cache that all visitors share."""
    serve_this_machine()
    check_hosts()
    send_at_once()
    settings.perform_document_validation = False  # of plots that are the same for everybody; the tests validate them
    warm_cache(sys.argv[1:])
    fill_pools()


def on_session_created(session_context: Any) -> None:
    """Make new spare plots once this visitor has been served."""
    IOLoop.current().call_later(_LATER_S, fill_pools)
