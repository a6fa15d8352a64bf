"""Files of results that something has damaged: what cannot be read is made again, or named with the way to make it."""

import os
import re
import shutil

import pytest

from tests.pipeline.command import Place

WORDS = "recipe=small", "bench=none", "~recipe.tree.base.then.pruned.then"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("finished"))
    code, _, err = place.run(*WORDS)
    assert code == 0, err
    return place


@pytest.fixture
def place(finished, tmp_path):
    """A copy, to be damaged."""
    copy = Place(tmp_path / "copy")
    shutil.copytree(finished.folder, copy.folder)
    return copy


def artifact(place, model, file):
    """The folder of a model's first artifact with such a file."""
    [key] = place.sql("SELECT model_key FROM models WHERE name = ?", model)
    found = [path.parent for path in sorted(place.artifacts.glob(f"*/*/{file}"))]
    return next(folder for folder in found if f'"model": "{key[0]}"' in (folder / "manifest.json").read_text())


def lose_results(place):
    place.results.unlink()
    for left in place.artifacts.parent.glob("results.duckdb.w*"):
        left.unlink()


def accuracies(place):
    return place.sql("SELECT model, accuracy FROM scoreboard ORDER BY model")


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("file", "job"),
    [
        ("manifest.json", "[a-z]+"),
        ("predictions.npz", "predict"),
        ("predictions.json", "predict"),
        ("layers.json", "layers"),
    ],
)
def test_a_damaged_result_is_made_again_where_the_store_lacks_it(place, file, job):
    before = accuracies(place)
    folder = artifact(place, "base/int8", file)
    whole = (folder / file).read_bytes()
    lose_results(place)
    (folder / file).write_bytes(whole[: len(whole) // 2])
    code, out, err = place.run(*WORDS)
    assert (code, err.count("Traceback")) == (0, 0), err
    assert re.search(rf"{job} of 'base/int8' is made again: {folder.relative_to(place.folder)} is damaged \(.+\)", out)
    assert accuracies(place) == before
    assert len((folder / file).read_bytes()) == len(whole)
    again = place.run(*WORDS)
    assert again[0] == 0
    assert "damaged" not in again[1]


def test_an_empty_manifest_is_that_of_no_result(place):
    folder = artifact(place, "base", "model.safetensors")
    (folder / "manifest.json").write_text("")
    code, out, _ = place.run(*WORDS)
    assert code == 0
    assert "operation of 'base' is made again" in out
    assert (folder / "manifest.json").stat().st_size


@pytest.mark.matrix
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_parent_is_made_again_in_the_run_that_reads_it(place, damage):
    """Also where size and dates are as before: a flipped bit of a weight is a wrong model."""
    file = artifact(place, "base", "model.safetensors") / "model.safetensors"
    whole, status = file.read_bytes(), file.stat()
    middle = len(whole) // 2
    changed = whole[:1000] if damage == "cut" else whole[:middle] + bytes([whole[middle] ^ 64]) + whole[middle + 1 :]
    file.write_bytes(changed)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    more = *WORDS, "+recipe.tree.base.then.more={op: magnitude_prune, with: {sparsity: 0.9}}"
    code, out, err = place.run(*more)
    assert (code, err.count("Traceback")) == (0, 0), err
    said = re.sub(r"\s+", " ", out)
    assert re.search(
        r"operation of 'base' is made again: .* is damaged \(the content of model\.safetensors is not what", said
    )
    assert file.read_bytes() == whole
