"""Where a package comes from: digests of its files and of all that its model was made of, versions, the machine, figures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.core.errors import reason
from pipeline.core.json_text import parse_json
from pipeline.core.keys import Key
from pipeline.core.secret_values import hidden
from pipeline.core.user_code import code_of
from pipeline.delivery.packaging.package_error import PackageError
from pipeline.store.queries.model_facts import ModelFacts

__all__ = ["PROVENANCE", "local_files", "provenance_of", "read_provenance", "write_provenance"]

PROVENANCE = "provenance.json"
_FORMAT = 1


def provenance_of(facts: ModelFacts, weights: Mapping[Key, Mapping[str, str]]) -> dict[str, Any]:
    """Return what is known of a model's origin, JSON-ready, but for the digests of the package's own files.

    Args:
        facts: what the results say of it.
        weights: model of its lineage -> file -> sha256.
    """
    plugins = list(facts.run.config.get("plugins") or ())
    return {
        "format": _FORMAT,
        "model": {"key": facts.key, "name": facts.name, "path": facts.path, "task": facts.dataset.task},
        "data": {
            "name": facts.dataset.name,
            "fingerprint": facts.dataset.key,
            "splits": dict(facts.dataset.splits),
            "files": local_files(facts.run.config.get("dataset") or {}),
        },
        "lineage": [
            {
                "key": each.key,
                "path": each.path,
                "op": each.op,
                "version": each.version,
                "params": hidden(dict(each.params)),
                "references": dict(each.references),
                "files": dict(weights.get(Key(each.key), {})),
            }
            for each in facts.lineage
        ],
        "figures": [each._asdict() for each in facts.figures],
        "target": facts.target,
        "device": facts.device,
        "run": {
            "run_id": facts.run.run_id,
            "recipe": facts.run.recipe,
            "started_at": facts.run.started_at.isoformat(),
            "git_commit": facts.run.git_commit,
            "versions": dict(facts.run.versions),
            "host": dict(facts.run.host),
            "plugins": plugins,
            "executor": {name: (facts.run.config.get("executor") or {}).get(name) for name in ("workers", "threads")},
        },
        "code": {name: code_of(name) for name in plugins},
    }


def local_files(entry: Any) -> dict[str, str]:
    """Return the sha256 of every file that an entry names by its path."""
    texts = entry.values() if isinstance(entry, Mapping) else entry if isinstance(entry, list) else ()
    files: dict[str, str] = {}
    for value in texts:
        if isinstance(value, str) and value and Path(value).expanduser().is_file():
            files[value] = _sha256(Path(value).expanduser())
        else:
            files |= local_files(value)
    return files


def package_digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of a package, but for the provenance itself."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != PROVENANCE)
    return {file.relative_to(folder).as_posix(): _sha256(file) for file in files}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Model(_Part):
    key: str
    name: str
    path: str
    task: str


class _Data(_Part):
    name: str
    fingerprint: str
    files: dict[str, str]


class _Ancestor(_Part):
    key: str
    path: str
    op: str
    version: int
    params: dict[str, Any]
    files: dict[str, str]


class _Figure(_Part):
    metric: str
    value: float
    low: float | None
    high: float | None
    observations: int | None
    unit: str
    format: str
    role: str
    pairing: str
    primary: bool
    description: str


class _Run(_Part):
    recipe: str
    git_commit: str | None
    versions: dict[str, str]
    plugins: list[str]
    executor: dict[Literal["workers", "threads"], int | None]


class _Provenance(_Part):
    """What is read of a provenance, which may be anybody's."""

    format: Literal[1]
    model: _Model
    data: _Data
    lineage: Annotated[list[_Ancestor], Field(min_length=1)]
    figures: list[_Figure]
    target: str
    device: str
    run: _Run
    code: dict[str, str | None]
    files: dict[str, str]


def read_provenance(folder: Path) -> dict[str, Any]:
    """Read a package's provenance, and compare its files with what was written.

    Raises:
        PackageError: if it is no package, or a file was changed or is missing.
    """
    file = folder / PROVENANCE
    try:
        content = _Provenance.model_validate(parse_json(file.read_bytes())).model_dump()
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise PackageError(f"{file}: is not the provenance of a package ({where}: {problem['msg']})") from None
    except (OSError, ValueError) as error:
        raise PackageError(f"{file}: is not the provenance of a package ({reason(error)})") from None
    present = package_digests(folder)
    for name, digest in content["files"].items():
        if present.get(name) != digest:
            state = "is missing" if name not in present else "is not the file that was packaged (by its sha256)"
            raise PackageError(f"{folder / name}: {state}. Get the package anew")
    return content


def write_provenance(folder: Path, content: dict[str, Any]) -> None:
    """Write the provenance, with the digests of all files that are there: the last file of a package."""
    whole = {**content, "files": package_digests(folder)}
    (folder / PROVENANCE).write_text(json.dumps(whole, indent=1, allow_nan=False) + "\n", encoding="utf-8")
