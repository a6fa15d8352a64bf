"""Which folders are splits and which are classes, whatever people call their files."""

import os
import re

import duckdb
import numpy as np
import pytest
from PIL import Image

from pipeline.datasets.api import DataError
from pipeline.datasets.open import open_dataset
from pipeline.datasets.paths import readable
from pipeline.store.writer import Store
from pipeline.sweep.recorder import dataset_records


@pytest.fixture
def entry(tmp_path):
    form = {"size": 8, "resize": 8, "channels": 1, "mean": 0.5, "std": 0.5}
    return {"name": "mine", "dataset": "image_folder", "root": str(tmp_path / "photos"), **form}


@pytest.fixture
def save(tmp_path):
    """A function that saves some pictures in each of the folders below the root."""

    def save(*folders, count=5):
        for folder in folders:
            (tmp_path / "photos" / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                Image.new("L", (8, 8), number).save(tmp_path / "photos" / folder / f"{number}.png")

    return save


@pytest.fixture
def opened(entry, tmp_path):
    return lambda **words: open_dataset({**entry, **words}, tmp_path / "cache")


def sizes(data):
    return {split: data.size(split) for split in ("train", "calibration", "evaluation")}


@pytest.mark.parametrize("train", ["train", "training", "Train"])
@pytest.mark.parametrize("evaluation", ["evaluation", "val", "valid", "validation", "dev", "test", "VAL"])
def test_folders_that_are_all_called_like_splits_are_splits(save, opened, train, evaluation):
    save(*(f"{part}/{kind}" for part in (train, evaluation, "calibration") for kind in ("cat", "dog")))
    data = opened()
    assert data.classes == ("cat", "dog")
    assert sizes(data) == {"train": 10, "calibration": 10, "evaluation": 10}
    assert {one.partition("/")[0] for one in data.ids("evaluation")} == {evaluation}
    assert data.notes == ()


@pytest.mark.parametrize("train", ["train/steam", "train"])
def test_a_class_that_is_called_like_a_split_is_asked_about(save, opened, tmp_path, train):
    save("bus", "car", "tram", train)
    with pytest.raises(DataError) as caught:
        opened()
    assert str(caught.value) == (
        f"Data set 'mine': {tmp_path}/photos: 'train' is called like a split, but 'bus', 'car', 'tram' beside it hold pictures "
        "too. Set `splits: false` of the data set if all these folders are classes, or `splits: true` to take the splits alone"
    )
    data = opened(splits=False)
    assert data.classes == ("bus", "car", "train", "tram")
    assert sum(sizes(data).values()) == 20


def test_splits_alone_are_taken_if_the_entry_says_so(save, opened):
    save("train/cat", "train/dog", "test/cat", "test/dog", "backup/cat")
    with pytest.raises(
        DataError, match="'test', 'train' are called like a split, but 'backup' beside it hold pictures too"
    ):
        opened()
    data = opened(splits=True)
    assert data.size("evaluation") == 10
    assert data.notes == (
        "the folder 'backup' is left out: it is no split that is used, or its pictures have no class",
    )
    assert data.fingerprint != opened(splits=False).fingerprint


@pytest.mark.parametrize("folders", [("val/cat", "val/dog", "test/cat", "test/dog"), ("test/cat", "test/dog")])
def test_splits_are_never_classes(save, opened, folders):
    save(*folders)
    with pytest.raises(
        DataError, match=r"no folder for training pictures \(.*/train/CLASS/\*\) beside '.*Set `splits: false`"
    ):
        opened()


def test_validation_is_taken_before_test_and_that_is_said(save, opened):
    save(*(f"{part}/{kind}" for part in ("train", "val", "test") for kind in ("cat", "dog")))
    data = opened()
    assert {one.partition("/")[0] for one in data.ids("evaluation")} == {"val"}
    assert data.notes == ("the folder 'test' is left out: it is no split that is used, or its pictures have no class",)


@pytest.mark.parametrize("pair", [("val", "validation"), ("train", "Training")])
def test_two_folders_that_mean_one_split_are_refused(save, opened, pair):
    others = {"train", "val"} - {pair[0]}
    save(*(f"{part}/{kind}" for part in (*pair, *others) for kind in ("cat", "dog")))
    with pytest.raises(DataError, match="mean the same split; leave one of them there"):
        opened()


def test_pictures_without_a_class_are_never_classes(save, opened, tmp_path):
    save("train/cat", "train/dog", "test", "train", "")
    data = opened()
    assert data.size("evaluation") > 0
    assert all(one.startswith(("train/cat/", "train/dog/")) for one in data.ids("evaluation"))
    assert data.notes == (
        "5 pictures that lie beside the folders have no class, and are left out",
        "the folder 'test' is left out: it is no split that is used, or its pictures have no class",
        "5 pictures in 'train' lie in no class folder, and are left out",
    )
    assert sum(sizes(data).values()) == 10


def test_training_pictures_without_classes_are_refused(save, opened):
    save("train", "test")
    with pytest.raises(
        DataError, match=r"photos/train: holds pictures, but no class folders. Sort them into .*/train/CLASS/, give"
    ):
        opened()


def test_splits_below_classes_are_refused_and_a_folder_around_all_is_named(save, opened, tmp_path):
    save("cat/train", "cat/test", "dog/train", "dog/test")
    with pytest.raises(
        DataError, match=r"hold folders called like splits \(cat/test, cat/train\): put splits above classes"
    ):
        opened()
    assert sum(sizes(opened(splits=False)).values()) == 20


def test_a_folder_around_the_splits_is_named(save, opened, tmp_path):
    save("inner/train/cat", "inner/train/dog", "inner/val/cat", "inner/val/dog")
    with pytest.raises(DataError, match=rf"set `root` to {re.escape(str(tmp_path))}/photos/inner, or set"):
        opened()


def test_what_is_left_out_is_said(save, opened, tmp_path):
    save("cat", "dog")
    (tmp_path / "photos" / "bird").mkdir()
    for number in range(3):
        (tmp_path / "photos" / "cat" / f"{number}.HEIC").write_bytes(b"")
    (tmp_path / "photos" / "cat" / "notes.txt").write_text("hello")
    (tmp_path / "photos" / "cat" / "again").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "dog" / "more").mkdir()
    (tmp_path / "photos" / "dog" / "more" / "up").symlink_to("..")
    data = opened()
    assert data.classes == ("cat", "dog")
    assert sum(sizes(data).values()) == 10
    assert data.notes == (
        "'bird' hold no pictures, and count neither as classes nor as splits",
        "'again', 'up' are links to a folder that they lie in, and are not followed",
        "3 files that end in .heic are left out; save them as JPEG or PNG to have them read",
    )


def test_linked_folders_are_followed_and_endings_are_read_in_any_case(save, opened, tmp_path):
    save("cat")
    (tmp_path / "elsewhere").mkdir()
    for number, ending in enumerate(("PNG", "Png", "JPG", "jfif", "TIF")):
        Image.new("L", (8, 8), number).save(tmp_path / "elsewhere" / f"{number}.{ending}")
    (tmp_path / "photos" / "dog").symlink_to(tmp_path / "elsewhere")
    assert sum(sizes(opened()).values()) == 10


def test_links_that_leave_the_folder_are_followed_and_said(save, opened, tmp_path):
    save("cat", "dog")
    (tmp_path / "photos" / "cat" / "again.png").symlink_to(tmp_path / "photos" / "cat" / "0.png")  # stays
    assert opened().notes == ()
    Image.new("L", (8, 8), 200).save(tmp_path / "mine.png")
    (tmp_path / "photos" / "dog" / "theirs.png").symlink_to("../../mine.png")
    data = opened()
    assert sum(sizes(data).values()) == 12
    assert data.notes == (f"'dog/theirs.png' leads out of the folder, to {tmp_path}/mine.png, and is followed",)
    (tmp_path / "private").mkdir()
    Image.new("L", (8, 8), 100).save(tmp_path / "private" / "0.png")
    (tmp_path / "photos" / "bird").symlink_to(tmp_path / "private")
    assert opened().notes == (
        f"2 links lead out of the folder, the first ('bird') to {tmp_path}/private, and are followed",
    )
    (tmp_path / "link").symlink_to(tmp_path / "photos")  # the root itself may be one
    assert opened(root=str(tmp_path / "link")).notes == opened().notes


@pytest.mark.parametrize(
    ("put", "message"),
    [
        (os.mkfifo, "is a named pipe, not a file with content; remove it"),
        (lambda place: place.symlink_to("/dev/zero"), "is a device, not a file with content; remove it"),
        (lambda place: place.symlink_to("nowhere.png"), "a link to a file that is not there; mend or remove it"),
    ],
)
def test_what_is_no_file_is_refused_and_never_opened(save, opened, tmp_path, put, message):
    save("cat", "dog")
    put(tmp_path / "photos" / "cat" / "odd.png")
    with pytest.raises(
        DataError, match=rf"^Data set 'mine': {re.escape(str(tmp_path))}/photos/cat/odd.png: {message}$"
    ):
        opened()


ODD = [
    b"s\xfcd.png",
    rb"s\xfcd.png",
    "süd 🙂.png".encode(),
    b'it\'s "1".png',
    b"a\nb\tc.png",
    b"a\x85.png",
    "a\u0085.png".encode(),
]


def test_names_of_any_bytes_become_ids_that_the_store_takes(tmp_path, opened):
    for kind in (b"n\xf6rth", b"south"):
        folder = tmp_path / "photos" / os.fsdecode(kind)
        folder.mkdir(parents=True)
        for number, name in enumerate(ODD):
            with (folder / os.fsdecode(name)).open("wb") as file:
                Image.fromarray(np.full((8, 8), number + (100 if kind == b"south" else 0), np.uint8)).save(file, "PNG")
    data = opened(mean=0, std=1 / 255, evaluation_share=0.6, calibration_share=0.1)
    assert data.classes == ("n\\xf6rth", "south")
    right = {readable(os.fsdecode(name)): number for number, name in enumerate(ODD)}
    assert len(right) == len(ODD)
    assert "s\\xfcd.png" in right
    assert "s\\\\xfcd.png" in right
    assert "a\\nb\\tc.png" in right
    for split in ("train", "evaluation", "calibration"):
        for batch in data.batches(split, batch_size=20):
            for one, picture in zip(batch.ids, batch.inputs["pixel_values"], strict=True):
                kind, name = one.split("/")
                assert picture.max() == right[name] + (100 if kind == "south" else 0)
                assert data.show(one)["image"]
    store = Store(tmp_path / "results.duckdb")
    store.write(dataset_records(data, {"dataset": "image_folder"}))
    store.publish()
    with duckdb.connect(str(tmp_path / "results.duckdb"), read_only=True) as db:
        ids = {row[0] for row in db.execute("SELECT instance_id FROM instances").fetchall()}
    assert ids == set(data.ids("evaluation"))


def test_a_picture_with_an_odd_name_that_is_damaged_is_named_in_one_line(tmp_path, opened):
    for kind in (b"north", b"south"):
        folder = tmp_path / "photos" / os.fsdecode(kind)
        folder.mkdir(parents=True)
        for number in range(5):
            (folder / os.fsdecode(b"s\xfc\n%d.png" % number)).write_bytes(b"no picture")
    data = opened()
    with pytest.raises(DataError) as caught:
        next(data.batches("train", batch_size=1))
    assert re.fullmatch(r"Data set 'mine': .*/photos/north/s\\xfc\\n\d.png: cannot be decoded \(.*", str(caught.value))
    str(caught.value).encode()
    with pytest.raises(DataError, match="cannot be decoded"):
        _ = data.notes


def test_a_table_of_attributes_may_spell_an_odd_name_either_way(tmp_path, save, opened):
    save("north", "south")
    north = tmp_path / "photos" / "north"
    (north / "0.png").rename(north / os.fsdecode(b"\xfc.png"))
    names = [f"{kind}/{number}.png" for kind in ("north", "south") for number in range(5)][1:]
    table = tmp_path / "attributes.csv"
    table.write_text("id,pen\nnorth/\\xfc.png,thick\n" + "".join(f"{name},thin\n" for name in names))
    data = opened(attributes=str(table), evaluation_share=0.99, calibration_share=0)
    pens = dict(zip(data.ids("evaluation"), data.attributes("evaluation")["pen"], strict=True))
    assert pens["north/\\xfc.png"] == "thick"
    assert set(pens.values()) == {"thick", "thin"}
