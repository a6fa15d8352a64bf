"""Results that several machines share: a folder here, and an object store behind it.

URL/manifests/KEY.json            its presence means complete; made by a conditional put, so that the first writer wins
URL/files/KEY/ATTEMPT/NAME        what that writer has uploaded; the manifest names its attempt, so that two never mix
URL/checkpoints/KEY/NAME          of jobs that are not done, where nodes may be lost
"""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.core.artifacts import MANIFEST, ArtifactStore, DamagedArtifactError, has_own_seal
from pipeline.core.json_text import parse_json
from pipeline.core.keys import Key
from pipeline.core.sharing.cache_room import CacheRoom
from pipeline.core.sharing.checkpoint_mirror import mirrored
from pipeline.core.sharing.object_store import PATIENCE, ObjectStore, ObjectStoreError

__all__ = ["SharedArtifacts", "SharedPlace", "open_artifacts"]

_FEW = 50
"""Keys that are asked for one by one; of more, all that the store holds are listed, a thousand at a time."""
_NAME = re.compile(r"manifests/[0-9a-f]{64}\.json")
_DEPTH = 3
"""Slashes in the path of an uploaded file, at least."""
_RACES = 3
_ORPHAN_AGE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class SharedPlace:
    """The object store that stands behind a workspace: plain data, sent to every worker."""

    url: str
    upload: bool = True
    """Whether new results are put there."""
    leads: bool = False
    """Whether what is there counts, and the folder here is a copy of some of it: on the nodes of a cluster."""
    cache_bytes: int | None = None
    """Room for copies in the folder here; None: as much as there is."""
    patience: float = PATIENCE
    """Seconds to wait while it is out of reach."""


def open_artifacts(root: Path, place: SharedPlace | None) -> ArtifactStore:
    """Return the results in a folder, with the object store behind it if there is one.

    Raises:
        ObjectStoreError: if the store refuses, or is out of reach for too long.
    """
    if place is None:
        return ArtifactStore(root)
    return SharedArtifacts(root, ObjectStore(place.url, patience=place.patience), place)


class SharedArtifacts(ArtifactStore):
    """Results of a folder and of the object store behind it; what is read is fetched and its digests are compared."""

    def __init__(self, root: Path, objects: ObjectStore, place: SharedPlace) -> None:
        super().__init__(root)
        self.objects, self.place = objects, place
        self._shared: set[Key] = set()
        """Keys that were in the object store when it was last asked: another process may have withdrawn a damaged one."""
        self._room = CacheRoom(root, place.cache_bytes)

    def __contains__(self, key: Key) -> bool:
        """Whether it is here or there; where the object store leads, what is here alone is not there for others."""
        return (not self.place.leads and self.is_whole(key)) or self.is_shared(key)

    def is_shared(self, key: Key) -> bool:
        """Whether the object store has it."""
        if key not in self._shared and self.objects.read(_manifest(key)) is not None:
            self._shared.add(key)
        return key in self._shared

    def present(self, keys: Iterable[Key]) -> set[Key]:
        """As of a folder; the object store is asked for what is not here."""
        asked = set(keys)
        here = set() if self.place.leads else super().present(asked)
        missing = asked - here - self._shared
        if len(missing) > _FEW:
            self._shared |= set(self.shared_keys())
        else:
            missing = {key for key in missing if self.is_shared(key)}
        return here | (asked & self._shared)

    def shared_keys(self) -> Iterator[Key]:
        """Yield the keys of all artifacts of the object store; what else lies there is nothing of ours."""
        for item in self.objects.list("manifests"):
            if _NAME.fullmatch(item.path):
                yield Key(Path(item.path).stem)

    def is_damaged(self, key: Key) -> bool:
        """A damaged copy of what the object store has is set aside, and fetched again when it is read."""
        if super().is_damaged(key) and self.is_shared(key):
            self.set_aside(key)
        return super().is_damaged(key)

    def fault(self, key: Key) -> str | None:
        """As of a folder; what is not here is compared when it is fetched."""
        here = (self.path(key) / MANIFEST).exists()
        return super().fault(key) if here or not self.is_shared(key) else None

    def folder(self, key: Key) -> Path:
        """As of a folder, after fetching what is not here.

        Raises:
            DamagedArtifactError: if what came is not what was written; it is removed there, and made again next time.
            ObjectStoreError: if the store refuses, or is out of reach for too long.
        """
        self._room.hold(key)
        for _ in range(_RACES):
            if key in self._sound and self.is_whole(key):
                return self.path(key)
            self._sound.discard(key)
            self.fetch(key)
            self._room.hold(key)
            if self.is_whole(key):  # else it has given way to another's copy before it was held
                break
        if not self.path(key).exists():
            raise DamagedArtifactError(
                f"{self.objects.url}: {key[:12]} was there and is no longer; run again, and it is made again"
            )
        return super().folder(key)

    def release(self) -> None:
        """Let what was read give way to other copies."""
        self._room.release()

    def fetch(self, key: Key) -> bool:
        """Bring an artifact here unless it is: where the object store leads, unless it is the same. Returns whether it came."""
        here = self.is_whole(key)
        if here and not self.place.leads:
            return False
        stored = self._stored(key)
        if stored is None:
            self._shared.discard(key)
        if stored is None or (here and _text(stored["manifest"]) == (self.path(key) / MANIFEST).read_text()):
            return False
        sizes = [int(file["size"]) for file in stored["manifest"].get("files", {}).values()]
        self._room.make(sum(sizes), lambda copy: self.objects.read(_manifest(copy)) is not None)
        with self._writing(self.path(key).parent) as scratch:
            self._download(key, stored, scratch)
            (scratch / MANIFEST).write_text(_text(stored["manifest"]))
            self._install(key, scratch, replace=here)
        self._sound.add(key)  # its digests were compared as it came
        return True

    def _download(self, key: Key, stored: Mapping[str, Any], folder: Path) -> None:
        for name, file in stored["manifest"].get("files", {}).items():
            target = (folder / name).resolve()
            if not target.is_relative_to(
                folder.resolve()
            ):  # who writes to the store need not be trusted with this disk
                raise ObjectStoreError(
                    f"{self.objects.url}: the manifest of {key[:12]} names a file outside of it: {name}"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            path = f"files/{key}/{stored['attempt']}/{name}"
            digest = self.objects.fetch(path, target)
            if digest != file["sha256"]:
                self._withdraw(key, stored["attempt"])
                fault = f"{name} is missing" if digest is None else f"the content of {name} is not what was written"
                raise DamagedArtifactError(
                    f"{self.objects.url}: {key[:12]} was damaged ({fault}); run again, and it is made again"
                )

    def _withdraw(self, key: Key, attempt: str | None = None) -> None:
        """Take an artifact out of the object store; `attempt`: only while it is still this upload that counts there."""
        self._shared.discard(key)
        if not self.place.upload:
            return
        if attempt is not None:
            stored = self._stored(key)
            if stored is not None and stored["attempt"] != attempt:  # it was made again meanwhile
                return
        self.objects.delete([_manifest(key)])

    @contextmanager
    def publish(self, key: Key, manifest: Mapping[str, Any], *, replace: bool = False) -> Iterator[Path]:
        """As of a folder; then the result is uploaded. If that fails it is kept here, and sent by the next run."""
        with super().publish(key, manifest, replace=replace) as scratch:
            yield scratch
        if self.place.upload:
            self.upload(key, replace=replace)

    def share(self, keys: Iterable[Key]) -> None:
        """Upload those results that are here and not in the object store, unless nothing is to be uploaded."""
        for key in keys:
            if self.place.upload and self.is_whole(key) and not self.is_shared(key):
                self.upload(key)

    def upload(self, key: Key, *, replace: bool = False) -> bool:
        """Put an artifact of the folder into the object store. Returns whether it is now this one that counts there.

        Args:
            key: names the artifact.
            replace: whether one that is there gives way; otherwise the first writer wins.

        Raises:
            DamagedArtifactError: if the files are not what was written.
        """
        attempt = uuid.uuid4().hex[:12]
        folder = super().folder(key)
        manifest = parse_json((folder / MANIFEST).read_bytes())
        names = [f"files/{key}/{attempt}/{name}" for name in manifest.get("files", {})]
        for name, path in zip(manifest.get("files", {}), names, strict=True):
            self.objects.write(path, folder / name)
        text = json.dumps({"attempt": attempt, "manifest": manifest}).encode()
        if replace:
            self.objects.write(_manifest(key), text)
        elif not self.objects.create(_manifest(key), text):
            stored = self._stored(key)
            if stored is not None and stored["attempt"] != attempt:  # else the answer to our own put was lost
                self.objects.delete(names)
                self._shared.add(key)
                self._sound.discard(key)  # where the store leads, theirs is fetched when it is read
                return False
        self._shared.add(key)
        return True

    def remove(self, key: Key) -> None:
        """Forget an artifact, here and in the object store."""
        self._withdraw(key)
        super().remove(key)

    def checkpoints(self, key: Key, scratch: Path) -> AbstractContextManager[None]:
        """Where the object store leads, keep a copy of a job's checkpoints there: its node may be lost."""
        return mirrored(self.objects, key, scratch) if self.place.leads else contextlib.nullcontext()

    def collect(self, *, now: datetime | None = None) -> int:
        """Remove uploads that no manifest names and that are older than a day: of writers that were killed or came second.

        Returns the number of objects. `now`: the time to reckon ages from; None: this moment.
        """
        limit = (now or datetime.now(UTC)) - _ORPHAN_AGE
        attempts: dict[Key, dict[str, list[str]]] = {}
        young: set[tuple[Key, str]] = set()
        for item in self.objects.list("files"):
            if item.path.count("/") < _DEPTH:  # nothing of ours
                continue
            _, key, attempt, *_ = item.path.split("/")
            attempts.setdefault(Key(key), {}).setdefault(attempt, []).append(item.path)
            if item.modified > limit:
                young.add((Key(key), attempt))
        shared, count = set(self.shared_keys()), 0
        for key, paths in attempts.items():
            if len(paths) == 1 and key in shared:
                continue
            stored = self._stored(key)
            for attempt, names in paths.items():
                if (key, attempt) not in young and (stored is None or stored["attempt"] != attempt):
                    self.objects.delete(names)
                    count += len(names)
        return count

    def _read(self, key: Key) -> dict[str, Any]:
        """A manifest of the folder, or of the object store."""
        if not self.place.leads and (self.path(key) / MANIFEST).exists():
            return self._read_here(key)
        stored = self._stored(key)
        return self._read_here(key) if stored is None else dict(stored["manifest"])

    def _stored(self, key: Key) -> dict[str, Any] | None:
        """What the object store says of an artifact: its attempt and its manifest.

        Raises:
            ObjectStoreError: if it is not what this program writes.
        """
        raw = self.objects.read(_manifest(key))
        if raw is None:
            return None
        try:
            stored = parse_json(raw)
            manifest = stored["manifest"]
            if isinstance(manifest, dict) and has_own_seal(manifest) and isinstance(stored["attempt"], str):
                return dict(stored)
        except (ValueError, KeyError, TypeError):
            pass
        raise ObjectStoreError(f"{self.objects.url}/{_manifest(key)} is not what was written: remove it, and run again")


def _manifest(key: Key) -> str:
    return f"manifests/{key}.json"


def _text(manifest: Mapping[str, Any]) -> str:
    """A manifest as a folder holds it."""
    return json.dumps(manifest, indent=1, sort_keys=True)
