"""What every data set must do. A test class inherits this and gives the fixtures `entry`, `folder` and `variants`."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pipeline.datasets.api import SPLITS, DataError
from pipeline.datasets.open import open_dataset

_PRINT_FINGERPRINT = """
import json, sys
from pathlib import Path
from pipeline.datasets.open import open_dataset
print(open_dataset(json.loads(sys.argv[1]), Path(sys.argv[2])).fingerprint)
"""


class DatasetContract:
    @pytest.fixture
    def entry(self):
        """The conf/dataset entry of a small but real data set."""
        raise NotImplementedError

    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "cache"

    @pytest.fixture
    def variants(self):
        """Parameters, each of which changes what models see or which instances are in which split."""
        raise NotImplementedError

    @pytest.fixture
    def changed_content(self, entry):
        """A function that changes one instance in the files and returns the entry to open them with."""
        raise NotImplementedError

    @pytest.fixture
    def data(self, entry, folder):
        return open_dataset(entry, folder)

    def test_the_name_is_that_of_the_entry(self, data, entry):
        assert data.name == entry["name"]

    def test_ids_are_stable_and_in_the_order_of_the_batches(self, data, entry, folder):
        again = open_dataset(entry, folder)
        for split in SPLITS:
            ids = list(data.ids(split))
            assert len(ids) == data.size(split) > 0
            assert list(again.ids(split)) == ids
            seen = [one for batch in data.batches(split, batch_size=7) for one in batch.ids]
            assert list(dict.fromkeys(seen)) == ids

    def test_no_instance_is_in_two_splits_or_twice_in_one(self, data):
        ids = [one for split in SPLITS for one in data.ids(split)]
        assert len(set(ids)) == len(ids)

    def test_every_instance_has_a_label_and_every_attribute(self, data):
        for split in SPLITS:
            assert len(data.labels(split)) == data.size(split)
            if data.classes:
                assert set(data.labels(split)) <= set(data.classes)
            for values in data.attributes(split).values():
                assert len(values) == data.size(split)
                assert all(isinstance(value, str) for value in values)

    def test_labels_and_targets_agree(self, data):
        if not data.classes:
            pytest.skip("a task without classes")
        for split in SPLITS:
            numbers = np.concatenate([batch.targets["labels"] for batch in data.batches(split, batch_size=64)])
            assert [data.classes[number] for number in numbers] == list(data.labels(split))

    def test_shapes_and_types_are_as_declared(self, data):
        for split in SPLITS:
            for augment in (False, True):
                batch = next(data.batches(split, batch_size=3, augment=augment))
                assert set(batch.inputs) == set(data.inputs)
                for name, (dtype, shape) in data.inputs.items():
                    assert batch.inputs[name].dtype == dtype
                    assert batch.inputs[name].shape == (len(batch), *shape)
                for target in batch.targets.values():
                    assert target.dtype == np.int64
                    assert target.shape == (len(batch),)

    def test_batch_size_changes_nothing(self, data):
        small, large = (_everything(data.batches("evaluation", batch_size=size)) for size in (3, 10_000))
        _same(small, large)

    def test_a_larger_sample_contains_a_smaller_one_in_stored_order(self, data):
        whole = _ids(data, "train", None)
        before: set[str] = set()
        for count in (1, 2, 5, len(whole) - 1, len(whole), len(whole) + 5):
            chosen = _ids(data, "train", count)
            assert len(chosen) == min(count, len(whole))
            assert chosen == [one for one in whole if one in set(chosen)]
            assert before <= set(chosen)
            before = set(chosen)

    def test_a_sample_is_spread_over_the_classes(self, data):
        label_of = dict(zip(data.ids("train"), data.labels("train"), strict=True))
        share = {name: list(label_of.values()).count(name) / len(label_of) for name in data.classes}
        count = len(label_of) // 2
        chosen = [label_of[one] for one in _ids(data, "train", count)]
        for name in data.classes:
            assert abs(chosen.count(name) - share[name] * count) <= 2

    def test_a_seed_shuffles_and_gives_the_same_order_again(self, data):
        stored, one, again, other = (_ids(data, "train", None, seed) for seed in (None, 1, 1, 2))
        assert one == again
        assert one != other
        assert one != stored
        assert sorted(one) == sorted(stored)

    def test_augmentation_is_reproducible_and_of_training_data_only(self, data):
        for split in SPLITS:
            plain, one, again, other = (
                _everything(data.batches(split, batch_size=5, augment=augment, samples=20, **words))
                for augment, words in ((False, {}), (True, {"seed": 1}), (True, {"seed": 1}), (True, {"seed": 2}))
            )
            _same(one, again)
            changed = any(not np.array_equal(_sorted(one)[name], _sorted(plain)[name]) for name in data.inputs)
            assert changed is (split == "train" and "pixel_values" in data.inputs)
            assert not (changed and np.array_equal(_sorted(one)["pixel_values"], _sorted(other)["pixel_values"]))

    def test_what_a_batch_holds_is_not_shared(self, data):
        batch = next(data.batches("train", batch_size=2))
        before = {name: array.copy() for name, array in batch.inputs.items()}
        for array in batch.inputs.values():
            np.add(array, 1, out=array)
        for name, array in next(data.batches("train", batch_size=2)).inputs.items():
            assert np.array_equal(array, before[name])

    def test_every_kind_of_instance_can_be_shown(self, data):
        for split in SPLITS:
            shown = data.show(data.ids(split)[0])
            if data.task == "image-classification":
                with Image.open(io.BytesIO(shown["image"])) as picture:
                    assert picture.format == "PNG"
                    assert min(picture.size) > 0
            elif data.task == "text-classification":
                assert isinstance(shown["text"], str)
            else:
                assert {"question", "context", "answers"} <= set(shown)
        with pytest.raises(DataError, match="has no instance 'nothing'"):
            data.show("nothing")

    def test_the_fingerprint_is_the_same_in_a_new_process(self, data, entry, folder):
        command = [sys.executable, "-c", _PRINT_FINGERPRINT, json.dumps(entry), str(folder)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        assert printed == data.fingerprint
        assert len(printed) == 64

    def test_the_fingerprint_does_not_depend_on_name_or_cache(self, data, entry, tmp_path):
        other = open_dataset({**entry, "name": "other"}, tmp_path / "elsewhere")
        assert other.fingerprint == data.fingerprint

    def test_preprocessing_and_splits_change_the_fingerprint(self, data, entry, folder, variants):
        prints = [open_dataset({**entry, **variant}, folder).fingerprint for variant in variants]
        assert len({data.fingerprint, *prints}) == 1 + len(variants)

    def test_content_changes_the_fingerprint(self, data, changed_content, folder):
        before = data.fingerprint
        assert open_dataset(changed_content(), folder).fingerprint != before


def _ids(data, split, samples, seed=None):
    """Ids of instances; the windows of one question count once."""
    batches = data.batches(split, batch_size=6, samples=samples, seed=seed)
    return list(dict.fromkeys(one for batch in batches for one in batch.ids))


def _everything(batches):
    batches = list(batches)
    arrays = {name: np.concatenate([batch.inputs[name] for batch in batches]) for name in batches[0].inputs}
    return {"ids": np.array([one for batch in batches for one in batch.ids]), **arrays}


def _sorted(everything):
    order = np.argsort(everything["ids"], kind="stable")
    return {name: array[order] for name, array in everything.items()}


def _same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert np.array_equal(one[name], other[name])
