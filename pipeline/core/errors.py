"""The base class of our errors, and what messages say in one line: what went wrong in a person's own code, and the nearest fix."""

from __future__ import annotations

import difflib
import itertools
import os
import re
import sysconfig
import traceback
from pathlib import Path

from ops.core.errors import BouillonError

__all__ = ["BouillonError", "blame", "first_cause", "nearest_path", "own_frames", "reason"]

_OURS = Path(__file__).resolve().parents[2]
_OTHERS = (
    "<",  # frozen modules of the interpreter
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
    *(f"{_OURS / name}/" for name in ("ops", "pipeline")),
)


def blame(error: BaseException) -> str:
    """`KeyError: 'oops' (plugin.py:16)`: the innermost line of the person's own code, if there is one."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    name, text = type(error).__name__, reason(error)
    text_with_type = text if text == name else f"{name}: {text}"
    frames = traceback.extract_tb(error.__traceback__)
    own = own_frames(error) or frames
    return f"{text_with_type} ({own[-1].filename}:{own[-1].lineno})" if own else text_with_type


def own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The lines of a person's own code that an error went through, outermost first."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_OTHERS)]


_MOST_NAMES = 10_000
"""Names of a folder that are compared with a missing one."""


def nearest_path(path: Path) -> str:
    """Return "; did you mean '...'?" for what lies where `path` does not, under the name closest to it, or nothing."""
    above = path
    while not above.is_dir():
        if above == above.parent:
            return ""
        above = above.parent
    missing, *below = path.parts[len(above.parts) :] or ("",)
    try:
        with os.scandir(above) as entries:
            names = [entry.name for entry in itertools.islice(entries, _MOST_NAMES) if entry.name.isprintable()]
    except OSError:
        return ""
    close = difflib.get_close_matches(missing, sorted(names), n=1)
    if not close:
        return ""
    whole = Path(above, close[0], *below)
    return f"; did you mean '{whole if whole.exists() else Path(above, close[0])}'?"


_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")  # colours and cursor movements of terminals


def reason(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has none."""
    lines = [line.strip() for line in _ESCAPES.sub("", str(error)).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def first_cause(error: BaseException) -> BaseException:
    """The error that a chain of errors began with, which says more than what was raised because of it."""
    visited = {id(error)}
    while True:
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if before is None or id(before) in visited:
            return error
        visited.add(id(before))
        error = before
