"""Energy from the processor's own counter (RAPL), where the system shows it. There are no estimates."""

from __future__ import annotations

from pathlib import Path

_MICRO = 1e-6
_POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """Joules that all processor packages have used between two looks."""

    def __init__(self, folder: Path = _POWERCAP) -> None:
        counters = [
            zone for zone in sorted(folder.glob("intel-rapl:*")) if ":" not in zone.name.removeprefix("intel-rapl:")
        ]
        self._zones = [zone for zone in counters if _read(zone / "energy_uj") is not None]
        self._last: list[int] = []

    def start(self) -> None:
        """Look at the counters."""
        self._last = [_read(zone / "energy_uj") or 0 for zone in self._zones]

    def joules(self) -> float | None:
        """Energy since `start`; None where there is no counter that may be read."""
        if not self._zones:
            return None
        total = 0
        for zone, before in zip(self._zones, self._last, strict=True):
            now = _read(zone / "energy_uj") or 0
            wrapped = _read(zone / "max_energy_range_uj") or 0
            total += now - before if now >= before else now - before + wrapped
        return total * _MICRO


def _read(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # absent, or readable by root alone
        return None
