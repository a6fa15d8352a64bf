"""Standard streams that somebody closed (`>&-`) are opened to nowhere."""

from __future__ import annotations

import os
import sys

__all__ = ["open_standard_streams"]

_STANDARD = ("stdin", "stdout", "stderr")


def open_standard_streams() -> None:
    """Open the standard streams that are closed, for this process and those that it starts.

    Else writing to them fails, and the next file that is opened takes their number: whatever a library then prints would
    land in it.
    """
    for number, name in enumerate(_STANDARD):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
