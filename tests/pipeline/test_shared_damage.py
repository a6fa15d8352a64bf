"""What others do to an object store behind one's back: altered figures, withdrawn results, the last copy of something."""

import json

import pytest

from pipeline.core.artifacts import ArtifactStore, DamagedArtifactError
from pipeline.core.keys import Key
from pipeline.core.sharing.object_store import ObjectStoreError
from pipeline.core.sharing.shared_artifacts import SharedPlace, open_artifacts

pytest.importorskip("obstore", reason="needs the extra objectstore")
KEY = Key("ab" * 32)


@pytest.fixture
def open_at(tmp_path):
    """Open the shared place from a machine of the given name."""
    return lambda machine, **options: open_artifacts(
        tmp_path / machine, SharedPlace(f"file://{tmp_path}/objects", **options)
    )


def publish(artifacts, text="one"):
    with artifacts.publish(KEY, {"what": "test", "value": 0.1}) as folder:
        (folder / "file").write_text(text)


def test_a_figure_that_was_altered_in_a_manifest_there_is_refused(open_at):
    here = open_at("a")
    publish(here)
    name = f"manifests/{KEY}.json"
    stored = json.loads(here.objects.read(name))
    assert stored["manifest"]["value"] == 0.1
    stored["manifest"]["value"] = 0.9
    here.objects.write(name, json.dumps(stored).encode())
    for leads in (True, False):
        for look in (ArtifactStore.manifest, ArtifactStore.digests, lambda store, key: store.folder(key)):
            with pytest.raises(ObjectStoreError, match=r"is not what was written: remove it, and run again"):
                look(open_at("b", leads=leads), KEY)


def test_what_another_has_withdrawn_is_told_and_made_again_and_no_newer_upload_goes(open_at):
    one, two = open_at("a"), open_at("b", leads=True)
    publish(one)
    stale = two._stored(KEY)
    assert KEY in two
    one.objects.delete([f"manifests/{KEY}.json"])
    with pytest.raises(DamagedArtifactError, match=r"was there and is no longer; run again, and it is made again"):
        two.folder(KEY)
    assert KEY not in two
    publish(open_at("c"), text="new")
    two._withdraw(KEY, stale["attempt"])  # found damaged before it was made again
    assert (two.folder(KEY) / "file").read_text() == "new"


def test_the_last_copy_is_not_removed_for_room_when_the_store_has_lost_its_own(open_at):
    keys = [Key(f"{number:02x}" * 32) for number in (1, 2)]
    for key in keys:
        with open_at("a").publish(key, {}) as folder:
            (folder / "file").write_bytes(bytes(10_000))
    node = open_at("b", cache_bytes=12_000)
    node.folder(keys[0])
    node.release()
    open_at("a").objects.delete([f"manifests/{keys[0]}.json"])
    node.folder(keys[1])
    assert node.is_whole(keys[0])


def test_a_manifest_cannot_name_files_outside_of_its_folder(open_at, tmp_path):
    here = open_at("a")
    manifest = {"attempt": "x", "manifest": {"files": {"../../../evil": {"size": 1, "sha256": "0"}}}}
    here.objects.write(f"manifests/{KEY}.json", json.dumps(manifest).encode())
    with pytest.raises(ObjectStoreError, match=r"names a file outside of it"):
        here.fetch(KEY)
    here.objects.write(f"manifests/{KEY}.json", b"{}")
    with pytest.raises(ObjectStoreError, match=r"is not what was written"):
        here.fetch(KEY)
