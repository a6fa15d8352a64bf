import gzip
import hashlib
import re
import shutil
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets import fetch as fetching
from pipeline.datasets.api import DataError
from pipeline.datasets.open import open_dataset
from pipeline.datasets.sources import fashion_mnist as module
from pipeline.sweep.config import Config
from tests.pipeline.dataset_contract import DatasetContract

NAMES = [f"{name}.gz" for name in module.CONTENT]
SYSTEM = module.SYSTEM
NOWHERE = fetching.Download("no-such-package-of-data", "usr/share", "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def real_folder():
    """The cache folder that people have, with the real 70,000 pictures."""
    folder = Config.model_fields["data_folder"].default.expanduser()
    try:
        open_dataset({"dataset": "fashion_mnist"}, folder)
    except DataError as error:
        pytest.skip(f"Fashion-MNIST cannot be had here: {error}")
    return folder


class TestFashionMnist(DatasetContract):
    @pytest.fixture
    def folder(self, real_folder, monkeypatch):
        if not module.SYSTEM.exists():  # another cache folder finds the files without fetching them
            monkeypatch.setattr(module, "SYSTEM", real_folder / "fashion-mnist")
        return real_folder

    @pytest.fixture
    def entry(self):
        return {"name": "clothes", "dataset": "fashion_mnist", "train": 300, "calibration": 50, "evaluation": 100}

    @pytest.fixture
    def variants(self):
        return [
            {"size": 28}, {"channels": 1}, {"mean": 0.5}, {"std": 0.5}, {"shift": 1}, {"flip": True},
            {"train": 301}, {"train": None}, {"calibration": 51}, {"evaluation": 101},
        ]  # fmt: skip

    def test_content_changes_the_fingerprint(self, folder, tmp_path, monkeypatch):
        """The content is fixed by checksums, so that a changed label is refused."""
        system = tmp_path / "system"
        system.mkdir()
        for name in NAMES:
            (system / name).symlink_to(folder / "fashion-mnist" / name if not SYSTEM.exists() else SYSTEM / name)
        changed = bytearray(gzip.decompress((system / NAMES[1]).read_bytes()))
        changed[8] = (changed[8] + 1) % 10
        (system / NAMES[1]).unlink()
        (system / NAMES[1]).write_bytes(gzip.compress(bytes(changed)))
        monkeypatch.setattr(module, "SYSTEM", system)
        monkeypatch.setattr(module, "DOWNLOAD", NOWHERE)
        with pytest.raises(DataError, match=re.escape(f"{system / NAMES[1]}: not the file it should be")):
            open_dataset({"dataset": "fashion_mnist"}, tmp_path / "cache")

    def test_all_of_it(self, folder):
        data = open_dataset({"dataset": "fashion_mnist", "confirmation": 0}, folder)
        assert {split: data.size(split) for split in ("train", "calibration", "evaluation")} == {
            "train": 58_976, "calibration": 1024, "evaluation": 10_000,
        }  # fmt: skip
        assert all(one.startswith("test/") for one in data.ids("evaluation"))
        assert all(one.startswith("train/") for one in data.ids("calibration"))
        assert {data.labels("evaluation").count(name) for name in data.classes} == {1000}
        assert {data.labels("calibration").count(name) for name in data.classes} <= {102, 103}
        bright = data.attributes("evaluation")["brightness"]
        assert all(3000 < bright.count(name) < 3700 for name in ("dark", "medium", "bright"))
        first = next(data.batches("evaluation", batch_size=4))
        assert [data.classes[label] for label in first.targets["labels"]] == [
            "Ankle boot",
            "Pullover",
            "Trouser",
            "Trouser",
        ]

    def test_the_default_normalisation_is_that_of_the_training_pictures(self, folder):
        data = open_dataset({"dataset": "fashion_mnist", "size": 28, "channels": 1}, folder)
        values = np.concatenate([batch.inputs["pixel_values"] for batch in data.batches("train", batch_size=5000)])
        assert abs(values.mean()) < 0.005
        assert abs(values.std() - 1) < 0.005

    def test_the_margin_is_black_on_all_sides(self, folder):
        data = open_dataset({"dataset": "fashion_mnist", "mean": 0, "std": 1, "train": 50}, folder)
        pictures = next(data.batches("train", batch_size=50)).inputs["pixel_values"]
        middle = pictures[:, :, 2:30, 2:30].copy()
        assert middle.max() == 1
        assert pictures.sum() == middle.sum()

    def test_flips_mirror_about_half_of_the_training_pictures(self, folder):
        words = {"dataset": "fashion_mnist", "shift": 0, "flip": True, "train": 200}
        data = open_dataset(words, folder)
        plain = next(data.batches("train", batch_size=200)).inputs["pixel_values"]
        flipped = next(data.batches("train", batch_size=200, augment=True)).inputs["pixel_values"]
        mirrored = (flipped == plain[..., ::-1]).all(axis=(1, 2, 3))
        unchanged = (flipped == plain).all(axis=(1, 2, 3))
        assert (mirrored | unchanged).all()
        assert 70 < mirrored.sum() < 130


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A small set of files in the real format, in a folder, with its checksums in force; nothing else gives any."""
    folder = tmp_path / "files"
    folder.mkdir()
    rng = np.random.default_rng(0)
    content = {}
    for part, count in (("train", 60), ("t10k", 20)):
        pictures = rng.integers(0, 255, (count, 28, 28), np.uint8, endpoint=True)
        labels = np.arange(count, dtype=np.uint8) % 10
        content[f"{part}-images-idx3-ubyte"] = struct.pack(">4I", 2051, count, 28, 28) + pictures.tobytes()
        content[f"{part}-labels-idx1-ubyte"] = struct.pack(">2I", 2049, count) + labels.tobytes()
    for name, raw in content.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(raw))
        monkeypatch.setitem(module.CONTENT, name, hashlib.sha256(raw).hexdigest())
    monkeypatch.setattr(module, "SYSTEM", tmp_path / "nothing")
    monkeypatch.setattr(module, "DOWNLOAD", NOWHERE)
    return folder


@pytest.fixture
def served(files, monkeypatch):
    """The files on a web server, as their official address; gives the paths asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *parts):
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(files))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(module, "DOWNLOAD", fetching.Download("no-such-package-of-data", "usr/share", address))
        yield asked
        server.shutdown()
        thread.join()


def _open(cache: Path):
    data = open_dataset({"name": "clothes", "dataset": "fashion_mnist", "calibration": 10}, cache)
    assert (data.size("train"), data.size("calibration"), data.size("evaluation")) == (50, 10, 20)
    return data


def test_files_of_the_system_come_first_and_are_not_copied(files, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SYSTEM", files)
    _open(tmp_path / "cache")
    assert not (tmp_path / "cache" / "fashion-mnist").exists()


def test_files_are_fetched_once_from_their_address(served, tmp_path):
    _open(tmp_path / "cache")
    assert sorted(served) == sorted(f"/{name}" for name in NAMES)
    shutil.rmtree(tmp_path / "cache" / "derived")
    _open(tmp_path / "cache")
    assert len(served) == 4


def test_two_that_need_the_files_at_once_fetch_them_once(served, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: _open(tmp_path / "cache"), range(3)))
    assert len(served) == 4
    assert [place.name for place in (tmp_path / "cache").glob(".tmp-*")] == []


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"<html>not found</html>"])
def test_a_damaged_file_of_the_cache_is_fetched_again(served, files, tmp_path, damage):
    cached = tmp_path / "cache" / "fashion-mnist"
    shutil.copytree(files, cached)
    (cached / NAMES[0]).write_bytes(damage((cached / NAMES[0]).read_bytes()))
    _open(tmp_path / "cache")
    assert len(served) == 4
    assert (cached / NAMES[0]).read_bytes() == (files / NAMES[0]).read_bytes()


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda whole: whole[: len(whole) // 2], "damaged (Compressed file ended before"),
        (lambda whole: gzip.compress(b"something else"), "not the file it should be (its sha256 differs); delete it"),
    ],
)
def test_a_damaged_file_of_the_system_is_named(files, tmp_path, monkeypatch, damage, problem):
    monkeypatch.setattr(module, "SYSTEM", files)
    (files / NAMES[2]).write_bytes(damage((files / NAMES[2]).read_bytes()))
    with pytest.raises(DataError, match=re.escape(f"{files / NAMES[2]}: {problem}")):
        _open(tmp_path / "cache")


def test_a_damaged_file_of_the_system_is_passed_over_if_it_can_be_fetched(files, served, tmp_path, monkeypatch):
    system = tmp_path / "system"
    shutil.copytree(files, system)
    (system / NAMES[1]).write_bytes(b"")
    monkeypatch.setattr(module, "SYSTEM", system)
    _open(tmp_path / "cache")


def test_when_nothing_works_everything_tried_is_listed(files, tmp_path):
    with pytest.raises(DataError) as caught:
        _open(tmp_path / "cache")
    message = str(caught.value)
    assert message.startswith("Data set 'clothes': None of these gave train-images-idx3-ubyte.gz, ")
    assert f"\n  - {tmp_path / 'nothing'}: train-images-idx3-ubyte.gz, " in message
    assert "\n  - http://127.0.0.1:9/train-images-idx3-ubyte.gz: [Errno 111] Connection refused" in message
    assert message.endswith(
        f"Put the files into {tmp_path / 'cache' / 'fashion-mnist'}, or install no-such-package-of-data"
    )
    assert any(text in message for text in ("`apt-get download -q no-such-package-of-data`: E: ", "has no apt-get"))
    assert [place.name for place in (tmp_path / "cache").glob(".tmp-*")] == []


def test_a_cache_that_cannot_be_written_is_named(files, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        DataError, match=re.escape(f"{tmp_path / 'file' / 'fashion-mnist'}: cannot be written (Not a directory)")
    ):
        _open(tmp_path / "file")


def test_a_truncated_answer_is_not_kept(served, files, tmp_path):
    (files / NAMES[3]).write_bytes((files / NAMES[3]).read_bytes()[:30])
    with pytest.raises(DataError, match=re.escape(f"{NAMES[3]}: damaged (Compressed file ended before")):
        _open(tmp_path / "cache")
    assert list((tmp_path / "cache" / "fashion-mnist").iterdir()) == []


def test_the_debian_package_holds_the_files(tmp_path):
    try:
        place = fetching._from_package(module.DOWNLOAD, NAMES, tmp_path)
    except DataError as error:
        pytest.skip(str(error))
    for name in NAMES:
        module._check(place / name)


def test_more_calibration_than_training_pictures_are_refused(files, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SYSTEM", files)
    entry = {"name": "clothes", "dataset": "fashion_mnist", "calibration": 60}
    with pytest.raises(
        DataError,
        match=re.escape("Data set 'clothes': calibration: must be less than the 60 training pictures (got 60)"),
    ):
        open_dataset(entry, tmp_path / "cache").size("train")
