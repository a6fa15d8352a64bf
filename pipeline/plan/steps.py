"""A plan: the steps that a recipe gives, and the facts that their keys are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.core.operation import Format, Processor
from pipeline.core.keys import Key, evidence_key
from pipeline.core.machine.libraries import EXPORTER, releases
from pipeline.plan.recipe import Recipe

SEED = "seed"
"""What any step that draws random numbers may be given under `with`, besides its operation's parameters."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about the world outside the recipe that planning must know."""

    task: str
    data_fingerprint: str
    models: Mapping[str, Mapping[str, Any]]
    """conf/model entries by name. An entry with local weights carries `content`, the digest of its files."""
    default_model: str | None
    accepts: Mapping[str, Format]
    """Target name -> the format that it opens, for the recipe's targets that exist."""
    known_targets: tuple[str, ...]
    export_version: int
    channel_multiple: int
    """What suits all targets: `pipeline.targets.api.Target.channel_multiple`."""
    profilers: frozenset[str] = frozenset()
    """Targets whose runtime tells the time of every layer."""
    interface: Mapping[str, Any] = field(default_factory=dict)
    """`pipeline.datasets.interface.Interface.plain`: the part of the data set that a model is built to fit."""
    contents: Mapping[str, str] = field(default_factory=dict)
    """Digest of the files and code behind model entries that steps write out, by `entry_id`."""
    code: Mapping[str, str] = field(default_factory=dict)
    """Operation -> digest of its code, for those of the recipe that are a person's own; ours have versions."""
    libraries: Mapping[str, str] = field(default_factory=dict)
    """Distribution -> release (`2.13`), of those that decide results (`pipeline.core.machine.libraries`)."""
    processor: Processor = field(default_factory=lambda: Processor("uint8", reduce_range=True))
    runtimes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Target -> versions, or the code, of what runs models on it."""
    device: str = ""
    """Short name of the machine that runs models."""
    has_labels: bool = True
    """Whether the task says what is right."""
    has_instances: bool = True
    """Whether the data hold inputs as models will see them; False: random numbers in their place."""
    evaluation_sets: Mapping[str, str] = field(default_factory=dict)
    """Name -> identity of the content of each evaluation set beside the data set's own."""

    def export_key(self, model: Key) -> Key:
        """Key of a torch model's ONNX export, as it is made in this run."""
        return export_key(model, self.export_version, releases(EXPORTER, self.libraries))


@dataclass(frozen=True, slots=True)
class Step:
    """One distinct model of the plan, and how it is made."""

    key: Key
    path: str
    parent: Key | None
    root: Key
    depth: int
    op: str
    kind: str
    version: int
    params: Mapping[str, Any]
    references: Mapping[str, Key]
    """Parameter -> key of the other model that it names."""
    seed: int
    """The one that the step gives, else that of its nearest ancestor which gives one, else the recipe's."""
    format: Format
    export: Key | None
    """Key of the ONNX export of the parent, where this step takes ONNX and the parent is a torch model."""
    gives_seed: bool = False
    settled: tuple[str, ...] = ()
    """Parameters that were left open and that the plan decided for the processor."""

    @property
    def written(self) -> dict[str, Any]:
        """The parameters as people read them: with the seed, where the step gives one."""
        return {**self.params, SEED: self.seed} if self.gives_seed else dict(self.params)


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps, parents before children; a step that two branches share appears once, `aliases` has its other paths."""

    recipe: Recipe
    facts: Facts
    steps: tuple[Step, ...]
    aliases: Mapping[str, Key]
    omissions: Mapping[str, str] = field(default_factory=dict)
    """Path -> why a branch of `ablate` or `permute` ends before it."""

    def by_key(self) -> dict[Key, Step]:
        """Steps by their key."""
        return {step.key: step for step in self.steps}


def export_key(model: Key, version: int, libraries: Mapping[str, str] | None = None) -> Key:
    """Key of a torch model's ONNX export, made by this version of ours and these releases of the exporter's libraries.

    Args:
        model: key of the torch model.
        version: that of our export.
        libraries: name -> release of the exporter's libraries.
    """
    return evidence_key("export", version=version, model=model, libraries=dict(libraries or {}))
