"""File names as text, and files that may be opened."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.core.errors import nearest_path
from pipeline.datasets.api import DataError

_BREAKING = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories that do not fit into a line or a store: controls, surrogates, separators of lines and paragraphs."""
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_FIRST_ESCAPE, _LAST_ESCAPE = 0xDC80, 0xDCFF  # Python's stand-ins for the bytes of a name that are not UTF-8


def readable(name: str) -> str:
    r"""A file name as one line of text that can be stored: `s\xfcd.png` where the byte 0xFC is not UTF-8.

    Line breaks and other controls become `\n`, `\u2028`, and a backslash becomes two, so that no two names look alike.
    """
    if name.isascii() and name.isprintable() and "\\" not in name:
        return name
    return "".join(_escaped(letter) for letter in name)


def _escaped(letter: str) -> str:
    code = ord(letter)
    if letter == "\\":
        return "\\\\"
    if _FIRST_ESCAPE <= code <= _LAST_ESCAPE:
        return f"\\x{code - _FIRST_ESCAPE + 0x80:02x}"
    if unicodedata.category(letter) not in _BREAKING:
        return letter
    return letter.encode("unicode_escape").decode() if letter.isascii() else f"\\u{code:04x}"


def check_regular(file: Path) -> os.stat_result:
    """Return the state of a file that may be opened.

    Raises:
        DataError: if there is none, or it is a folder, a named pipe, a socket or a device, which reading could hang on.
    """
    place = readable(str(file))
    try:
        status = file.stat()
    except FileNotFoundError:
        broken = (
            "a link to a file that is not there; mend or remove it"
            if file.is_symlink()
            else f"there is no such file{nearest_path(file)}"
        )
        raise DataError(f"{place}: {broken}") from None
    except OSError as error:
        raise DataError(f"{place}: cannot be read ({error.strerror}); mend or remove it") from None
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no file")
        raise DataError(f"{place}: is {kind}, not a file with content; remove it")
    return status


def targets_outside(paths: Iterable[Path], home: Path) -> Iterator[Path]:
    """Yield where those of some files and folders lie, behind all links, that lie outside of a folder.

    Args:
        paths: what is there.
        home: the folder.
    """
    root = home.resolve()
    folders: dict[Path, Path] = {}  # few, of many files
    for path in paths:
        if path.is_symlink() or path.name in ("", ".."):
            target = path.resolve()
        else:
            target = folders.setdefault(path.parent, path.parent.resolve()) / path.name
        if not target.is_relative_to(root):
            yield target
