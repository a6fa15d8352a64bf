"""Content-addressed results on disk.

root/ab/abcdef.../manifest.json   its presence means complete; it lists every other file with its size and sha256
root/ab/abcdef.../model.safetensors, model.onnx, predictions.npz, ...
root/damaged/abcdef...            what was found to be damaged, and is made again
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from pipeline.core.json_text import parse_json
from pipeline.core.keys import Key
from pipeline.core.machine.exchange import exchange
from pipeline.core.machine.use_lock import in_use
from pipeline.core.secret_values import hidden

MANIFEST = "manifest.json"
_SCRATCH = ".tmp-"
_ASIDE = "damaged"
_FILES, _SEAL = "files", "sha256"
"""Keys of a manifest that the store adds: the files, and the digest of the manifest without itself."""


class DamagedArtifactError(ValueError):
    """The files of an artifact are not what was written: the message names the file, and what was done."""


class ArtifactStore:
    """A folder of finished results, each in a folder named by its key."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sound: set[Key] = set()

    def path(self, key: Key) -> Path:
        """Return the artifact's folder, whether it exists or not. To read its files, use `folder`."""
        return self.root / key[:2] / key

    def folder(self, key: Key) -> Path:
        """Return the artifact's folder after comparing its files with what was written: once per process, by their content.

        Raises:
            DamagedArtifactError: if they differ; the artifact is set aside, so that the next run makes it again.
        """
        if key not in self._sound:
            fault = self.fault(key)
            if fault is not None:
                aside = self.set_aside(key)
                raise DamagedArtifactError(
                    f"{self.path(key)} was damaged ({fault}) and is now in {aside}; run again, and it is made again"
                )
            self._sound.add(key)
        return self.path(key)

    def __contains__(self, key: Key) -> bool:
        """An artifact of which a file is missing, or has another size, is not there: it is made again."""
        return self.is_whole(key)

    def is_whole(self, key: Key) -> bool:
        """Whether all files of an artifact are in its folder here, with the sizes that were written."""
        try:
            files = self._read_here(key).get(_FILES, {})
            return all((self.path(key) / name).stat().st_size == file["size"] for name, file in files.items())
        except (OSError, ValueError):
            return False

    def present(self, keys: Iterable[Key]) -> set[Key]:
        """Return those of some keys whose artifacts are there. Of many keys much faster than asking for each."""
        folders = {folder.name for folder in self.root.glob("*/*")}
        return {key for key in keys if key in folders and key in self}

    def manifest(self, key: Key) -> dict[str, Any]:
        """Read what was published with the artifact.

        Raises:
            OSError, ValueError: if it is missing or damaged.
        """
        return {name: value for name, value in self._read(key).items() if name not in (_FILES, _SEAL)}

    def is_damaged(self, key: Key) -> bool:
        """Whether there is a manifest, but it cannot be read, or files are missing or have another size."""
        return (self.path(key) / MANIFEST).exists() and not self.is_whole(key)

    def fault(self, key: Key) -> str | None:
        """Say what is wrong with an artifact that is there, or None. Reads all of its files; their dates do not count."""
        try:
            files = self._read_here(key).get(_FILES, {})
        except OSError as error:
            return f"its manifest cannot be read: {error.strerror}"
        except ValueError as error:
            return f"its manifest is {error}"
        for name, file in files.items():
            try:
                if _digest(self.path(key) / name) != file["sha256"]:
                    return f"the content of {name} is not what was written"
            except FileNotFoundError:
                return f"{name} is missing"
            except OSError as error:
                return f"{name} cannot be read: {error.strerror}"
        return None

    def digests(self, key: Key) -> dict[str, str]:
        """Return the sha256 of every file of an artifact, as they were written; none of an older version's."""
        return {name: str(file["sha256"]) for name, file in self._read(key).get(_FILES, {}).items()}

    def has_digests(self, key: Key) -> bool:
        """Whether the manifest lists digests: older versions wrote none."""
        return _FILES in self._read(key)

    def keys(self) -> Iterator[Key]:
        """Yield the keys of all artifacts, damaged ones too, in order."""
        for folder in sorted(self.root.glob(f"??/{'[0-9a-f]' * 64}")):
            yield Key(folder.name)

    def set_aside(self, key: Key) -> Path:
        """Move a damaged artifact out of the way, and return where it is."""
        self._sound.discard(key)
        aside = self.root / _ASIDE / key
        number = 1
        while aside.exists():
            number += 1
            aside = aside.with_name(f"{key}-{number}")
        aside.parent.mkdir(parents=True, exist_ok=True)
        self.path(key).rename(aside)
        return aside

    def set_aside_folders(self) -> Iterator[Path]:
        """Yield the folders of artifacts that were set aside, in order."""
        yield from sorted((self.root / _ASIDE).glob("*"))

    def _read(self, key: Key) -> dict[str, Any]:
        """Read a manifest with what the store has added, wherever it is."""
        return self._read_here(key)

    def _read_here(self, key: Key) -> dict[str, Any]:
        """Read the manifest in the folder."""
        try:
            manifest = parse_json((self.path(key) / MANIFEST).read_bytes())
        except ValueError:
            raise ValueError("not JSON") from None
        if not isinstance(manifest, dict) or not has_own_seal(manifest):
            raise ValueError("not what was written")
        return manifest

    @contextmanager
    def publish(self, key: Key, manifest: Mapping[str, Any], *, replace: bool = False) -> Iterator[Path]:
        """Give a scratch folder; on success it becomes the artifact in one rename.

        An artifact that is there stays, unless `replace`: then the new one takes its place at once, so that whoever reads
        it meanwhile, and whoever finds it after a crash, has one of the two whole.

        `manifest` is read after the body has run, so the body may still add to it. Files are flushed to disk before the
        rename: after a power cut an artifact is either whole or not there.

        Args:
            key: names the artifact.
            manifest: JSON-ready facts; secrets in it are written as references.
            replace: whether an artifact that is there gives way.
        """
        with self._writing(self.path(key).parent) as scratch:
            yield scratch
            files = sorted(file for file in scratch.rglob("*") if file.is_file())
            (scratch / MANIFEST).write_text(_sealed(hidden(manifest), scratch, files))
            self._install(key, scratch, replace=replace)

    @contextmanager
    def _writing(self, folder: Path) -> Iterator[Path]:
        """Give a new folder in `folder`, which is gone afterwards unless it was renamed."""
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder, prefix=f"{_SCRATCH}{os.getpid()}-"))
        mark = _mark(scratch)
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            _unmark(mark)

    def _install(self, key: Key, scratch: Path, *, replace: bool) -> None:
        """Make a complete folder the artifact, in one rename."""
        final = self.path(key)
        scratch.chmod(0o755)
        for file in scratch.rglob("*"):
            if file.is_file():
                _flush(file)
        try:
            if self.is_damaged(key):
                self._forget(key)
            if replace and final.exists():
                exchange(scratch, final)
                self._sound.discard(key)
            else:
                scratch.rename(final)
        except OSError:
            if not self.is_whole(key):  # lost a race to an equal result: keep theirs
                raise

    @contextmanager
    def scratch_folder(self) -> Iterator[Path]:
        """Give a folder for what nobody needs afterwards; `sweep` removes it where this process is killed meanwhile."""
        with self._writing(self.root / "scratch") as scratch:
            yield scratch

    def remove(self, key: Key) -> None:
        """Forget an artifact: the manifest goes first, so that it is never seen half removed."""
        self._forget(key)

    def share(self, keys: Iterable[Key]) -> None:
        """Put results that are here where others find them: a folder alone has no others."""

    def checkpoints(self, key: Key, scratch: Path) -> AbstractContextManager[None]:
        """Hold while a job works in `scratch`: what it keeps there survives its process.

        Those of a folder lie in `scratch` and nowhere else.
        """
        return nullcontext()

    def release(self) -> None:
        """Take note that what `folder` has given is read: it may give way to other results, where room is short."""

    def _forget(self, key: Key) -> None:
        self._sound.discard(key)
        folder = self.path(key)
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def in_use(self) -> AbstractContextManager[None]:
        """Hold while artifacts are made or read: nothing is cleared away meanwhile (`pipeline.core.machine.use_lock`)."""
        return in_use(self.root.parent)

    def sweep(self) -> None:
        """Remove what killed processes left half written. What a living process writes stays, in whatever container it is."""
        import psutil

        for remaining in self.root.glob(f"*/{_SCRATCH}*"):
            process = remaining.name.removeprefix(_SCRATCH).partition("-")[0]
            if not (process.isdigit() and psutil.pid_exists(int(process))) and not _is_marked(remaining):
                shutil.rmtree(remaining, ignore_errors=True)


def _mark(folder: Path) -> int | None:
    """Lock a folder for as long as this process lives: numbers of processes mean nothing in another container.

    Returns the open descriptor that holds the lock; None where the file system has no locks for folders.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _unmark(mark: int | None) -> None:
    if mark is not None:
        os.close(mark)


def _is_marked(folder: Path) -> bool:
    """Whether a living process has locked a folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # it is gone by now
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _sealed(manifest: Mapping[str, Any], folder: Path, files: Sequence[Path]) -> str:
    """The manifest as text, with the size and digest of every file, and its own digest."""
    listed = {
        file.relative_to(folder).as_posix(): {"size": file.stat().st_size, "sha256": _digest(file)} for file in files
    }
    content = json.loads(json.dumps({**manifest, _FILES: listed}))
    return json.dumps({**content, _SEAL: _seal(content)}, indent=1, sort_keys=True)


def has_own_seal(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is what was written, by its digest; older versions wrote none."""
    return _SEAL not in manifest or manifest[_SEAL] == _seal(manifest)


def _seal(manifest: Mapping[str, Any]) -> str:
    content = {name: value for name, value in manifest.items() if name != _SEAL}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
