"""The user who runs the program, and a home, also where the system does not know them (a user id in a container)."""

from __future__ import annotations

import getpass
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["private_folder", "settle_user", "user_name"]
_MOST_FOLDERS = 100


def user_name() -> str:
    """The name of the user; `uid-1234` where the id has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid-{os.getuid()}"


def settle_user() -> None:
    """Give a user whom the system does not know a name and a home, for this process and those that it starts.

    Libraries look for both, and fail without. The home is a private folder among those for temporary files: the same in
    every run, so that what was fetched is there again.
    """
    try:
        getpass.getuser()
    except (OSError, KeyError):
        os.environ["LOGNAME"] = user_name()
    try:
        Path.home()
    except RuntimeError:
        home = private_folder(f"bouillon-home-{os.getuid()}")
        os.environ["HOME"] = tempfile.mkdtemp() if home is None else str(home)


def private_folder(name: str) -> Path | None:
    """Return this user's own folder `name`, or `name-1`, ... in the folder for temporary files; make it if it is missing.

    Anybody may make a folder of any name there: one that is not this user's is passed over. None if all are.
    """
    for end in ("", *(f"-{number}" for number in range(1, _MOST_FOLDERS))):
        folder = Path(tempfile.gettempdir()) / f"{name}{end}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
            return folder
    return None
