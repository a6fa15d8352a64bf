"""Other people's error messages in one line, to be part of ours."""

from __future__ import annotations


def reason(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
