"""kill -9 of driver or workers at random moments loses nothing and leaves nothing half done."""

import pytest

from tests.pipeline.command import Place
from tests.pipeline.killing import WORDS, files, fingerprint, kill_and_resume


@pytest.mark.slow
def test_a_killed_and_resumed_sweep_ends_like_an_undisturbed_one(tmp_path):
    calm, shaken = Place(tmp_path / "calm"), Place(tmp_path / "shaken")
    for place in (calm, shaken):
        place.folder.mkdir()
    code, _, err = calm.run(*WORDS)
    assert code == 0, err
    assert kill_and_resume(shaken, 5, seed=1, calm=files(calm)) >= 2
    one, two = fingerprint(calm), fingerprint(shaken)
    assert one["files"].keys() == two["files"].keys()
    assert [name for name in one["files"] if one["files"][name] != two["files"][name]] == []
    for table in ("models", "measurements", "predictions", "layers"):
        assert one[table] == two[table], table
        assert one[table], table
    assert not list((shaken.folder / ".bouillon" / "artifacts").glob("*/.tmp-*"))
