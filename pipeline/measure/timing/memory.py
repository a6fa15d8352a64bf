"""Peak memory of this process."""

from __future__ import annotations

import sys
from pathlib import Path

_KIB = 1024


def reset_peak() -> int:
    """Let the peak start from here, where the system can; return the bytes that the process holds now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the high-water mark becomes the present size
    except OSError:
        return peak_bytes()
    return _status("VmHWM")


def peak_bytes() -> int:
    """Largest resident size since `reset_peak`, or since the start where the mark cannot be reset."""
    try:
        return _status("VmHWM")
    except OSError:
        import resource

        # not used on Linux: there a new process inherits the mark of the one that started it
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * _KIB


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * _KIB
    raise OSError(f"/proc/self/status has no {field}")
