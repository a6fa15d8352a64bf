"""Stages: the keys of their jobs are what they were, their jobs can go to another machine, and one of one's own fits in."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from ops.core.operation import Format, Processor
from ops.core.registry import UnknownNameError
from pipeline.core.keys import digest
from pipeline.engine.jobs import Job
from pipeline.engine.schedule import jobs_of
from pipeline.engine.stage import STAGES, NoParameters, Planning, Stage, StageError, register, stages_in_order
from pipeline.measure.timing.preset import parse_preset
from pipeline.plan.allocation import AllocatedStep
from pipeline.plan.candidates import SensitivityRequest, read_candidates
from pipeline.plan.planner import make_plan
from pipeline.plan.recipe import parse
from pipeline.plan.steps import Facts
from tests.pipeline.command import CONF, ROOT

GOLDEN = Path(__file__).with_name("stage_keys.json")
TARGETS = {name: {"name": name, "target": name} for name in ("onnxruntime", "pytorch")}
FACTS = Facts(
    task="image-classification",
    data_fingerprint="d0",
    models={"digits_resnet": {"name": "digits_resnet", "builder": "residual_cnn"}},
    default_model="digits_resnet",
    accepts={"onnxruntime": Format.ONNX, "pytorch": Format.TORCH},
    known_targets=tuple(TARGETS),
    export_version=3,
    channel_multiple=8,
    profilers=frozenset({"onnxruntime"}),
    interface={
        "task": "image-classification",
        "classes": ["a", "b"],
        "inputs": [["pixel_values", "float32", [1, 8, 8]]],
    },
    libraries={"torch": "2.13", "onnxruntime": "1.32", "torch-pruning": "1.6", "transformers": "5.23"},
    processor=Processor("uint8", True),
    runtimes={"onnxruntime": {"onnxruntime": "1.32.0"}, "pytorch": {"torch": "2.13.0"}},
    device="here",
    evaluation_sets={"gaussian_noise-3": "s0"},
)


def preset(name):
    return parse_preset({"name": name, "conditions": [{"scenario": "single_stream", "runs": 12}]}).model_dump(
        mode="json"
    )


@pytest.fixture(scope="module")
def planning():
    """Planning of tests/conf/recipe/small.yaml on a machine that does not exist.

    Keys of models depend on the versions of operations, which are pinned elsewhere; here they are digests of paths.
    """
    recipe = yaml.safe_load((CONF / "recipe" / "small.yaml").read_text())
    del recipe["dataset"]
    plan = make_plan(parse({**recipe, "targets": list(TARGETS), "evaluate": ["gaussian_noise-3"]}), FACTS)
    keys = {step.key: digest({"path": step.path}) for step in plan.steps} | {None: None}
    steps = [
        replace(
            step,
            key=keys[step.key],
            parent=keys[step.parent],
            root=keys[step.root],
            export=FACTS.export_key(keys[step.parent]) if step.export else None,
        )
        for step in plan.steps
    ]
    return Planning(
        replace(plan, steps=tuple(steps)),
        TARGETS,
        metrics=("accuracy", "size"),
        device="here",
        session_preset=preset("default"),
        rough_preset=preset("smoke"),
    )


def test_keys_are_what_they_were(planning):
    """They name what is in the workspaces and stores in the field: a key that changes must be another version of a stage."""
    keys = {" ".join(filter(None, (job.stage, job.path, job.target))): job.key for job in jobs_of(planning)}
    assert keys == json.loads(GOLDEN.read_text())


def test_a_job_comes_after_all_that_it_needs_and_before_the_next_model(planning):
    jobs = jobs_of(planning)
    before = set()
    for job in jobs:
        assert set(job.needs) <= before, job
        before.add(job.key)
    paths = [job.path for job in jobs]
    assert paths == sorted(paths, key=[step.path for step in planning.plan.steps].index)


def asked_for(planning):
    """The planning with the layers of the base measured, and one of its models allocated."""
    (base,) = [step for step in planning.plan.steps if step.path == "base"]
    candidates = read_candidates(
        {"magnitude_prune": {"sparsity": 0.5, "scope": "layer"}, "quantize": {"method": "static"}},
        FACTS,
        where="candidates",
        parent=Format.TORCH,
        ancestry=None,
    )
    request = SensitivityRequest(base.key, candidates, samples=64, targets=("onnxruntime",))
    allocated = AllocatedStep(
        path="base/pruned",
        parent="base",
        request={"budget": {"seconds": 0.5}},
        choices={"conv": candidates[0].label},
        damage="kl",
        predicted_damage=0.1,
        predicted_error=0.01,
        predicted={"seconds": 1.0},
        before={"seconds": 2.0},
        samples=64,
        target="onnxruntime",
    )
    return replace(planning, sensitivity=(request,), allocations=(allocated,))


def test_jobs_can_go_to_another_machine_as_json(planning):
    jobs = jobs_of(asked_for(planning))
    assert {job.stage for job in jobs} == set(STAGES)
    for job in jobs:
        adapter = TypeAdapter(STAGES[job.stage].params)
        text = adapter.dump_json(job.params)
        assert adapter.dump_json(adapter.validate_json(text)) == text
        if job.stage not in ("sensitivity", "sensitivity_times"):  # theirs hold tuples, as operations check them
            assert adapter.validate_json(text) == job.params


def test_a_candidate_is_measured_once_for_each_target_and_files_by_machine(planning):
    jobs = [job for job in jobs_of(asked_for(planning)) if job.stage.startswith("sensitivity")]
    assert sorted((job.stage, job.target, job.params.op) for job in jobs) == [
        ("sensitivity", "", "magnitude_prune"),
        ("sensitivity", "", "quantize"),
        ("sensitivity_times", "onnxruntime", "magnitude_prune"),
        ("sensitivity_times", "onnxruntime", "quantize"),
    ]
    elsewhere = replace(planning.plan, facts=replace(FACTS, device="there"))
    moved = [job for job in jobs_of(asked_for(replace(planning, plan=elsewhere))) if job.stage == "sensitivity"]
    same = {job.params.op: job.key for job in jobs if job.stage == "sensitivity"}
    assert {job.params.op: job.key == same[job.params.op] for job in moved} == {
        "magnitude_prune": True,
        "quantize": False,
    }


class Own(Stage[NoParameters]):
    """A stage whose jobs need the predictions."""

    name, version, params = "own_of_test", 1, NoParameters
    needs = ("measure",)

    def jobs(self, planning):
        for step in planning.plan.steps:
            yield Job(self.key(step.key), self.name, step.path, step.key, (step.key,), NoParameters(), "pytorch")

    def make(self, worker, job, folder, scratch):
        return {}


@pytest.fixture
def registered():
    yield register
    STAGES._items.pop("own_of_test", None)


def test_a_stage_comes_after_those_that_it_needs(planning, registered):
    registered(Own())
    names = [stage.name for stage in stages_in_order()]
    assert names.index("own_of_test") > names.index("measure") > names.index("predict") > names.index("export")
    jobs = jobs_of(planning)
    assert [job.stage for job in jobs if job.path == "base" and job.target == "pytorch"] == [
        "predict",
        "evaluate",
        "measure",
        "own_of_test",
    ]


def test_mistakes_of_a_stage_name_it(planning, registered):
    own = registered(Own())
    own.params = str
    with pytest.raises(
        StageError, match="stage 'own_of_test': gives a job of stage 'own_of_test' with NoParameters; its own have str"
    ):
        jobs_of(planning)
    own.needs = ("predicts",)
    with pytest.raises(UnknownNameError, match=r"No stage is called 'predicts'\. Did you mean 'predict'\?"):
        stages_in_order()
    own.needs = ("own_of_test",)
    with pytest.raises(StageError, match="stages need one another: own_of_test -> own_of_test"):
        stages_in_order()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda job: 5, "stage 'own_of_test': gives an object of type 'int', not a job"),
        (lambda job: replace(job, model="f" * 64), "gives a job of model ffffffffffff, which is not in the plan"),
        (
            lambda job: replace(job, target="pytorsh"),
            r"gives a job for target 'pytorsh', which the recipe does not name\. Did you mean 'pytorch'\?",
        ),
    ],
)
def test_a_job_that_no_plan_has_room_for_names_its_stage(planning, registered, monkeypatch, change, message):
    right = Own.jobs
    monkeypatch.setattr(Own, "jobs", lambda self, planning: [change(job) for job in right(self, planning)])
    registered(Own())
    with pytest.raises(StageError, match=message):
        jobs_of(planning)


def test_what_a_plug_in_raises_while_planning_is_one_line_that_names_its_place(tmp_path):
    source = (
        "from pipeline.engine.stage import NoParameters, Stage, register\n\n\n"
        "class Odd(Stage[NoParameters]):\n    name, params = 'odd', NoParameters\n\n"
        "    def jobs(self, planning):\n        raise KeyError('oops')\n\n"
        "    def make(self, worker, job, folder, scratch):\n        return {}\n\n\nregister(Odd())\n"
    )
    (tmp_path / "odd_stage.py").write_text(source)
    command = [sys.executable, "-m", "pipeline", "recipe=quickstart", "plan_only=true", "plugins=[odd_stage]"]
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}", "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: KeyError: 'oops' ({tmp_path}/odd_stage.py:8): raised by code of your own; --log-level debug shows where it was "
        "called\n"
    )
