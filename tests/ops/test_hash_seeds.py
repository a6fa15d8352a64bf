"""No result depends on the order of a set: Python orders texts in sets by a hash seed that differs in every process."""

import json
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.ops.apply import ours

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (1, 2, 3, 4)
"""Each is compared with seed 0."""


def start(seed: int, module: str, *words: object, **options: object) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", module, *map(str, words)], cwd=ROOT, env=environment, **options)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Hash seed -> results of every operation."""
    folder = tmp_path_factory.mktemp("seeds")

    @cache
    def under(seed):
        file = folder / f"{seed}.json"
        assert start(seed, "tests.ops.write_digests", file).wait() == 0
        return json.loads(file.read_text())

    return under


@pytest.mark.matrix
@pytest.mark.parametrize("seed", SEEDS)
def test_every_hash_seed_gives_the_same_bytes(results, seed):
    first, found = results(0), results(seed)
    assert {name.split()[0].rstrip(",") for name in first} == set(ours())
    assert all(one["result"] for name, one in first.items() if not name.startswith("load_onnx"))
    assert [name for name in first if found[name] != first[name]] == []


@pytest.mark.matrix
@pytest.mark.parametrize("op", ["train", "finetune"])
def test_a_training_killed_between_epochs_goes_on_in_a_process_with_another_hash_seed(tmp_path, op):
    folders = calm, killed = tmp_path / "calm", tmp_path / "killed"
    for folder in folders:
        folder.mkdir()
    undisturbed = start(1, "tests.ops.train_in_scratch", op, calm, 0, stdout=subprocess.PIPE)
    assert start(2, "tests.ops.train_in_scratch", op, killed, 1).wait() == -signal.SIGKILL
    resumed = start(3, "tests.ops.train_in_scratch", op, killed, 0, stdout=subprocess.PIPE)
    expected, found = (json.loads(process.communicate()[0]) for process in (undisturbed, resumed))
    assert expected.pop("first").startswith("epoch 1/3")
    assert found.pop("first").startswith("epoch 2/3")
    assert found == expected
