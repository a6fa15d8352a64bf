"""The user who runs the program, and a home, also where the system does not know them (a user id in a container)."""

from __future__ import annotations

import getpass
import os
import tempfile
from pathlib import Path

__all__ = ["settle_user", "user_name"]


def user_name() -> str:
    """The name of the user; `uid-1234` where the id has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid-{os.getuid()}"


def settle_user() -> None:
    """Give a user whom the system does not know a name and a home, for this process and those that it starts.

    Libraries look for both, and fail without. The home is a private folder for temporary files.
    """
    try:
        getpass.getuser()
    except (OSError, KeyError):
        os.environ["LOGNAME"] = user_name()
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = tempfile.mkdtemp(prefix=f"bouillon-home-{os.getuid()}-")
