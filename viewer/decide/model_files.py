"""The files of a model: where the run that made it has left them, and the commands that take it from there."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from viewer.results.lineage import StepOutcome

if TYPE_CHECKING:
    from viewer.results.results import Results

__all__ = ["ModelDelivery", "ModelFile", "model_files"]

_WEIGHTS = ("model.onnx", "model.onnx.data", "model.safetensors", "masks.safetensors")
"""What is of use outside: the network and its weights, in this order."""
_KEY = re.compile(r"[0-9a-f]{64}")
_MOST_MANIFESTS = 4000
"""Of a workspace with more artifacts the exported files are not looked for: it would take seconds."""
_DEFAULT_NAME = "results.duckdb"
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model."""

    path: str
    """Beside the results where it lies there, else in full."""
    size: int


@dataclass(frozen=True, slots=True)
class ModelDelivery:
    """A model's files, and the commands that package and reproduce it."""

    files: tuple[ModelFile, ...]
    package: str
    reproduce: str
    problem: str = ""
    """Why there are no files, or no commands: one sentence."""


def model_files(results: Results, key: str) -> ModelDelivery:
    """Return where a model is, and how it is taken from there.

    Args:
        results: those of the model.
        key: the model's.
    """
    workspace_text = results.snapshot.workspace
    runs_of = results.snapshot.runs_of
    if workspace_text is None or (runs_of and key not in runs_of):
        return ModelDelivery((), "", "", "This model was imported: its files are where it was imported from.")
    words = [_name(results, key)]
    place = [] if results.snapshot.path.name == _DEFAULT_NAME else ["--results", results.snapshot.path.name]
    targets = {context.target for context in results.snapshot.contexts if context.target}
    target = ["--target", results.context.target] if len(targets) > 1 and results.context.target else []
    folder = _UNFIT.sub("-", results.text.name(key)).strip("-.")[-60:] or "model"
    package = shlex.join(["python", "-m", "pipeline", "package", *words, f"deployed/{folder}", *target, *place])
    reproduce = shlex.join(["python", "-m", "pipeline", "reproduce", *words, *place])
    home = results.snapshot.path.absolute().parent
    folders = [Path(workspace_text).expanduser()]
    workspace = next((at for at in (home / folders[0], folders[0]) if (at / "artifacts").is_dir()), None)
    if workspace is None:
        missing = f"The folder with the models' files, {workspace_text}, is not beside these results on this machine."
        return ModelDelivery((), package, reproduce, missing)
    files = _files(workspace / "artifacts", key)
    problem = (
        ""
        if files
        else "The files of this model are not in the workspace: its run has not ended, or they were cleared up."
    )
    return ModelDelivery(
        tuple(ModelFile(_short(path, home), size) for path, size in files), package, reproduce, problem
    )


def _name(results: Results, key: str) -> str:
    """Return what the command line calls a model: its path, or the beginning of its key where several have that path."""
    names = Counter(node.name for node in results.forest if node.outcome is StepOutcome.DONE)
    name = results.forest[key].name
    return name if name and names[name] == 1 else key[:12]


def _files(artifacts: Path, key: str) -> list[tuple[Path, int]]:
    """Return the model's own files, and those of its export to ONNX where it has one of its own."""
    if not _KEY.fullmatch(key):
        return []
    own = artifacts / key[:2] / key
    folders = [own]
    if not (own / "model.onnx").is_file():
        folders = [*_exports(artifacts, key), own]
    files: list[tuple[Path, int]] = []
    for folder in folders:
        for name in _WEIGHTS:
            with suppress(OSError):
                path = folder / name
                files.append((path, path.stat().st_size))
    return files


_models: dict[Path, str] = {}
"""Folder of an artifact that was read -> the model that it is an export of; empty of other artifacts."""


def _exports(artifacts: Path, key: str) -> list[Path]:
    """Return the newest artifact that is the export of a model."""
    folders = list(artifacts.glob("??/*"))
    unread = [folder for folder in folders if folder not in _models]
    if len(unread) > _MOST_MANIFESTS:
        return []
    for folder in unread:
        with suppress(OSError, ValueError, AttributeError):
            manifest = json.loads((folder / "manifest.json").read_text())
            _models[folder] = str(manifest.get("model")) if manifest.get("what") == "export" else ""
    mine = [folder for folder in folders if _models.get(folder) == key and (folder / "model.onnx").is_file()]
    return sorted(mine, key=lambda folder: folder.stat().st_mtime)[-1:]


def _short(path: Path, home: Path) -> str:
    return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)
