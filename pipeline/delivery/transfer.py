"""Results of several machines brought together: by file (`merge`), or by an object store (`push` and `pull`)."""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.artifacts import DamagedArtifactError
from pipeline.core.sharing.object_store import ObjectStore, ObjectStoreError
from pipeline.core.sharing.shared_artifacts import SharedArtifacts, SharedPlace
from pipeline.store.errors import NoResultsError, StoreError, WriteError
from pipeline.store.merge import MergeReport
from pipeline.store.reader import open_results
from pipeline.store.writer import Store
from pipeline.sweep.known_data import is_own, pass_on

__all__ = ["Transfer", "merge_results", "pull", "push"]

_RESULTS = "results"
_PATIENCE = 60.0


@dataclass(slots=True)
class Transfer:
    """What a push or a pull has moved."""

    artifacts: int = 0
    """Artifacts that were not there."""
    present: int = 0
    """Those that were there already."""
    orphans: int = 0
    """Uploads of writers that were killed, which are removed."""
    damaged: list[str] = field(default_factory=list)
    """Artifacts and results files that were left out, and why."""
    results: int = 0
    """Results files that were sent or merged."""
    merged: MergeReport = field(default_factory=MergeReport)


def merge_results(results: Path, sources: Sequence[Path]) -> MergeReport:
    """Merge results files into `results`, which is made if there is none, and publish it.

    Raises:
        StoreError: naming the file that cannot be read or written; those before it are merged.
    """
    for source in sources:
        if not source.exists():
            raise NoResultsError(f"{source}: there is no such file")
        if source.resolve() == results.expanduser().resolve():
            raise StoreError(f"{source}: is the file that others are merged into; name another with --results FILE")
    store = Store(results)
    report = MergeReport()
    try:
        is_empty = not store.has_models()
        for source in sources:
            with open_results(source) as db:
                identity = db.execute("SELECT value FROM results.main.meta WHERE key = 'store_id'").fetchall()[0][0]
            owned = is_own(identity) and (is_empty or is_own(store.identity))
            each = store.merge(source)
            if each.rows:  # models may be run only beside results that are whole one's own
                pass_on(identity, store.identity, own=owned)
                is_empty = False
            report.add(each)
        store.publish()
    finally:
        store.close()
    return report


def push(workspace: Path, results: Path, url: str) -> Transfer:
    """Upload the artifacts of a workspace that an object store lacks, and its results file; collect what nobody needs.

    Raises:
        StoreError: if there is no such workspace.
        ObjectStoreError: if the store refuses, or is out of reach.
    """
    if not (workspace / "artifacts").is_dir():
        raise StoreError(f"--workspace {workspace}: no workspace of a run, which has a folder `artifacts` in it")
    artifacts = _open(workspace, url)
    moved = Transfer()
    for key in artifacts.keys():  # noqa: SIM118 - a store is no mapping
        if artifacts.is_shared(key):
            moved.present += 1
            continue
        try:
            artifacts.share((key,))
            moved.artifacts += artifacts.is_shared(key)
        except DamagedArtifactError as error:
            moved.damaged.append(str(error))
    if results.exists():
        with open_results(results):  # a file of something else is not sent
            pass
        artifacts.objects.write(_results_name(results), results)
        moved.results = 1
    moved.orphans = artifacts.collect()
    return moved


def pull(workspace: Path, results: Path, url: str) -> Transfer:
    """Fetch the artifacts that a workspace lacks, and merge the results of all who have pushed theirs.

    Raises:
        ObjectStoreError: if the store refuses, or is out of reach.
        StoreError: if results cannot be merged.
    """
    artifacts = _open(workspace, url)
    moved = Transfer()
    with artifacts.in_use():
        for key in artifacts.shared_keys():
            try:
                came = artifacts.fetch(key)
            except DamagedArtifactError as error:
                moved.damaged.append(str(error))
                continue
            moved.artifacts += came
            moved.present += not came
    with tempfile.TemporaryDirectory() as folder:
        for file in _fetch_results(artifacts.objects, Path(folder)):
            try:
                report = merge_results(results, [file])
            except WriteError:
                raise
            except StoreError as error:  # one person's file does not keep the others' away
                if str(file) not in str(error):
                    raise
                moved.damaged.append(str(error).replace(str(file), f"{url.rstrip('/')}/{_RESULTS}/{file.name}"))
                continue
            moved.results += 1
            moved.merged.add(report)
    return moved


def _fetch_results(objects: ObjectStore, folder: Path) -> Iterable[Path]:
    for item in objects.list(_RESULTS):
        file = folder / Path(item.path).name
        if objects.fetch(item.path, file) is not None:
            yield file


def _open(workspace: Path, url: str) -> SharedArtifacts:
    if not url or "://" not in url:
        raise ObjectStoreError(f"{url or 'URL'}: is no URL. Write s3://BUCKET/PREFIX or file:///FOLDER")
    return SharedArtifacts(workspace / "artifacts", ObjectStore(url, patience=_PATIENCE), SharedPlace(url))


def _results_name(results: Path) -> str:
    """One name for each file on each machine: copies of a file have one identity, and each may have gone on."""
    place = f"{platform.node()}\n{results.resolve()}"
    return f"{_RESULTS}/{hashlib.sha256(place.encode()).hexdigest()[:16]}.duckdb"
