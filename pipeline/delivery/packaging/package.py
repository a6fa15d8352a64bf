"""Make a package of one model: written beside, tried, and put in place when it answers as the results do."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.delivery.packaging.branch import branch_text
from pipeline.delivery.packaging.card import write_cards
from pipeline.delivery.packaging.contents import write_contents
from pipeline.delivery.packaging.deployed import deployed_model
from pipeline.delivery.packaging.package_error import PackageError
from pipeline.delivery.packaging.provenance import provenance_of, write_provenance
from pipeline.delivery.packaging.trial import try_package

__all__ = ["RECIPE", "Package", "package"]

RECIPE = "recipe.yaml"


@dataclass(frozen=True, slots=True)
class Package:
    """A package that was made."""

    folder: Path
    model_key: str
    name: str
    files: dict[str, int]
    """Name -> bytes."""
    compared: int
    """Instances on which its answers are those of the results."""


def package(
    results: Path, model: str, folder: Path, *, workspace: Path | None = None, target: str | None = None
) -> Package:
    """Put a model as it is deployed into a folder, with all that using it takes.

    Args:
        results: the results file.
        model: name, or the beginning of the key.
        folder: where; it must not be there, or be empty.
        workspace: where the models are; None: that of the last run.
        target: runtime, where it was evaluated on several.

    Raises:
        StoreError: if there is no such model, or several, or its results are not finished.
        PackageError: if the folder holds something, the model's files are gone, or the package does not answer as the results do.
        DataError: if its data are not known here, or have changed.
    """
    _check_empty(folder)
    deployed = deployed_model(results, model, workspace=workspace, target=target)
    place = folder.absolute()
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}-"))
    try:
        with deployed.artifacts.in_use():
            program = write_contents(deployed, scratch)
        (scratch / RECIPE).write_text(branch_text(deployed.facts), encoding="utf-8")
        write_cards(deployed, program, scratch)
        write_provenance(scratch, provenance_of(deployed.facts, deployed.weights))
        compared = try_package(deployed, scratch)
        scratch.chmod(0o755)
        _check_empty(folder)
        if place.exists():
            place.rmdir()
        scratch.rename(place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    files = {file.relative_to(folder).as_posix(): file.stat().st_size for file in sorted(folder.rglob("*"))}
    return Package(folder, deployed.facts.key, deployed.facts.name, files, compared)


def _check_empty(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        raise PackageError(f"{folder}: the folder is not empty. Name another, or empty it first")
    if folder.exists() and not folder.is_dir():
        raise PackageError(f"{folder}: is a file. Name a folder")
