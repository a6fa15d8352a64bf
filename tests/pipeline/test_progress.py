"""How long jobs are expected to take: the same in a plan and while a run goes on."""

import pytest

from pipeline.engine.jobs import Job
from pipeline.engine.progress import ExpectedSeconds, JobProgress

PAST = {("operation", "train"): 8.0, ("predict", "train"): 2.0, ("predict", "prune"): 4.0, ("predict", "load"): 9.0}


def job(stage, model, key=""):
    return Job(key or f"{stage} of {model}", stage, model, model, (), None)


@pytest.mark.parametrize(
    ("stage", "op", "key", "seconds"),
    [
        ("operation", "train", "m", 8.0),
        ("operation", "quantize", "m", None),
        ("predict", "prune", "", 4.0),
        ("predict", "quantize", "", 4.0),
        ("tensors", "train", "", None),
    ],
)
def test_evidence_about_a_new_operation_takes_as_long_as_about_others_and_the_operation_itself_is_unknown(
    stage, op, key, seconds
):
    assert ExpectedSeconds(PAST).of(job(stage, "m", key), op) == seconds


def test_a_run_expects_what_its_plan_did():
    jobs, ops = [job("operation", "a", "a"), job("predict", "a"), job("predict", "b")], {"a": "train", "b": "quantize"}
    expected = ExpectedSeconds(PAST)
    progress = JobProgress(jobs, ops, PAST, workers=2)
    assert progress.remaining_seconds() == sum(expected.of(each, ops[each.model]) for each in jobs) / 2 == 7.0
    unknown = job("operation", "b", "b")
    progress = JobProgress([*jobs, unknown], ops, PAST, workers=1)
    assert progress.remaining_seconds() is None, "nothing tells yet how long it takes"
    progress.start(jobs[0])
    progress.end(jobs[0])
    assert progress.remaining_seconds() == pytest.approx(6.0, abs=1.0), "as long as the jobs of this run"
