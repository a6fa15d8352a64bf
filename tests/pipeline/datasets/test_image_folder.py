import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from pipeline.core.download import checksums
from pipeline.datasets.api import DataError
from pipeline.datasets.open import open_dataset
from tests.pipeline.dataset_contract import DatasetContract

GREY = {"channels": 1, "size": 16, "resize": 16, "mean": 0, "std": 1}


class FolderContract(DatasetContract):
    @pytest.fixture
    def entry(self, root):
        return {"name": "mine", "dataset": "image_folder", "root": str(root), "size": 14, "train": 60}

    @pytest.fixture
    def changed_content(self, entry, root):
        def change():
            file = next(root.rglob("*.png"))
            Image.open(file).rotate(90).save(file)
            return entry

        return change


class TestSplitFolders(FolderContract):
    @pytest.fixture
    def root(self, tmp_path, save_digits):
        save_digits(tmp_path / "pictures" / "train", count=30)
        save_digits(tmp_path / "pictures" / "val", count=8, first=30)
        return tmp_path / "pictures"

    @pytest.fixture
    def variants(self):
        return [
            {"size": 13}, {"resize": 18}, {"channels": 1, "mean": 0.5, "std": 0.5}, {"mean": [0.4, 0.4, 0.4]},
            {"std": 0.2}, {"flip": False}, {"classes": ["two", "one", "zero"]}, {"calibration_share": 0.2},
            {"train": 59}, {"calibration": 3}, {"evaluation": 20},
        ]  # fmt: skip

    def test_the_folder_is_the_split(self, data):
        assert data.classes == ("one", "two", "zero")
        assert data.size("evaluation") == 24
        assert all(one.startswith("val/") for one in data.ids("evaluation"))
        assert all(one.startswith("train/") for split in ("train", "calibration") for one in data.ids(split))


class TestHeldOut(FolderContract):
    @pytest.fixture
    def root(self, tmp_path, save_digits):
        save_digits(tmp_path / "pictures", count=60)
        return tmp_path / "pictures"

    @pytest.fixture
    def variants(self):
        return [{"evaluation_share": 0.3}, {"calibration_share": 0.05}, {"evaluation": 10}]

    def test_the_shares_are_about_as_asked(self, root, folder):
        data = open_dataset({"dataset": "image_folder", "root": str(root)}, folder)
        assert 110 < data.size("train") < 140
        assert 10 < data.size("calibration") < 28
        assert 24 < data.size("evaluation") < 48

    def test_a_new_picture_moves_no_other(self, root, folder, save_digits):
        entry = {"dataset": "image_folder", "root": str(root)}
        before = {
            split: set(open_dataset(entry, folder).ids(split)) for split in ("train", "calibration", "evaluation")
        }
        save_digits(root, count=10, first=60)
        after = open_dataset(entry, folder)
        assert all(before[split] <= set(after.ids(split)) for split in before)


def test_all_three_folders_are_used_as_they_are(tmp_path, save_digits):
    for part, first in (("train", 0), ("calibration", 10), ("test", 15)):
        save_digits(tmp_path / "pictures" / part, count=5, first=first)
    data = open_dataset({"dataset": "image_folder", "root": str(tmp_path / "pictures")}, tmp_path / "cache")
    assert [data.size(split) for split in ("train", "calibration", "evaluation")] == [15, 15, 15]


def test_pictures_reach_the_model_as_they_are(tmp_path, save_digits, digit_pictures):
    save_digits(tmp_path / "pictures", count=10)
    data = open_dataset({"dataset": "image_folder", "root": str(tmp_path / "pictures"), **GREY}, tmp_path / "cache")
    batch = next(data.batches("train", batch_size=5))
    rows = [int(one[-8:-4]) for one in batch.ids]
    assert np.allclose(batch.inputs["pixel_values"][:, 0], digit_pictures[0][rows] / 255, atol=1e-6)


def test_the_middle_is_cut_out_after_resizing_as_for_imagenet(tmp_path):
    for kind in ("a", "b"):
        for number in range(6):
            (tmp_path / "pictures" / kind).mkdir(parents=True, exist_ok=True)
            wide = np.zeros((64, 128, 3), np.uint8)
            wide[16:48, 48:80] = (255, 0, 0)  # the middle of the middle
            Image.fromarray(wide).save(tmp_path / "pictures" / kind / f"{number}.jpg", quality=100, subsampling=0)
    entry = {
        "dataset": "image_folder",
        "root": str(tmp_path / "pictures"),
        "size": 32,
        "resize": 64,
        "mean": 0,
        "std": 1,
    }
    pictures = next(open_dataset(entry, tmp_path / "cache").batches("train", batch_size=4)).inputs["pixel_values"]
    assert np.allclose(pictures[:, 0], 1, atol=0.03)
    assert np.allclose(pictures[:, 1:], 0, atol=0.03)
    default = open_dataset({**entry, "resize": None, "size": 56}, tmp_path / "cache")  # 56 of 64: the margin shows
    corner = next(default.batches("train", batch_size=4)).inputs["pixel_values"][:, :, 0, 0]
    assert np.allclose(corner, 0, atol=0.03)


def test_training_cuts_anywhere_and_evaluation_in_the_middle(tmp_path, save_digits):
    save_digits(tmp_path / "pictures", count=20)
    entry = {"dataset": "image_folder", "root": str(tmp_path / "pictures"), **GREY, "size": 8, "flip": False}
    data = open_dataset(entry, tmp_path / "cache")
    once, twice = (next(data.batches("train", batch_size=30, augment=True, seed=seed)) for seed in (1, 2))
    one, two = (dict(zip(batch.ids, batch.inputs["pixel_values"], strict=True)) for batch in (once, twice))
    differ = [not np.array_equal(one[name], two[name]) for name in one.keys() & two.keys()]
    assert sum(differ) > len(differ) / 2


def test_the_second_look_reads_no_picture(tmp_path, save_digits, monkeypatch):
    save_digits(tmp_path / "pictures", count=10)
    entry = {"dataset": "image_folder", "root": str(tmp_path / "pictures")}
    before = open_dataset(entry, tmp_path / "cache").fingerprint
    monkeypatch.setattr(checksums, "_digest", None)
    monkeypatch.setattr(Image, "open", None)
    assert open_dataset(entry, tmp_path / "cache").fingerprint == before


def test_attributes_come_from_a_table(tmp_path, save_digits):
    files = save_digits(tmp_path / "pictures", count=12)
    names = [file.relative_to(tmp_path / "pictures").as_posix() for file in files]
    table = tmp_path / "attributes.csv"
    table.write_text(
        "id,pen,writer\n"
        + "".join(f"{name},{'thin' if row % 2 else 'thick'},{row % 3}\n" for row, name in enumerate(names))
    )
    entry = {"dataset": "image_folder", "root": str(tmp_path / "pictures"), "attributes": str(table)}
    data = open_dataset(entry, tmp_path / "cache")
    assert set(data.attributes("train")) == {"pen", "writer"}
    expected = {name: "thin" if row % 2 else "thick" for row, name in enumerate(names)}
    assert list(data.attributes("train")["pen"]) == [expected[one] for one in data.ids("train")]
    table.write_text(table.read_text().replace("thin", "fine"))
    assert open_dataset(entry, tmp_path / "cache").fingerprint != data.fingerprint
    table.write_text("id,pen\n" + "".join(f"{name},thin\n" for name in names[1:]))
    with pytest.raises(DataError, match=re.escape(f"{table}: no row has the id '{names[0]}'. Did you mean '")):
        open_dataset(entry, tmp_path / "cache").attributes("train")
    table.write_text("path,pen\na,b\n")
    with pytest.raises(
        DataError, match=re.escape(f"{table}: a column `id` must hold the pictures' paths. Known: path, pen")
    ):
        open_dataset(entry, tmp_path / "cache").attributes("train")
    with pytest.raises(DataError, match=re.escape("attributes: nowhere.csv: there is no such file")):
        open_dataset({**entry, "attributes": "nowhere.csv"}, tmp_path / "cache")


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_an_empty_cell_of_an_attribute_is_no_value(tmp_path, save_digits, ending):
    files = save_digits(tmp_path / "pictures", count=12)
    names = [file.relative_to(tmp_path / "pictures").as_posix() for file in files]
    cells = {name: None if row % 3 == 0 else "None" if row % 3 == 1 else "thin" for row, name in enumerate(names)}
    table = tmp_path / f"attributes.{ending}"
    if ending == "csv":
        table.write_text("id,pen\n" + "".join(f"{name},{cell or ''}\n" for name, cell in cells.items()))
    else:
        table.write_text("".join(json.dumps({"id": name, "pen": cell}) + "\n" for name, cell in cells.items()))
    entry = {"dataset": "image_folder", "root": str(tmp_path / "pictures"), "attributes": str(table)}
    data = open_dataset(entry, tmp_path / "cache")
    assert list(data.attributes("train")["pen"]) == [cells[one] or "" for one in data.ids("train")]


def test_an_id_that_stands_twice_in_a_table_of_attributes_is_refused(tmp_path, save_digits):
    files = save_digits(tmp_path / "pictures", count=12)
    names = [file.relative_to(tmp_path / "pictures").as_posix() for file in files]
    table = tmp_path / "attributes.csv"
    table.write_text("id,pen\n" + "".join(f"{name},thin\n" for name in [*names, names[1]]))
    entry = {"dataset": "image_folder", "root": str(tmp_path / "pictures"), "attributes": str(table)}
    message = f"attributes.csv row 37: the id '{names[1]}' is that of attributes.csv row 2 too; remove one of them"
    with pytest.raises(DataError, match=re.escape(message)):
        open_dataset(entry, tmp_path / "cache").attributes("train")


@pytest.mark.parametrize("damage", [lambda whole: whole[:80], lambda whole: b"not a picture", lambda whole: b""])
def test_a_picture_that_cannot_be_decoded_is_named(tmp_path, save_digits, damage):
    files = save_digits(tmp_path / "pictures" / "train", count=5) + save_digits(tmp_path / "pictures" / "val", count=5)
    for file in files[:15]:
        file.write_bytes(damage(file.read_bytes()))
    data = open_dataset({"dataset": "image_folder", "root": str(tmp_path / "pictures")}, tmp_path / "cache")
    with pytest.raises(
        DataError,
        match=rf"{re.escape(str(tmp_path))}/pictures/train/one/\d+.png: cannot be decoded \(.*\); replace or remove it",
    ):
        next(data.batches("train", batch_size=1))
    next(data.batches("evaluation", batch_size=1))


def test_what_is_no_picture_or_hidden_is_passed_over(tmp_path, save_digits):
    files = save_digits(tmp_path / "pictures", count=10)
    (tmp_path / "pictures" / "readme.txt").write_text("hello")
    (tmp_path / "pictures" / "zero" / ".hidden.png").write_text("hello")
    (tmp_path / "pictures" / "zero" / "notes.txt").write_text("hello")
    (tmp_path / "pictures" / ".cache").mkdir()
    shutil.copy(files[0], tmp_path / "pictures" / ".cache" / "x.png")
    data = open_dataset({"dataset": "image_folder", "root": str(tmp_path / "pictures")}, tmp_path / "cache")
    assert data.classes == ("one", "two", "zero")
    assert sum(data.size(split) for split in ("train", "calibration", "evaluation")) == 30


def test_nothing_to_read_is_refused(tmp_path, save_digits):
    entry = {"name": "mine", "dataset": "image_folder", "root": str(tmp_path / "pictures")}
    with pytest.raises(
        DataError, match=re.escape(f"Data set 'mine': root: {tmp_path}/pictures: there is no such folder")
    ):
        open_dataset(entry, tmp_path / "cache")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(
        DataError, match=re.escape(f"{tmp_path}/pictures: no pictures in {tmp_path}/pictures/CLASS/* or ")
    ):
        open_dataset(entry, tmp_path / "cache")
    save_digits(tmp_path / "pictures" / "train", count=3)
    (tmp_path / "pictures" / "val" / "thre").mkdir(parents=True)
    shutil.copytree(tmp_path / "pictures" / "train" / "two", tmp_path / "pictures" / "val" / "tow")
    with pytest.raises(
        DataError, match=r"no training picture is of class 'tow'. Did you mean 'two'\? Known: one, two, zero"
    ):
        open_dataset(entry, tmp_path / "cache")


def test_a_single_class_and_an_empty_evaluation_are_refused(tmp_path, save_digits):
    save_digits(tmp_path / "pictures", count=4)
    entry = {"name": "mine", "dataset": "image_folder", "root": str(tmp_path / "pictures"), "evaluation_share": 0}
    with pytest.raises(
        DataError, match="no picture is held out for evaluation: add a folder `val`, or raise evaluation_share"
    ):
        open_dataset(entry, tmp_path / "cache").size("evaluation")
    for name in ("one", "two"):
        shutil.rmtree(tmp_path / "pictures" / name)
    with pytest.raises(DataError, match=re.escape("only one class (zero): classification needs two")):
        open_dataset(entry, tmp_path / "cache").size("evaluation")
    with pytest.raises(
        DataError, match=re.escape("'zero' is none of the classes. Did you mean 'zeros'? Known: zeros, ones")
    ):
        open_dataset({**entry, "classes": ["zeros", "ones"]}, tmp_path / "cache").size("evaluation")
