"""A model as it is deployed: what the results say of it, its files, and the data that it answered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops.core.model import Architecture
from ops.core.operation import Format
from pipeline.core.artifacts import ArtifactStore, DamagedArtifactError
from pipeline.core.keys import Key
from pipeline.delivery.packaging.package_error import PackageError
from pipeline.measure.predictions import load_predictions
from pipeline.models.storage import load_architecture
from pipeline.stages.export import EXPORT
from pipeline.stages.predict import PREDICT
from pipeline.store.queries.model_facts import Answer, ModelFacts, answers_of, model_facts
from pipeline.store.reader import open_results
from pipeline.sweep.compare_any_two import evidence_in, workspace_of
from pipeline.sweep.open_known import open_known
from pipeline.targets.api import TARGETS

if TYPE_CHECKING:
    import numpy as np

    from pipeline.datasets.api import Dataset

__all__ = ["COMPARED", "DeployedModel", "deployed_folder", "deployed_model"]

COMPARED = 64
"""Instances on which a package's answers are compared with those of the results."""


@dataclass(frozen=True, slots=True)
class DeployedModel:
    """One model with everything that its package is made of."""

    facts: ModelFacts
    folder: Path
    """The artifact that was measured: with an ONNX file, or of a torch model."""
    form: Format
    artifacts: ArtifactStore
    architecture: Architecture
    data: Dataset
    answers: list[Answer]
    """To some instances, as the results hold them."""
    outputs: dict[str, dict[str, np.ndarray]]
    """Instance -> what the network gave for it, by name; none where the observations were removed."""
    weights: dict[Key, dict[str, str]]
    """Model of the lineage -> file -> sha256, as far as their artifacts are there."""


def deployed_model(
    results: Path, text: str, *, workspace: Path | None = None, target: str | None = None
) -> DeployedModel:
    """Find a model, its files and its data.

    Args:
        results: the results file.
        text: name, or the beginning of the key.
        workspace: where the models are; None: that of the last run.
        target: runtime, where it was evaluated on several.

    Raises:
        StoreError: if there is no such model, or several, or it is not finished.
        PackageError: if its files are gone or damaged.
        DataError: if its data are not known here, or have changed.
    """
    with open_results(results) as db:
        facts = model_facts(db, text, target=target)
        answers = answers_of(db, facts, COMPARED)
        artifacts = ArtifactStore(workspace_of(db, results, workspace) / "artifacts")
    folder = deployed_folder(artifacts, facts)
    architecture = load_architecture(folder)
    data = open_known(results, facts.dataset.key)
    weights = {Key(each.key): digests for each in facts.lineage if (digests := _digests(artifacts, Key(each.key)))}
    outputs = _outputs(artifacts, facts)
    return DeployedModel(facts, folder, form_of(facts), artifacts, architecture, data, answers, outputs, weights)


def deployed_folder(artifacts: ArtifactStore, facts: ModelFacts) -> Path:
    """Return the artifact that was measured: with a model's ONNX file, or of the torch model itself.

    Raises:
        PackageError: if it is gone or damaged.
    """
    key = Key(facts.key)
    stored = next(each.format for each in facts.lineage if each.key == key)
    if stored != Format.ONNX and form_of(facts) is Format.ONNX:
        export = evidence_in(artifacts).get((EXPORT.name, key))
        if export is None:
            raise PackageError(
                f"'{facts.name}' has no ONNX file in {artifacts.root}: its export failed, or was removed. Run '{facts.run.recipe}' "
                "again with a target that takes ONNX"
            )
        key = export
    if key not in artifacts:
        raise PackageError(
            f"The files of '{facts.name}' are not in {artifacts.root}. Run its recipe again: python -m pipeline "
            f"recipe={facts.run.recipe}"
        )
    try:
        return artifacts.folder(key)
    except DamagedArtifactError as error:
        raise PackageError(str(error)) from None


def form_of(facts: ModelFacts) -> Format:
    """Return the form in which a model was measured: what its runtime takes."""
    accepts: Format = TARGETS[facts.target].accepts if facts.target in TARGETS else Format.ONNX  # type: ignore[attr-defined]
    return accepts


def _outputs(artifacts: ArtifactStore, facts: ModelFacts) -> dict[str, dict[str, np.ndarray]]:
    key = evidence_in(artifacts).get((PREDICT.name, Key(facts.key)))
    if key is None or key not in artifacts:
        return {}
    observed = load_predictions(artifacts.folder(key))
    return {name: {out: rows[at] for out, rows in observed.outputs.items()} for at, name in enumerate(observed.ids)}


def _digests(artifacts: ArtifactStore, key: Key) -> dict[str, str]:
    return artifacts.digests(key) if key in artifacts else {}
