"""What every target promises. A new target's test inherits this class and gives `target` and `model`."""

import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ops.core.operation import Format
from pipeline.models import storage
from pipeline.targets.api import TargetError
from tests.pipeline.nets import Nets, samples


class TargetContract:
    tolerance = 2e-5

    @pytest.fixture
    def target(self):
        raise AssertionError("give the target")

    @pytest.fixture
    def model(self, target, nets: Nets) -> Path:
        return nets.float32 if target.accepts is Format.ONNX else nets.folder

    @pytest.fixture
    def session(self, target, model):
        with target.open(model, threads=1) as session:
            yield session

    def test_agrees_with_pytorch(self, session, nets):
        import torch

        inputs = samples()
        with torch.inference_mode():
            expected = storage.load(nets.folder).module(torch.from_numpy(inputs)).numpy()
        (found,) = session.run({"pixel_values": inputs})
        assert session.outputs == ("logits",)
        assert session.inputs == ("pixel_values",)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=self.tolerance, rtol=self.tolerance)
        assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()

    @pytest.mark.parametrize("sizes", [(1, 8, 3, 1)])
    def test_takes_any_batch_size(self, session, sizes):
        inputs = samples(8)
        whole = session.run({"pixel_values": inputs})[0]
        for size in sizes:
            (part,) = session.run({"pixel_values": inputs[:size]})
            assert part.shape == (size, 7)
            np.testing.assert_allclose(part, whole[:size], atol=1e-5)

    def test_is_deterministic_and_keeps_earlier_results(self, session):
        inputs = samples(4)
        first = session.run({"pixel_values": inputs})[0]
        kept = first.copy()
        session.run({"pixel_values": inputs + 1})
        np.testing.assert_array_equal(first, kept)  # not a view of a buffer that the next run overwrites
        np.testing.assert_array_equal(session.run({"pixel_values": inputs})[0], kept)

    def test_one_thread_works_in_the_calling_thread(self, session):
        """Or the CPU time of a run would be missed."""
        feed = {"pixel_values": samples(8)}
        session.run(feed)
        threads, own, process = threading.active_count(), time.thread_time(), time.process_time()
        for _ in range(40):
            session.run(feed)
        own, process = time.thread_time() - own, time.process_time() - process
        assert own > 0.8 * process
        assert threading.active_count() == threads

    def test_describes_itself(self, target):
        description = target.describe()
        assert re.match(r"\d+\.\d+", description["version"])
        assert description["runtime"]

    def test_reports_kernels(self, target, model):
        shares = target.kernels(model)
        assert sum(shares.values()) == pytest.approx(1)
        assert shares == {"float32": pytest.approx(1)}

    def test_says_that_a_file_is_missing(self, target, tmp_path):
        with pytest.raises(TargetError, match=re.escape(str(tmp_path / "gone"))):
            target.open(tmp_path / "gone", threads=1)

    def test_says_that_a_file_is_broken(self, target, nets, tmp_path):
        path = nets.broken if target.accepts is Format.ONNX else tmp_path
        with pytest.raises(TargetError, match=re.escape(str(path))):
            target.open(path, threads=1)

    def test_says_that_an_input_does_not_fit(self, session):
        with pytest.raises(TargetError, match="fails: "):
            session.run({"pixel_values": np.zeros((2, 5, 24, 24), np.float32)})


class OnnxTargetContract(TargetContract):
    def test_shows_nan(self, target, nets):
        with target.open(nets.nan, threads=1) as session:
            (found,) = session.run({"pixel_values": samples(2)})
        assert np.isnan(found[:, 0]).all()
        assert np.isfinite(found[:, 1:]).all()

    def test_runs_int8_in_integer_kernels(self, target, nets):
        assert target.kernels(nets.int8)["int8"] > 0.95
        with target.open(nets.int8, threads=1) as quantized, target.open(nets.float32, threads=1) as full:
            given = {"pixel_values": samples()}
            close = np.abs(quantized.run(given)[0] - full.run(given)[0])
        assert close.max() < 0.05 * np.abs(full_range(nets, target)).max()


def full_range(nets, target):
    with target.open(nets.float32, threads=1) as session:
        return session.run({"pixel_values": samples()})[0]
