"""What counts as an artifact, and how a damaged one is replaced."""

import pytest

from pipeline.core.keys import Key

KEY = Key("ab" * 32)


@pytest.fixture
def published(artifacts):
    with artifacts.publish(KEY, {"what": "test"}) as folder:
        (folder / "file").write_text("one")
    return artifacts


@pytest.mark.parametrize("manifest", [b"", b'{"what": "te', b"\xff\xfe"])
def test_what_has_a_damaged_manifest_is_not_there_and_is_replaced(published, manifest):
    assert KEY in published
    assert not published.is_damaged(KEY)
    (published.path(KEY) / "manifest.json").write_bytes(manifest)
    assert KEY not in published
    assert published.is_damaged(KEY)
    with published.publish(KEY, {"what": "again"}) as folder:
        (folder / "file").write_text("two")
    assert published.manifest(KEY) == {"what": "again"}
    assert (published.path(KEY) / "file").read_text() == "two"


def test_who_comes_second_keeps_what_is_there(published):
    with published.publish(KEY, {"what": "again"}):
        pass
    assert published.manifest(KEY) == {"what": "test"}


def test_what_was_never_made_is_not_damaged(artifacts):
    assert KEY not in artifacts
    assert not artifacts.is_damaged(KEY)
