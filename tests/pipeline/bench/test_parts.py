"""The parts of a session: presets, inputs, contention, energy, memory, the machine's lock."""

import itertools
import multiprocessing
import re
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from ops.core.operation import Batch
from pipeline.cli.configuration.compose import CONF
from pipeline.core.machine.cpu_quota import cores
from pipeline.core.machine.lock import BusyError, lock_file, measuring, working
from pipeline.measure.timing.contention import LoadMeter, busy_seconds
from pipeline.measure.timing.energy import EnergyMeter
from pipeline.measure.timing.inputs import InputsError, batches, mean_tokens, read_inputs, write_inputs
from pipeline.measure.timing.memory import peak_bytes, reset_peak
from pipeline.measure.timing.participant import BurstPlan
from pipeline.measure.timing.preset import Condition, Preset, PresetError, parse_preset


class TestPreset:
    @pytest.mark.parametrize("name", ["smoke", "default", "publish"])
    def test_those_of_the_program_are_right(self, name):
        preset = parse_preset(yaml.safe_load((CONF / "bench" / f"{name}.yaml").read_text()))
        assert preset.name == name
        assert preset.samples >= 32
        assert any(c.batch == 1 and c.threads == 1 for c in preset.conditions)

    def test_publish_has_enough_runs_for_p99_in_three_processes(self):
        preset = parse_preset(yaml.safe_load((CONF / "bench" / "publish.yaml").read_text()))
        assert preset.launches >= 3
        assert all(c.runs >= 662 for c in preset.conditions if c.batch == 1)

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ({"conditions": [{"scenario": "single_stream"}], "round": 3}, "unknown parameter 'round'. Did you mean 'rounds'?"),
            ({"name": "mine", "conditions": []}, "bench 'mine': conditions"),
            ({"conditions": [{"scenario": "stream"}]}, "Input should be 'single_stream' or 'offline' (got 'stream')"),
            ({"conditions": [{"scenario": "offline"}], "rounds": 30}, "max_rounds (18) is below rounds (30)"),
            ({"conditions": [{"scenario": "offline"}], "seconds": 9}, "max_seconds (3.0) is below seconds (9.0)"),
            ({"conditions": [{"scenario": "offline", "threads": "some"}]}, "Input should be 'all' (got 'some')"),
        ],
    )  # fmt: skip
    def test_a_wrong_one_is_refused_by_name(self, entry, message):
        with pytest.raises(PresetError, match=re.escape(message)):
            parse_preset(entry)

    def test_all_cores_are_not_measured_twice_on_one_core(self, monkeypatch):
        preset = parse_preset({"conditions": [
            {"scenario": "single_stream", "threads": 1}, {"scenario": "single_stream", "threads": "all"},
        ]})  # fmt: skip
        monkeypatch.setattr("pipeline.measure.timing.preset.cores", lambda: 1)
        assert len(preset.distinct_conditions()) == 1
        monkeypatch.setattr("pipeline.measure.timing.preset.cores", lambda: 4)
        assert [c.cores for c in preset.distinct_conditions()] == [1, 4]


class TestPlan:
    condition = Condition(scenario="single_stream", runs=64)
    preset = Preset(conditions=(condition,), rounds=12, max_rounds=12, seconds=1, max_seconds=3, max_runs=1000)

    def test_a_slow_model_gets_its_runs_and_a_fast_one_its_seconds(self):
        slow, fast = (
            BurstPlan.of(0.04, self.condition, self.preset, 12),
            BurstPlan.of(0.001, self.condition, self.preset, 12),
        )
        assert slow.runs == 6
        assert slow.expected(0.04) == pytest.approx(0.24 + 0.04)
        assert fast.expected(0.001) == pytest.approx(1 / 12 + 0.04)

    def test_a_very_fast_model_stops_at_the_most_runs(self):
        plan = BurstPlan.of(0.00005, self.condition, self.preset, 12)
        assert plan.seconds == pytest.approx(1000 * 0.00005 / 12)

    def test_a_very_slow_model_stops_at_the_longest_time(self):
        assert BurstPlan.of(2.0, self.condition, self.preset, 12).expected(2.0) == 2.0  # a single run a round

    def test_short_runs_are_primed_by_time_and_long_ones_bring_their_own_weights_back(self):
        primes = [BurstPlan.of(t, self.condition, self.preset, 12).prime for t in (0.00001, 0.001, 0.0099, 0.03, 0.1)]
        assert primes == [64, 40, 4, 1, 0]

    def test_a_budget_cuts_to_one_run_at_the_least(self):
        plan = BurstPlan.of(0.04, self.condition, self.preset, 12)
        plan.cut(0.5)
        assert plan.runs == 3
        plan.cut(0.01)
        assert plan.runs == 1
        assert plan.expected(0.04) == pytest.approx(0.04 + 0.04)  # primed as before

    def test_eleven_runs_are_kept_for_a_median(self):
        plan = BurstPlan.of(0.04, self.condition, self.preset, 12)
        plan.cut(0.01)
        plan.keep_median(6)
        assert (plan.runs, plan.fewest) == (2, 2)
        assert plan.expected(0.04) == pytest.approx(2 * 0.04 + 0.04)


class Data:
    name = "toy"

    def __init__(self, count):
        self._count = count

    def batches(self, split, *, batch_size, samples=None):
        assert split == "evaluation"
        if self._count:
            count = min(self._count, samples)
            yield Batch(tuple(map(str, range(count))), {"x": np.arange(count * 3.0).reshape(count, 3)}, {})


class TestInputs:
    def test_are_written_once_and_read_back(self, tmp_path):
        file = write_inputs(Data(100), tmp_path, samples=32)
        arrays = read_inputs(file)
        assert arrays["x"].shape == (32, 3)
        assert len(np.unique(arrays["x"], axis=0)) == 32

    def test_none_are_refused(self, tmp_path):
        with pytest.raises(
            InputsError, match="The evaluation split of 'toy' is empty: there is nothing to time a model on"
        ):
            write_inputs(Data(0), tmp_path, samples=32)
        np.savez(tmp_path / "none.npz", x=np.zeros((0, 3)))
        with pytest.raises(InputsError, match="there are no samples to run a model on"):
            read_inputs(tmp_path / "none.npz")

    @pytest.mark.parametrize(("count", "batch"), [(32, 1), (32, 8), (10, 4), (3, 8)])
    def test_every_instance_takes_its_turn(self, count, batch):
        feeds = itertools.cycle(batches({"x": np.arange(count)}, ("x",), batch))
        seen = [next(feeds)["x"] for _ in range(2 * count)]
        assert all(len(rows) == batch and rows.flags["C_CONTIGUOUS"] for rows in seen)
        assert set(np.concatenate(seen)) == set(range(count))

    @pytest.mark.parametrize(("batch", "widths"), [(1, [2, 3, 5]), (2, [3, 5]), (3, [5])])
    def test_texts_are_of_their_own_length(self, batch, widths):
        mask = np.array([[1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]])
        arrays = {"input_ids": np.arange(18).reshape(3, 6), "attention_mask": mask}
        feeds = batches(arrays, ("input_ids", "attention_mask"), batch)
        assert [feed["input_ids"].shape[1] for feed in feeds] == widths
        assert [feed["attention_mask"].shape[1] for feed in feeds] == widths
        assert feeds[0]["input_ids"][0, :2].tolist() == [0, 1]
        assert mean_tokens(feeds) == pytest.approx(np.mean(widths))

    def test_texts_that_are_padded_before_them_lose_the_padding_too(self):
        arrays = {"input_ids": np.arange(6)[None], "attention_mask": np.array([[0, 0, 0, 1, 1, 1]])}
        assert batches(arrays, ("input_ids",), 1)[0]["input_ids"].tolist() == [[3, 4, 5]]

    def test_a_model_of_one_length_gets_padded_texts(self):
        arrays = {"input_ids": np.arange(6)[None], "attention_mask": np.array([[1, 0, 0, 0, 0, 0]])}
        feeds = batches(arrays, ("input_ids",), 1, padded=True)
        assert feeds[0]["input_ids"].shape == (1, 6)
        assert mean_tokens(feeds) == 6

    def test_data_without_tokens_have_no_length(self):
        assert mean_tokens(batches({"x": np.zeros((4, 3))}, ("x",), 2)) is None

    def test_a_missing_input_is_named(self):
        with pytest.raises(InputsError, match="The model takes mask; the samples hold x"):
            batches({"x": np.zeros(3)}, ("x", "mask"), 1)


class TestContention:
    def meter(self):
        state = SimpleNamespace(now=0.0, busy=0.0)
        return state, LoadMeter(clock=lambda: state.now, busy=lambda: state.busy)

    def test_our_own_work_is_not_foreign(self):
        state, meter = self.meter()
        meter.mark(0)
        state.now, state.busy = 1.0, 1.5
        meter.mark(1.0)
        assert meter.foreign_cores() == pytest.approx(0.5)

    def test_short_rounds_are_looked_at_over_half_a_second(self):
        """Ticks of the kernel make a look of 100 ms worthless."""
        state, meter = self.meter()
        for step in range(20):
            state.now, state.busy = step * 0.1, step * 0.1 + (1.0 if step >= 17 else 0.0)
            meter.mark(step * 0.1)
        assert meter.foreign_cores() == pytest.approx(1 / 0.5, rel=0.3)

    def test_idle_and_waiting_for_disks_are_not_busy_and_guests_are_counted_once(self, monkeypatch):
        """The kernel counts a guest's time in the time of users too; steal is what the hypervisor gave to others."""
        kinds = {"user": 10.0, "nice": 2.0, "system": 3.0, "idle": 500.0, "iowait": 70.0, "irq": 0.25, "steal": 4.0}
        counters = namedtuple("counters", [*kinds, "guest", "guest_nice"])(*kinds.values(), 6.0, 1.0)
        monkeypatch.setattr("psutil.cpu_times", lambda: counters)
        assert busy_seconds() == 10 + 2 + 3 + 0.25 + 4

    def test_no_time_no_load(self):
        _, meter = self.meter()
        meter.mark(0)
        assert meter.foreign_cores() == 0


class TestEnergy:
    def zone(self, folder, name, joules, wraps_at=1000):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "energy_uj").write_text(str(int(joules * 1e6)))
        (folder / name / "max_energy_range_uj").write_text(str(int(wraps_at * 1e6)))

    def test_packages_are_added_up_and_wrap(self, tmp_path):
        self.zone(tmp_path, "intel-rapl:0", 10)
        self.zone(tmp_path, "intel-rapl:1", 995)
        self.zone(tmp_path, "intel-rapl:0:0", 500)  # a part of package 0
        meter = EnergyMeter(tmp_path)
        meter.start()
        self.zone(tmp_path, "intel-rapl:0", 12)
        self.zone(tmp_path, "intel-rapl:1", 3)
        assert meter.joules() == pytest.approx(2 + 8)

    def test_without_a_counter_there_is_no_figure(self, tmp_path):
        meter = EnergyMeter(tmp_path)
        meter.start()
        assert meter.joules() is None


def test_peak_memory_is_seen_even_after_it_is_freed():
    before = reset_peak()
    block = np.ones(40_000_000, dtype=np.uint8)
    del block
    assert peak_bytes() - before > 35_000_000


def hold(kind, file, entered, leave):
    with (working if kind == "working" else measuring)(file):
        entered.set()
        leave.wait()


class TestLock:
    """`working` is shared, `measuring` is alone."""

    @pytest.fixture
    def holder(self, tmp_path):
        context = multiprocessing.get_context("spawn")
        held = []

        def start(kind):
            entered, leave = context.Event(), context.Event()
            process = context.Process(target=hold, args=(kind, tmp_path / "lock", entered, leave))
            process.start()
            held.append((process, leave))
            entered.wait()
            return leave

        yield start
        for process, leave in held:
            leave.set()
            process.join()

    def test_work_goes_on_beside_work_but_not_beside_timing(self, holder, tmp_path):
        leave = holder("working")
        with working(tmp_path / "lock"):
            pass
        with (
            pytest.raises(BusyError, match=re.escape("has kept the machine busy for 0.3 s")),
            measuring(tmp_path / "lock", timeout=0.3),
        ):
            pass
        leave.set()
        with measuring(tmp_path / "lock"):
            pass

    def test_timing_waits_for_timing_and_says_so(self, holder, tmp_path, monkeypatch):
        monkeypatch.setattr("pipeline.core.machine.lock._IMPATIENCE", 0.2)
        leave, told = holder("measuring"), []

        def waiting():
            told.append(True)
            leave.set()

        with measuring(tmp_path / "lock", waiting=waiting):
            assert told == [True]

    def test_a_killed_holder_lets_go(self, tmp_path):
        context = multiprocessing.get_context("spawn")
        entered, never = context.Event(), context.Event()
        process = context.Process(target=hold, args=("measuring", tmp_path / "lock", entered, never), daemon=True)
        process.start()
        entered.wait()
        process.kill()
        process.join()
        with measuring(tmp_path / "lock"):
            pass

    def test_there_is_one_per_machine(self):
        assert lock_file() == lock_file()
        assert lock_file().name == "machine.lock"


def test_the_cores_of_this_machine_are_known():
    assert cores() >= 1
