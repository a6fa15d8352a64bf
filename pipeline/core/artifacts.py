"""Content-addressed results on disk.

root/ab/abcdef.../manifest.json   its presence means complete
root/ab/abcdef.../model.safetensors, model.onnx, predictions.npz, ...
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.core.keys import Key

MANIFEST = "manifest.json"
_SCRATCH = ".tmp-"


class ArtifactStore:
    """A folder of finished results, each in a folder named by its key."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: Key) -> Path:
        """Where the artifact is, or would be."""
        return self.root / key[:2] / key

    def __contains__(self, key: Key) -> bool:
        """An artifact whose manifest is damaged is not there: it is made again."""
        try:
            self.manifest(key)
        except (OSError, ValueError):
            return False
        return True

    def manifest(self, key: Key) -> dict[str, Any]:
        """Read what was published with the artifact."""
        manifest: dict[str, Any] = json.loads((self.path(key) / MANIFEST).read_text())
        return manifest

    def is_damaged(self, key: Key) -> bool:
        """Whether there is a manifest that cannot be read."""
        return (self.path(key) / MANIFEST).exists() and key not in self

    @contextmanager
    def publish(self, key: Key, manifest: Mapping[str, Any]) -> Iterator[Path]:
        """Give a scratch folder; on success it becomes the artifact in one rename.

        `manifest` is read after the body has run, so the body may still add to it. Files are flushed to disk before the
        rename: after a power cut an artifact is either whole or not there.
        """
        final = self.path(key)
        final.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=final.parent, prefix=f"{_SCRATCH}{os.getpid()}-"))
        try:
            yield scratch
            (scratch / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
            scratch.chmod(0o755)
            for file in scratch.rglob("*"):
                _flush(file)
            try:
                if self.is_damaged(key):
                    self.remove(key)
                scratch.rename(final)
            except OSError:
                if key not in self:  # lost a race to an equal result: keep theirs
                    raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def remove(self, key: Key) -> None:
        """Forget an artifact: the manifest goes first, so that it is never seen half removed."""
        folder = self.path(key)
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed processes left half written. What a living process writes stays."""
        import psutil

        for left in self.root.glob(f"*/{_SCRATCH}*"):
            process = left.name.removeprefix(_SCRATCH).partition("-")[0]
            if not (process.isdigit() and psutil.pid_exists(int(process))):
                shutil.rmtree(left, ignore_errors=True)


def _flush(file: Path) -> None:
    if file.is_file():
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
