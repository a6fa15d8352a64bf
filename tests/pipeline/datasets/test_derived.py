"""Arrays kept beside the data files: made once, checked, and never needed."""

import resource
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipeline.datasets.array_cache import derived_arrays


class Maker:
    def __init__(self, wait=0.0):
        self.calls, self._wait = 0, wait

    def __call__(self):
        self.calls += 1
        time.sleep(self._wait)
        return {"numbers": np.arange(5000), "one": np.array(7)}


def _opened(folder, make):
    arrays = derived_arrays(folder, "key", make)
    assert np.array_equal(arrays["numbers"], np.arange(5000))
    assert arrays["one"] == 7
    assert not arrays["numbers"].flags.writeable
    return arrays


def test_they_are_made_once_and_mapped_afterwards(tmp_path):
    make = Maker()
    for _ in range(3):
        assert isinstance(_opened(tmp_path, make)["numbers"], np.memmap)
    assert make.calls == 1


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(file.read_bytes()[:20]), lambda file: file.unlink()])
@pytest.mark.parametrize("name", ["numbers.npy", "index.json"])
def test_a_damaged_copy_is_made_again(tmp_path, name, damage):
    make = Maker()
    _opened(tmp_path, make)
    damage(tmp_path / "derived" / "key" / name)
    _opened(tmp_path, make)
    _opened(tmp_path, make)
    assert make.calls == 2


def test_a_copy_changed_in_place_is_made_again(tmp_path):
    make = Maker()
    _opened(tmp_path, make)
    file = tmp_path / "derived" / "key" / "numbers.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    _opened(tmp_path, make)


def test_several_at_once_all_get_whole_arrays_and_leave_no_rubbish(tmp_path):
    make = Maker(wait=0.05)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: _opened(tmp_path, make), range(4)))
    assert [place.name for place in (tmp_path / "derived").iterdir()] == ["key"]


def test_where_no_folder_can_be_made_they_stay_in_memory(tmp_path):
    (tmp_path / "file").write_text("in the way")
    make = Maker()
    assert not isinstance(_opened(tmp_path / "file" / "below", make)["numbers"], np.memmap)


def test_when_the_disk_is_full_in_mid_write_they_stay_in_memory(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        assert not isinstance(_opened(tmp_path, Maker())["numbers"], np.memmap)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "derived").iterdir()) == []
