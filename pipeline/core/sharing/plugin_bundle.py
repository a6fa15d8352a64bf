"""A person's own modules, packed to go to another machine: the files beside them that Python may import, and nothing else."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import site
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import BouillonError

__all__ = ["BundleError", "PluginArchive", "bundle", "unpack"]

_MOST_BYTES = 20_000_000
_DATE = (1980, 1, 1, 0, 0, 0)
_PACKAGES = ("site-packages", "dist-packages")
"""Folders of installed packages, those of other environments too, which a .pth file names."""


class BundleError(BouillonError, ValueError):
    """The modules cannot be sent."""


@dataclass(frozen=True, slots=True)
class PluginArchive:
    """Source files in a zip archive; empty: there are none to send."""

    archive: bytes = b""

    @property
    def name(self) -> str:
        """Its digest, by which nodes know it again."""
        return hashlib.sha256(self.archive).hexdigest()[:32]


def bundle(plugins: Iterable[str]) -> PluginArchive:
    """Pack the modules that `plugins` names, and those beside them. What is installed as a package is not sent.

    Raises:
        BundleError: if they are too many.
    """
    files: dict[str, bytes] = {}
    for name in dict.fromkeys(module.partition(".")[0] for module in plugins):
        for path, file in _files(name):
            files[path] = file.read_bytes()
    if not files:
        return PluginArchive()
    size = sum(map(len, files.values()))
    if size > _MOST_BYTES:
        raise BundleError(
            f"plugins: {size / 1e6:.0f} MB of Python files lie beside the modules, which nodes cannot be sent: put the modules "
            "into a folder of their own, or install them on all nodes"
        )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(path, _DATE), content)
    return PluginArchive(stream.getvalue())


def unpack(sent: PluginArchive, folder: Path) -> Path | None:
    """Write the modules below `folder`, once, and return the folder to import them from; None if there are none."""
    if not sent.archive:
        return None
    final = folder / sent.name
    if not final.exists():
        scratch = final.with_name(f"{sent.name}.{os.getpid()}.new")
        with zipfile.ZipFile(io.BytesIO(sent.archive)) as archive:
            archive.extractall(scratch)
        try:
            scratch.rename(final)
        except OSError:  # another process of this node was faster
            if not final.exists():
                raise
    return final


def _files(name: str) -> Iterator[tuple[str, Path]]:
    """(path in the archive, file) of a top-level module and of the modules beside it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return
    origin = Path(spec.origin).resolve()
    is_package = bool(spec.submodule_search_locations)
    folder = origin.parent.parent if is_package else origin.parent
    installed = {
        Path(path).resolve()
        for path in (*site.getsitepackages(), *(sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")))
    }
    if folder in installed or folder.name in _PACKAGES:
        return
    below = sorted(origin.parent.rglob("*.py")) if is_package else []
    for file in (*sorted(folder.glob("*.py")), *below):
        yield file.relative_to(folder).as_posix(), file
