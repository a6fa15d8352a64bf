"""Plans of toy operations and the workplace to run them."""

from pathlib import Path

import pytest

from ops.core.operation import OPERATIONS, Format
from pipeline.core.artifacts import ArtifactStore
from pipeline.datasets.interface import Interface
from pipeline.datasets.open import open_dataset
from pipeline.engine.jobs import Workplace
from pipeline.engine.schedule import jobs_of
from pipeline.engine.stage import Planning
from pipeline.plan.planner import make_plan
from pipeline.plan.recipe import parse
from pipeline.plan.steps import Facts
from pipeline.sweep.preflight import code_of_operations, with_content
from tests.pipeline import toy


@pytest.fixture
def facts(workplace):
    entries = {"toy": toy.ENTRY, "wide": {**toy.ENTRY, "name": "wide", "width": 5}}
    return Facts(
        task="image-classification",
        data_fingerprint="d0",
        models={name: with_content(entry, workplace.data_folder) for name, entry in entries.items()},
        default_model="toy",
        accepts={"onnxruntime": Format.ONNX},
        known_targets=("onnxruntime", "pytorch", "openvino"),
        export_version=1,
        channel_multiple=8,
        interface=Interface.of(open_dataset(workplace.dataset, workplace.data_folder)).plain(),
        code=code_of_operations(OPERATIONS[name] for name in OPERATIONS if name.startswith("toy_")),
    )


@pytest.fixture
def planned(facts):
    """Plan a tree with the given recipe words and facts."""

    def make(tree, *, facts=facts, **words):
        return make_plan(parse({"name": "toy", "tree": tree, **words}), facts)

    return make


@pytest.fixture
def operations():
    """Only the jobs that make models: evidence has tests of its own."""

    def make(plan):
        return [job for job in jobs_of(Planning(plan, {"onnxruntime": {}})) if job.makes_model]

    return make


@pytest.fixture
def workplace(tmp_path: Path):
    (tmp_path / "scratch").mkdir()
    return Workplace(
        artifacts=tmp_path / "artifacts",
        scratch=tmp_path / "scratch",
        data_folder=tmp_path / "data",
        dataset={"name": "digits", "dataset": "digits"},
        targets={},
        plugins=("tests.pipeline.toy",),
    )


@pytest.fixture
def artifacts(workplace):
    return ArtifactStore(workplace.artifacts)
