"""How filters of words are written: texts in quotes, and what stands between `or` and `|`. Pure."""

from __future__ import annotations

import re

__all__ = ["QUOTED", "alternatives", "unquoted", "whole_text"]

QUOTED = r'"(?:[^"]|"")*"'
"""A text in quotes is taken as it is; a quote inside is written twice."""
_EITHER = re.compile(rf"(?<![^\s<>=≠!|-]){QUOTED}(?=\s|\||$)|(?P<either>\s+or\s+|\s*\|\s*)", re.IGNORECASE)


def whole_text(text: str) -> str:
    """Write a filter that takes the rows whose text is this, or one of whose several texts it is."""
    is_bare = text == text.strip() and '"' not in text and alternatives(text) == [text]
    return f"= {text}" if is_bare and text else f"= {_quoted(text)}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def unquoted(text: str) -> str:
    """Return what a text in quotes says; any other as it is."""
    return text[1:-1].replace('""', '"') if re.fullmatch(QUOTED, text) else text


def alternatives(text: str) -> list[str]:
    """Return the parts of a filter of which one must fit: what stands between `or` and `|`, outside of quotes."""
    parts, start = [], 0
    for match in _EITHER.finditer(text):
        if match["either"] is not None:
            parts.append(text[start : match.start()])
            start = match.end()
    return [*parts, text[start:]]
