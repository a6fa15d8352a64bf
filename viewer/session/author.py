"""The name under which a visitor's notes and views are kept: that by which the server knows them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from viewer.session.notes import this_user
from viewer.session.server import serves_network

__all__ = ["ANONYMOUS", "HEADER_VARIABLE", "author_of"]

ANONYMOUS = "anonymous"
HEADER_VARIABLE = "BOUILLON_USER_HEADER"
"""Names the header in which a proxy gives the user whom it has authenticated."""
_LONGEST = 80


def author_of(request: Any, command: Sequence[str] = tuple(sys.orig_argv)) -> str:
    """Return the visitor's name.

    It is the user of the header that `BOUILLON_USER_HEADER` names; else the user who logged in (`--basic-auth`, OAuth); else,
    while the server serves its own machine alone, the user who runs it; else `anonymous`.

    Args:
        request: Bokeh's, of the visitor's session; None: there is none.
        command: the words of the server's command line.
    """
    # what the connection itself says: a session's token, unless sessions are signed, is whatever a visitor wrote into it
    request = getattr(request, "_request", request)
    name = os.environ.get(HEADER_VARIABLE, "")
    user = str((getattr(request, "headers", None) or {}).get(name) or "") if name else _logged_in(request)
    user = "".join(letter for letter in user if letter.isprintable()).strip()[:_LONGEST]
    if user:
        return user
    return ANONYMOUS if name or serves_network(command) else this_user()


def _logged_in(request: Any) -> str:
    """Return the user of Panel's signed cookie; empty where there is none."""
    cookies: Mapping[str, Any] = getattr(request, "cookies", None) or {}
    cookie = cookies.get("user")
    if cookie is None:
        return ""
    from panel.config import config
    from tornado.web import decode_signed_value

    secret = config.cookie_secret
    value = decode_signed_value(secret, "user", getattr(cookie, "value", cookie)) if secret else None
    return "" if value is None else value.decode("utf-8", "replace")
