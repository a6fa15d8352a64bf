"""A small network with every kind of layer, artifacts of it, and jobs to observe them: for tests of what is inside models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ops.core.model import Architecture
from ops.core.operation import OPERATIONS, Batch, Format, OnnxModel, TorchModel
from pipeline.core.artifacts import ArtifactStore
from pipeline.core.keys import Key, digest
from pipeline.engine.jobs import Job
from pipeline.engine.stage import NoParameters, Stage
from pipeline.layers.records_file import CHANGES, DISTRIBUTIONS, FINDINGS, load_records
from pipeline.models import storage
from pipeline.models.api import BUILDERS, Need, builder
from pipeline.models.onnx_export import export_onnx
from pipeline.stages.activation_stats import ACTIVATIONS, ActivationParams
from pipeline.stages.layer_comparison import COMPARISON, ComparisonParams
from pipeline.stages.layer_sources import Sources
from pipeline.stages.tensor_stats import LAYERS
from pipeline.store.records.run_records import Change, Distribution, Finding

CLASSES = ("zero", "one", "two")
SIDE = 12
ARCHITECTURE = Architecture(
    "small", "layers_bench", {}, "image-classification", CLASSES, {"pixel_values": ("float32", (1, SIDE, SIDE))}
)


if "layers_bench" not in BUILDERS:

    @builder
    def layers_bench(need: Need) -> Any:
        """Convolutions with and without normalisation, linear layers on sequences and on vectors, a layer norm."""
        return network()


def network() -> Any:
    """The unedited network, with running statistics that differ from those of a new one."""
    import torch
    from torch import nn

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 16, 3, bias=False)
            self.bn = nn.BatchNorm2d(16)
            self.relu = nn.ReLU()
            self.conv2 = nn.Conv2d(16, 8, 3)
            self.bn2 = nn.BatchNorm2d(8)
            self.mixer = nn.Sequential(nn.Linear(8, 32), nn.LayerNorm(32), nn.Linear(32, 32))
            self.head = nn.Linear(32, len(CLASSES))

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            x = self.relu(self.bn(self.conv(pixel_values)))
            x = self.relu(self.bn2(self.conv2(x)))
            x = self.mixer(x.flatten(2).transpose(1, 2))
            return self.head(x.mean(1))

    return Small()


class Pictures:
    """Noise with a stripe that depends on the class: the part of a data set that jobs use."""

    name, task, fingerprint = "pictures", "image-classification", "p0"
    classes = CLASSES
    inputs = ARCHITECTURE.inputs

    def size(self, split: str) -> int:
        """The same number in every split."""
        return 96

    def batches(
        self, split: str, *, batch_size: int, samples: int | None = None, seed: int | None = None, augment: bool = False
    ) -> Iterator[Batch]:
        """As the protocol says."""
        rng = np.random.default_rng({"train": 0, "calibration": 1, "evaluation": 2}[split])
        labels = rng.integers(0, len(CLASSES), 96)
        images = rng.standard_normal((96, 1, SIDE, SIDE)).astype(np.float32) * 0.3
        images[np.arange(96), 0, labels * 3] += 2
        for start in range(0, min(samples or 96, 96), batch_size):
            rows = slice(start, min(start + batch_size, samples or 96))
            ids = tuple(f"{split}-{row}" for row in range(96))[rows]
            yield Batch(ids, {"pixel_values": images[rows]}, {"labels": labels[rows]})


@dataclass
class Bench:
    """Artifacts under one folder, made by operations called directly, and observed by the real jobs."""

    root: Path
    dataset: Pictures = field(default_factory=Pictures)

    def __post_init__(self) -> None:
        self.artifacts = ArtifactStore(self.root / "artifacts")
        self.sources: dict[str, Sources] = {}
        self.workplace = type("Workplace", (), {"threads": 1, "seed": 0})()

    def base(self) -> str:
        """Make the root."""
        import torch

        torch.manual_seed(0)
        module = network().eval()
        for norm in (module.bn, module.bn2):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            norm.weight.data.normal_(1, 0.3)
            norm.bias.data.normal_()
        self.put("base", TorchModel(module, ARCHITECTURE), None)
        return "base"

    def apply(self, name: str, parent: str, op: str, **params: Any) -> str:
        """Apply a registered operation to a model of the bench."""
        spec = OPERATIONS[op]
        source = self.sources[parent]
        folder = self.artifacts.path(source.model)
        if spec.consumes is Format.ONNX and storage.format_of(folder) is Format.TORCH:
            assert source.export is not None
            folder = self.artifacts.path(source.export)
        model = spec.apply(storage.load(folder), self.context(name), **spec.params.model_validate(params).model_dump())
        self.put(name, model, parent)
        return name

    def context(self, name: str) -> Any:
        """A context whose data are the pictures."""
        from pipeline.stages.operation_context import WorkerContext

        scratch = self.root / "scratch" / name
        scratch.mkdir(parents=True, exist_ok=True)
        references = {"base": lambda: storage.load(self.artifacts.path(self.sources["base"].model))}
        return WorkerContext(
            seed=0, scratch=scratch, dataset=lambda: self.dataset, build=lambda *_: None, references=references
        )

    def put(self, name: str, model: TorchModel | OnnxModel, parent: str | None) -> None:
        """Store a model, its export if it is a network, and observe it."""
        key = self._key("model", name)
        with self.artifacts.publish(key, {}) as folder:
            storage.save(model, folder)
        above = self.sources[parent] if parent else None
        export = above.export if above else None
        if isinstance(model, TorchModel):
            export = self._key("export", name)
            with self.artifacts.publish(export, {}) as folder:
                export_onnx(model, folder / storage.ONNX_FILE)
                (folder / storage.ARCHITECTURE_FILE).write_bytes(
                    (self.artifacts.path(key) / storage.ARCHITECTURE_FILE).read_bytes()
                )
        self.sources[name] = Sources(
            model=key,
            root=above.root if above else key,
            layers=self._key("layers", name),
            activations=self._key("activations", name),
            origin=key if isinstance(model, TorchModel) or above is None else above.origin,
            export=export,
        )
        self.observe(name)

    def observe(self, name: str) -> None:
        """Run the jobs that make the evidence."""
        source = self.sources[name]
        self._job(LAYERS, source.layers, source.model, NoParameters())
        self._job(ACTIVATIONS, source.activations, source.model, ActivationParams(source))

    def compare(self, name: str, *references: str, op: str = "") -> tuple[list[Change], list[Finding]]:
        """Run the job that compares a model with others."""
        params = ComparisonParams(
            op,
            parent=self.sources[references[0]].model if references else None,
            sources=self.sources[name],
            references=tuple(self.sources[reference] for reference in references),
        )
        key = self._key("compare", name, *references)
        self._job(COMPARISON, key, self.sources[name].model, params)
        folder = self.artifacts.path(key)
        return load_records(Change, folder / CHANGES), load_records(Finding, folder / FINDINGS)

    def distributions(self, name: str) -> list[Distribution]:
        """What is recorded of a model alone."""
        source = self.sources[name]
        return [
            *load_records(Distribution, self.artifacts.path(source.layers) / DISTRIBUTIONS),
            *load_records(Distribution, self.artifacts.path(source.activations) / DISTRIBUTIONS),
        ]

    def _job(self, stage: Stage[Any], key: Key, model: Key, params: Any) -> None:
        if key in self.artifacts:
            return
        scratch = self.root / "scratch" / key[:8]
        scratch.mkdir(parents=True, exist_ok=True)
        job = Job(key, stage.name, "bench", model, (), params)
        with self.artifacts.publish(key, {}) as folder:
            stage.make(self, job, folder, scratch)

    def _key(self, *identity: str) -> Key:
        return digest({"bench": list(identity)})
