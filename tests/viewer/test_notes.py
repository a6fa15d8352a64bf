"""Notes beside the results: appended, never changed, readable by anyone."""

import pytest

from viewer.notes.notes import Notes, notes_path


def test_who_when_and_why(tmp_path):
    results = tmp_path / "results.duckdb"
    notes = Notes(results)
    notes.add("class", "cat", "too many errors", dataset_key="d")
    notes.add("model", "abc", "ask QA")
    (first, second) = Notes(results).all()
    assert (first.about, first.why, first.dataset_key) == ("cat", "too many errors", "d")
    assert first.who
    assert first.when.endswith("+00:00")
    assert second.kind == "model"
    assert notes.of("class", "d")["cat"].why == "too many errors"
    assert notes.of("class", "another data set") == {}


@pytest.mark.parametrize(
    "line",
    [
        '{"kind": "model", "about": ["a"], "why": "", "who": "", "when": ""}',
        '{"kind": "model", "about": "a", "why": "", "who": "", "when": 3}',
        '{"kind": "model", "about": "a", "why": null, "who": "", "when": ""}',
        '{"kind": "none", "about": "a", "why": "", "who": "", "when": ""}',
        '{"kind": ["model"], "about": "a", "why": "", "who": "", "when": ""}',
        "[" * 100_000,
        "null",
        "3",
        '"text"',
        "\0\0\0",
        "\ud83d",
    ],
)
def test_a_damaged_line_is_passed_over(tmp_path, line):
    notes = Notes(tmp_path / "r.duckdb")
    notes.add("model", "abc", "ask QA")
    with notes.path.open("a", encoding="utf-8", errors="surrogatepass") as file:
        file.write(f"{line}\n")
    notes.add("model", "def", "ask again")
    assert [note.about for note in Notes(tmp_path / "r.duckdb").all()] == ["abc", "def"]
    assert list(Notes(tmp_path / "r.duckdb").of("model")) == ["abc", "def"]


def test_a_folder_in_the_place_of_the_notes_is_none(tmp_path):
    notes = Notes(tmp_path / "r.duckdb")
    notes.path.mkdir()
    assert notes.all() == []


def test_a_flag_can_be_changed_and_taken_away(tmp_path):
    notes = Notes(tmp_path / "r.duckdb")
    notes.add("instance", "i1", "odd", dataset_key="d")
    notes.add("instance", "i1", "a stove and a microwave", dataset_key="d")
    assert [note.why for note in notes.all()] == ["a stove and a microwave"]
    notes.remove("instance", "i1", dataset_key="d")
    assert notes.all() == []
    assert len(notes.path.read_text().splitlines()) == 3


def test_another_viewer_sees_them_at_once_and_rubbish_is_passed_over(tmp_path):
    results = tmp_path / "r.duckdb"
    mine, yours = Notes(results), Notes(results)
    assert yours.all() == []
    mine.add("model", "k", "hello\n<script>alert(1)</script>")
    with notes_path(results).open("a") as file:
        file.write('not json\n{"kind": "x"}\n')
    assert [note.why for note in yours.all()] == ["hello\n<script>alert(1)</script>"]
