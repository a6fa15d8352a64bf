import os

from pipeline.core.download import checksums
from pipeline.core.download.checksums import content_digest, file_digests


def _folder(root, **files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return sorted(files)


def test_names_and_contents_count_and_the_place_does_not(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    names = _folder(one, a="1", b="2")
    _folder(two, a="1", b="2")
    cache = tmp_path / "cache"
    assert content_digest(one, names, cache) == content_digest(two, names, cache)
    assert content_digest(one, names[::-1], cache) == content_digest(one, names, cache)
    before = content_digest(one, names, cache)
    (two / "b").write_text("3")
    (two / "c").write_text("2")
    assert len({before, content_digest(two, names, cache), content_digest(two, ["a", "c"], cache)}) == 3


def test_unchanged_files_are_not_read_again(tmp_path, monkeypatch):
    names = _folder(tmp_path / "files", a="1", b="2")
    before = content_digest(tmp_path / "files", names, tmp_path / "cache")
    read = []
    monkeypatch.setattr(checksums, "_digest", lambda file: read.append(file.name) or "0" * 64)
    assert content_digest(tmp_path / "files", names, tmp_path / "cache") == before
    assert read == []
    file_digests(tmp_path / "files", ["a"], tmp_path / "cache")
    assert read == []
    (tmp_path / "files" / "b").write_text("3")
    content_digest(tmp_path / "files", names, tmp_path / "cache")
    assert read == ["b"]


def test_a_change_that_keeps_size_and_modification_time_is_noticed(tmp_path):
    names = _folder(tmp_path / "files", a="1")
    file = tmp_path / "files" / "a"
    before, times = content_digest(tmp_path / "files", names, tmp_path / "cache"), file.stat()
    _tick(file)
    file.write_text("2")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert content_digest(tmp_path / "files", names, tmp_path / "cache") != before


def _tick(file):
    """Wait until the file system's clock has moved on."""
    other, before = file.with_name("clock"), file.stat().st_ctime_ns
    while True:
        other.write_text("")
        if other.stat().st_ctime_ns > before:
            return


def test_it_works_without_a_memory(tmp_path):
    names = _folder(tmp_path / "files", a="1")
    (tmp_path / "cache").write_text("a file is in the way")
    with_memory = content_digest(tmp_path / "files", names, tmp_path / "other")
    assert content_digest(tmp_path / "files", names, tmp_path / "cache" / "below") == with_memory


def test_a_damaged_memory_is_made_anew(tmp_path):
    names = _folder(tmp_path / "files", a="1")
    before = content_digest(tmp_path / "files", names, tmp_path / "cache")
    for file in (tmp_path / "cache").iterdir():
        file.write_text("{half")
    assert content_digest(tmp_path / "files", names, tmp_path / "cache") == before


def test_only_the_latest_listings_are_remembered(tmp_path):
    names = _folder(tmp_path / "files", **{f"f{number}": str(number) for number in range(20)})
    for name in names:
        content_digest(tmp_path / "files", [name], tmp_path / "cache")
    [memory] = (tmp_path / "cache").glob("*.listings.json")
    assert memory.read_text().count(":") == 16
