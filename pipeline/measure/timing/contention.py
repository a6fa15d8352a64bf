"""Whether a measurement had the machine to itself."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import psutil

_WINDOW = 0.5  # seconds; the kernel counts busy time in ticks of 10 ms, so a shorter look says little


@dataclass(frozen=True, slots=True)
class _Mark:
    at: float
    busy: float
    own: float


class LoadMeter:
    """Cores kept busy by processes other than ours, from the kernel's counters.

    Time that the hypervisor gave to other machines (steal) counts as foreign too.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, busy: Callable[[], float] | None = None) -> None:
        self._clock, self._busy = clock, busy or busy_seconds
        self._marks: deque[_Mark] = deque()

    def mark(self, own_seconds: float) -> None:
        """Note that our processes have used `own_seconds` of CPU time until now; none of them may be running."""
        self._marks.append(_Mark(self._clock(), self._busy(), own_seconds))
        while len(self._marks) > 1 and self._marks[-1].at - self._marks[1].at >= _WINDOW:
            self._marks.popleft()

    def foreign_cores(self) -> float:
        """Cores that others kept busy, on average over at least the last half second of marks (less if there is less)."""
        first, last = self._marks[0], self._marks[-1]
        passed = last.at - first.at
        return max(0.0, (last.busy - first.busy) - (last.own - first.own)) / passed if passed > 0 else 0.0


def busy_seconds() -> float:
    """CPU seconds that the machine has been busy with anything since it started."""
    times = psutil.cpu_times()
    idle = ("idle", "iowait", "guest", "guest_nice")  # guest time is contained in user time
    return float(sum(value for name, value in times._asdict().items() if name not in idle))
