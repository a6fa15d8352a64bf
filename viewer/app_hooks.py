"""Reads the results when the server starts, so that the first visitor does not wait for it."""

import sys
from typing import Any

from viewer.app import warm_up


def on_server_loaded(server_context: Any) -> None:
    """Fill the cache that all visitors share."""
    warm_up(sys.argv[1:])
