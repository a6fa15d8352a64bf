"""What every executor must do. Subclass, provide `executor`, inherit the tests."""

import platform
from dataclasses import replace

import pytest

from pipeline.core import environment
from pipeline.engine.jobs import Done, Resources
from pipeline.engine.runner import run

TREE = {
    "base": {
        "op": "toy_base",
        "then": {
            "a": {"op": "toy_add", "then": {"b": {"op": "toy_add", "with": {"amount": 2}}}},
            "t": {"op": "toy_tune", "with": {"teacher": "base"}},
        },
    }
}


def ends(jobs, executor, artifacts, **options):
    """Path -> outcome, after all jobs ran."""
    with executor:
        return {job.path: outcome for job, outcome in run(jobs, executor, artifacts, **options) if outcome is not None}


class ExecutorContract:
    @pytest.fixture
    def executor(self, workplace):
        raise NotImplementedError("the subclass provides the executor")

    @pytest.fixture
    def again(self):
        """Make a second executor like the first."""
        raise NotImplementedError("the subclass provides the executor")

    def test_every_step_gets_an_artifact(self, executor, planned, operations, artifacts):
        jobs = operations(planned(TREE))
        outcomes = ends(jobs, executor, artifacts)
        assert all(isinstance(outcome, Done) and not outcome.cached for outcome in outcomes.values()), outcomes
        assert all(job.key in artifacts for job in jobs)
        manifest = artifacts.manifest(jobs[1].key)
        assert manifest["notes"]["added"] == 1.0
        assert manifest["environment"] == {"host": platform.node(), "versions": environment.versions()}

    def test_what_no_node_has_is_named_and_holds_up_nothing(self, executor, planned, operations, artifacts):
        base, other = operations(
            planned({"base": {"op": "toy_base"}, "other": {"op": "toy_base", "with": {"seed": 1}}})
        )
        greedy = replace(other, resources=Resources(gpus=1000))
        outcomes = ends([greedy, base], executor, artifacts)
        assert outcomes["other"].error.startswith(
            "No node has what the job needs (1000 GPUs, 1 processors). There are: "
        )
        assert isinstance(outcomes["base"], Done)

    def test_a_second_run_is_all_cached(self, executor, again, workplace, planned, operations, artifacts):
        jobs = operations(planned(TREE))
        ends(jobs, executor, artifacts)
        outcomes = ends(jobs, again(workplace), artifacts)
        assert all(isinstance(outcome, Done) and outcome.cached for outcome in outcomes.values())

    def test_a_failure_skips_its_descendants_only_and_is_not_remembered(
        self, executor, again, workplace, planned, operations, artifacts, tmp_path
    ):
        marker = tmp_path / "mended"
        tree = {
            "base": {
                "op": "toy_base",
                "then": {
                    "bad": {
                        "op": "toy_fail",
                        "with": {"marker": str(marker)},
                        "then": {"x": {"op": "toy_add", "then": {"y": {"op": "toy_tune"}}}},
                    },
                    "good": {"op": "toy_add"},
                },
            }
        }
        jobs = operations(planned(tree))
        outcomes = ends(jobs, executor, artifacts)
        kinds = {path: type(outcome).__name__ for path, outcome in outcomes.items()}
        assert kinds == {
            "base": "Done",
            "base/bad": "Failed",
            "base/bad/x": "Skipped",
            "base/bad/x/y": "Skipped",
            "base/good": "Done",
        }
        assert outcomes["base/bad"].error == "RuntimeError: told to fail"
        assert "toy_fail" in outcomes["base/bad"].traceback
        assert outcomes["base/bad/x/y"].because == "operation of 'base/bad' failed"
        marker.touch()
        outcomes = ends(jobs, again(workplace), artifacts)
        assert {path for path, outcome in outcomes.items() if not outcome.cached} == {
            "base/bad",
            "base/bad/x",
            "base/bad/x/y",
        }

    def test_the_same_jobs_make_the_same_bytes(
        self, executor, again, planned, operations, artifacts, workplace, tmp_path
    ):
        from pipeline.core.artifacts import ArtifactStore

        jobs = operations(planned(TREE))
        ends(jobs, executor, artifacts)
        elsewhere = replace(workplace, artifacts=tmp_path / "elsewhere")
        ends(list(jobs), again(elsewhere), ArtifactStore(elsewhere.artifacts))
        for job in jobs:
            one, two = artifacts.path(job.key), ArtifactStore(elsewhere.artifacts).path(job.key)
            assert {f.name: f.read_bytes() for f in one.iterdir()} == {f.name: f.read_bytes() for f in two.iterdir()}
