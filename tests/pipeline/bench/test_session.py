"""Sessions with real processes: what is measured, what is refused, and what is noticed."""

import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.machine.lock import measuring
from pipeline.measure.metrics.api import Scenario
from pipeline.measure.timing.preset import parse_preset
from pipeline.measure.timing.records import measures_of, records_of, timings_of
from pipeline.measure.timing.results import Candidate, Role, Verdict, load_session, save_session
from pipeline.measure.timing.session import SessionError, run_session
from pipeline.store.records.run_records import Measurement
from tests.pipeline.bench import odd_targets
from tests.pipeline.bench.simulated import SimulatedMachine
from tests.pipeline.nets import PLUGIN

ORT = {"ort": {"target": "onnxruntime"}}


def preset(**changes):
    return parse_preset({
        "name": "test", "conditions": [{"scenario": "single_stream", "runs": 12}], "rounds": 6, "max_rounds": 6,
        "seconds": 0.05, "max_seconds": 600, "warmup": {"runs": 2, "seconds": 0, "cap": 0.2}, "twins": 1, **changes,
    })  # fmt: skip


@pytest.fixture
def session(nets, tmp_path):
    def run(candidates, *, targets=ORT, inputs=nets.inputs, **options):
        return run_session(
            candidates, targets=targets, inputs=inputs, folder=tmp_path, lock=tmp_path / "lock",
            **{"preset": preset(), "plugins": (odd_targets.PLUGIN,), **options},
        )  # fmt: skip

    return run


def candidate(key, path, parent="base", target="ort"):
    return Candidate(key, "base", None if key == "base" else parent, target, path)


@pytest.fixture(scope="module")
def measured(nets, tmp_path_factory):
    """One session of a base, its int8, a model that gives NaN and one that the runtime rejects."""
    folder = tmp_path_factory.mktemp("session")
    candidates = [
        candidate("base", nets.float32), candidate("int8", nets.int8), candidate("nan", nets.nan, "int8"),
        candidate("broken", nets.broken),
    ]  # fmt: skip
    conditions = [{"scenario": "single_stream", "runs": 12}, {"scenario": "offline", "batch": 8, "runs": 6}]
    told = []
    result = run_session(
        candidates, targets=ORT, inputs=nets.inputs, folder=folder, lock=folder / "lock",
        preset=preset(conditions=conditions), progress=lambda *facts: told.append(facts),
    )  # fmt: skip
    return result, told


class TestMeasured:
    def test_every_model_is_measured_under_every_condition(self, measured):
        result, _ = measured
        found = {(s.case.model_key, s.case.scenario.value, s.role.value) for s in result.samples}
        assert found == {
            (key, scenario, role)
            for scenario in ("single_stream", "offline")
            for key, role in (("base", "model"), ("base", "twin"), ("int8", "model"), ("nan", "model"))
        }

    def test_every_run_is_there_with_its_round(self, measured):
        for samples in measured[0].samples:
            assert len(samples.wall_ns) == len(samples.cpu_ns) == len(samples.round) == len(samples.kept) >= 6
            assert sorted(set(samples.round)) == list(range(6))
            assert (samples.wall_ns > 0).all()
            assert samples.load_seconds > 0
            assert samples.peak_bytes > 0
            assert samples.runtime["runtime"] == "onnxruntime"
            if samples.case.scenario is Scenario.SINGLE_STREAM:
                assert len(samples.wall_ns) >= 12

    def test_a_model_that_the_runtime_rejects_fails_alone(self, measured):
        result, _ = measured
        assert {failure.case.model_key for failure in result.failures} == {"broken"}
        assert len(result.failures) == 2
        assert "ONNX Runtime refuses the model" in result.failures[0].error

    def test_outputs_that_are_not_numbers_get_no_latency(self, measured):
        result, _ = measured
        assert {s.case.model_key for s in result.samples if not s.valid} == {"nan"}
        measures = measures_of(result)
        assert ("nan", "ort") not in measures
        assert {spec.name for spec, _ in measures["int8", "ort"]} >= {
            "latency_p50", "cpu_time_p50", "throughput", "load_time", "first_run_time", "peak_memory", "speedup",
            "speedup_to_parent",
        }  # fmt: skip

    def test_the_models_are_compared_with_base_parent_and_twin(self, measured):
        relations = {(c.case.model_key, c.relation, c.against_key, c.clock) for c in measured[0].comparisons}
        expected = {("int8", "base", "base"), ("int8", "parent", "base"), ("nan", "base", "base"),
                    ("nan", "parent", "int8"), ("base", "itself", "base")}  # fmt: skip
        assert relations == {(*relation, clock) for relation in expected for clock in ("cpu", "wall")}

    def test_progress_tells_what_is_measured(self, measured):
        assert measured[1] == [
            (0, 2, "5 processes on ort, batch 1, 1 thread"), (1, 2, "5 processes on ort, batch 8, 1 thread"),
        ]  # fmt: skip

    def test_a_session_survives_the_disk(self, measured, tmp_path):
        result, _ = measured
        save_session(result, tmp_path)
        again = load_session(tmp_path)
        assert again.comparisons == result.comparisons
        assert again.failures == result.failures
        for name in ("session", "preset", "started_at", "finished_at"):
            assert getattr(again, name) == getattr(result, name)
        for mine, other in zip(again.samples, result.samples, strict=True):
            assert (mine.case, mine.role, mine.joules) == (other.case, other.role, other.joules)
            for name in ("wall_ns", "cpu_ns", "round", "kept"):
                np.testing.assert_array_equal(getattr(mine, name), getattr(other, name))

    def test_a_figure_is_that_of_its_runs(self, measured):
        result, _ = measured
        own = [s for s in result.samples if s.case.model_key == "int8" and s.case.batch == 1]
        timings = timings_of(own)
        kept = np.concatenate([s.wall_ns[s.kept] for s in own])
        records = records_of(result, device="d", run_id="r")
        latency = next(
            r for r in records if isinstance(r, Measurement) and (r.metric, r.model_key) == ("latency_p50", "int8")
        )
        assert latency.value == pytest.approx(np.percentile(kept, 50, method="inverted_cdf") / 1e6)
        assert latency.count == len(kept) == len(timings.wall_seconds)
        assert latency.evidence_key == result.session


def test_only_what_is_wanted_is_measured_and_its_relatives_beside_it(session, nets):
    candidates = [candidate("base", nets.float32), candidate("p", nets.int8), candidate("c", nets.float32, "p")]
    result = session(candidates, selection={"c"})
    roles = {(s.case.model_key, s.role) for s in result.samples}
    assert roles == {("c", Role.MODEL), ("p", Role.REFERENCE), ("base", Role.REFERENCE), ("base", Role.TWIN)}
    assert set(measures_of(result)) == {("c", "ort")}


def test_a_smoke_session_measures_models_alone(session, nets):
    result = session(
        [candidate("base", nets.float32), candidate("int8", nets.int8)],
        preset=preset(compare=False),
        selection={"int8"},
    )
    assert [(s.case.model_key, s.role) for s in result.samples] == [("int8", Role.MODEL)]
    assert result.comparisons == ()


def test_a_smoke_session_does_not_wait_for_the_machine(session, nets, tmp_path):
    with measuring(tmp_path / "lock"):
        result = session([candidate("base", nets.float32)], preset=preset(alone=False, compare=False))
    assert len(result.samples) == 1


def test_each_launch_is_a_fresh_process(session, nets):
    result = session([candidate("base", nets.float32)], preset=preset(launches=2, twins=0))
    assert [(s.launch, len(set(s.round))) for s in result.samples] == [(0, 6), (1, 6)]


def test_a_model_that_needs_half_the_processors_time_is_twice_as_fast(session, tmp_path):
    """By its own time: what else the processor does at the same time does not count."""
    for name, seconds in (("base", "0.002"), ("half", "0.001")):
        (tmp_path / name).write_text(seconds)
    result = session(
        [candidate(name, tmp_path / name) for name in ("base", "half")],
        targets={"ort": {"target": "costing_test_target"}},
        preset=preset(limits={"foreign_cores": 1000, "wall_over_cpu": 1000}),
    )
    (found,) = [c for c in result.comparisons if (c.case.model_key, c.relation, c.clock) == ("half", "base", "cpu")]
    assert found.low <= found.ratio <= found.high
    assert found.ratio == pytest.approx(2, rel=0.2)


def odd(name, key="base", target=None):
    return candidate(key, Path(__file__), target=target or name)


def odd_session(session, name, **changes):
    entries = {name: {"target": f"{name}_test_target"}}
    return session([odd(name)], targets=entries, preset=preset(twins=0, **changes))


def test_a_model_that_waits_for_its_core_is_contended(session):
    (samples,) = odd_session(session, "waiting", max_rounds=8).samples
    assert samples.contended
    assert samples.kept.all()  # nothing better is there
    assert len(set(samples.round)) == 8  # rounds were added, up to the most


def test_waiting_for_an_accelerator_is_no_contention(session):
    result = session(
        [odd("gpu")],
        targets={"gpu": {"target": "gpu_test_target"}},
        preset=preset(twins=1, limits={"foreign_cores": 1000}),
    )
    assert [samples.contended for samples in result.samples] == [False, False]
    assert [(c.relation, c.clock) for c in result.comparisons] == [("itself", "wall")]


def test_a_base_that_becomes_slower_has_drifted(session):
    (samples,) = odd_session(session, "slowing", max_rounds=7).samples
    assert samples.drifted
    assert samples.drift > 0.05
    assert len(set(samples.round)) == 7


def test_a_process_that_dies_is_a_failure_and_the_others_go_on(session):
    entries = {"t": {"target": "steady_test_target"}, "d": {"target": "dying_test_target"}}
    result = session([odd("steady", target="t"), odd("dying", target="d")], targets=entries, preset=preset(twins=0))
    assert [s.case.target for s in result.samples] == ["t"]
    assert [failure.error for failure in result.failures] == ["The measuring process was killed by signal 9"]


def test_what_a_runtime_prints_does_not_disturb_the_answers(session, tmp_path):
    assert len(odd_session(session, "printing").samples) == 1
    assert "noise on standard output" in (tmp_path / "0-0-0.log").read_text()


class TestBudget:
    """On a simulated machine: a run takes a millisecond, and nothing else takes any time but the start of processes."""

    @pytest.fixture
    def timed(self, monkeypatch, session, tmp_path):
        """A function that times a base and so many models of it: the seconds that it took, and the runs of each."""
        machine = SimulatedMachine(monkeypatch)
        model = tmp_path / "model"
        model.write_text("0.001")

        def run(children=0, **changes):
            start = machine.seconds()
            models = [candidate("base", model), *(candidate(f"m{number}", model) for number in range(children))]
            result = session(models, preset=preset(twins=0, seconds=1, max_seconds=3, max_runs=100_000, **changes))
            assert all(len(set(samples.round)) == 6 for samples in result.samples)
            return machine.seconds() - start, [len(samples.wall_ns) for samples in result.samples]

        return run

    def test_without_one_the_runs_take_their_seconds(self, timed):
        seconds, runs = timed()
        assert runs == [pytest.approx(1000, abs=6)]
        assert seconds == pytest.approx(0.2 + 1 + 6 * 0.04, abs=0.05)  # opening, runs, priming

    def test_shortens_the_runs(self, timed):
        """Half a second is a fifth for opening, then 6 x 40 ms of priming: what is left is timed."""
        seconds, (runs,) = timed(seconds_per_model=0.5)
        assert seconds <= 0.55
        assert 12 <= runs < 100

    def test_grows_with_the_models(self, timed):
        """Of many models each is timed as long as of few: short bursts find cold caches, and too few runs have no median."""
        (_, few), (_, many) = timed(1, seconds_per_model=1), timed(5, seconds_per_model=1)
        assert [len(few), len(many)] == [2, 6]
        assert np.median(many) == pytest.approx(np.median(few), rel=0.05)


def test_no_budget_at_all_leaves_two_runs_in_each_of_six_rounds(session):
    """The rounds that an interval needs and the runs that a median needs are the least, however slow the models are."""
    (samples,) = odd_session(session, "steady", rounds=12, max_rounds=12, seconds_per_model=1e-3).samples
    assert samples.round.tolist() == [number for number in range(6) for _ in range(2)]


def test_every_target_is_timed_by_the_same_loop(session, nets):
    pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    targets = {name: {"target": name} for name in ("onnxruntime", "openvino", "pytorch")}
    files = {"onnxruntime": nets.float32, "openvino": nets.float32, "pytorch": nets.folder}
    result = session(
        [candidate("base", file, target=name) for name, file in files.items()], targets=targets,
        preset=preset(twins=0), plugins=(PLUGIN,),
    )  # fmt: skip
    assert result.failures == ()
    assert {s.case.target: s.runtime["runtime"] for s in result.samples} == {name: name for name in targets}
    assert all(s.cpu_ns.sum() > 0.5 * s.wall_ns[s.kept].min() * len(s.cpu_ns) for s in result.samples)
    assert set(measures_of(result)) == {("base", name) for name in targets}


def test_few_runs_are_as_few_rounds(session):
    conditions = [{"scenario": "offline", "batch": 8, "runs": 4}]
    (samples,) = odd_session(session, "steady", conditions=conditions, seconds=1e-6).samples
    assert samples.round.tolist() == list(range(4))


def test_a_target_that_is_not_here_fails_with_its_reason(session):
    result = odd_session(session, "absent")
    assert result.samples == ()
    assert [failure.error for failure in result.failures] == ["this machine has no such device"]


def test_no_samples_to_run_on_is_said(session, nets, tmp_path):
    np.savez(tmp_path / "none.npz", pixel_values=np.zeros((0, 3, 24, 24), np.float32))
    result = session([candidate("base", nets.float32)], inputs=tmp_path / "none.npz", preset=preset(twins=0))
    assert [failure.error.partition(": ")[2] for failure in result.failures] == [
        "there are no samples to run a model on"
    ]


def test_wrong_candidates_are_refused_before_anything_runs(session, nets):
    with pytest.raises(SessionError, match=re.escape("Model base: target 'other' has no entry")):
        session([candidate("base", nets.float32, target="other")])
    with pytest.raises(SessionError, match=re.escape("Model base is given twice for target 'ort'")):
        session([candidate("base", nets.float32)] * 2)


def test_verdicts_are_the_words_of_the_store():
    assert {verdict.value for verdict in Verdict} == {"faster", "slower", "no difference", "unknown"}
