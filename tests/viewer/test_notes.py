"""Notes beside the results: appended, never changed, readable by anyone."""

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from tests.studies import study
from tests.viewer.stores import key_of, publish
from tests.viewer.visits import Page, visit
from viewer.decide.rail_view import Rail
from viewer.overview.notes_view import NotesPage
from viewer.overview.report import ReportView
from viewer.session.author import author_of
from viewer.session.notes import Notes, notes_path, read_tags, this_user
from viewer.session.saved_views import SavedViews
from viewer.table.table_view import TableView


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
    assert notes.of("class", "d")["cat"].own.why == "too many errors"
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


# ---- authors, tags, views
def test_each_author_has_a_note_of_their_own_and_takes_away_no_other(tmp_path):
    notes = Notes(tmp_path / "r.duckdb")
    notes.add("model", "k", "slow", who="rosa", tags=read_tags("Slow, #ask  QA, slow"))
    notes.add("model", "k", "fine by me", who="emil")
    assert {(note.who, note.why, note.tags) for note in notes.all()} == {
        ("rosa", "slow", ("slow", "ask qa")), ("emil", "fine by me", ()),
    }  # fmt: skip
    notes.remove("model", "k", who="emil")
    notes.remove("model", "k", who="nobody")
    assert [note.who for note in Notes(tmp_path / "r.duckdb").about_models()["k"]] == ["rosa"]


def test_lines_of_earlier_versions_and_odd_tags(tmp_path):
    notes = Notes(tmp_path / "r.duckdb")
    old = {"kind": "model", "about": "k", "why": "old", "who": "rosa", "when": "2026-01-01T00:00:00+00:00"}
    odd = [{**old, "about": "x", "tags": tags} for tags in ("text", [1], {"a": 1}, None)]
    notes.path.write_text("".join(json.dumps(line) + "\n" for line in (old, *odd)))
    assert [(note.about, note.tags) for note in notes.all()] == [("k", ())]


def test_writers_at_the_same_time_lose_nothing_and_a_line_that_was_cut_off_takes_none_along(tmp_path):
    results = tmp_path / "r.duckdb"
    notes_path(results).write_bytes(b'{"kind": "model", "abo')

    def write(who):
        views, notes = SavedViews(results), Notes(results)
        for number in range(40):
            views.save(f"view {number}", "page=table", who)
            notes.add("model", str(number), "x" * 3000, who=who)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, ["a", "b", "c", "d"]))
    assert len(SavedViews(results).all()) == len(Notes(results).all()) == 160


def test_views_are_saved_opened_and_taken_away_by_their_authors(tmp_path):
    results = tmp_path / "results.duckdb"
    publish(results, study(8)).close()
    SavedViews(results).save("Small", "page=table&filters=~2e7~Model Size", "rosa")
    page = Page(visit(results, {"page": "compare"}))
    page.app.session.user = "emil"
    shown = page.app._view_of(NotesPage).draw_views()
    assert "Small" in shown
    assert "view_remove" not in shown, "it is rosa's"
    opened = page.say("view_open", query=SavedViews(results).find("Small", "rosa").query)
    assert (page.app.state.page, page.app.state.filters) == ("table", [("Model Size", None, 2e7)])
    assert opened["link"]["push"] is True, "Back leads to what was seen before"
    page.say("view_save", name="  mine   too ")
    page.say("view_remove", name="Small")
    assert [(view.name, view.who) for view in SavedViews(results).all()] == [("mine too", "emil"), ("Small", "rosa")]
    assert "page=table" in SavedViews(results).find("mine too", "emil").query
    page.say("view_save", name=" ")
    page.say("view_remove", name="mine too")
    assert [view.name for view in SavedViews(results).all()] == ["Small"]
    SavedViews(results).save("of another visitor", "", "rosa")
    page.app._look_again()
    assert "of another visitor" in page.updates[-1]["panes"]["views"]


def test_notes_are_listed_found_by_tag_exported_and_in_the_report(tmp_path):
    results = tmp_path / "results.duckdb"
    publish(results, study(8)).close()
    mag50, mag75 = key_of("resnet50trained-mag50"), key_of("resnet50trained-mag75")
    Notes(results).add("model", mag50, "=cmd() <b>", who="rosa", tags=("ship",))
    Notes(results).add("class", "cat", "odd", who="rosa", dataset_key="d")
    page = Page(visit(results, {"page": "notes"}))
    page.app.session.user = "emil"
    page.app.state.pick([mag50, mag75])
    listed = page.say("note_write", why="mine", tags="ask, ship")["panes"]["page"]
    assert listed.count('data-do="note_remove"') == 2, "rosa's are not mine to take away"
    assert "&lt;b&gt;" in listed
    page.say("note_tag", tag="ask")
    page.say("note_models")
    assert set(page.app.state.selected) == {mag50, mag75}
    rows = list(csv.DictReader(io.StringIO(page.say("notes_csv")["save"]["text"])))
    assert {(row["model"], row["author"], row["tags"]) for row in rows} == {
        ("resnet50trained-mag50", "emil", "ask, ship"), ("resnet50trained-mag75", "emil", "ask, ship"),
    }  # fmt: skip
    page.say("note_remove", kind_of="model", about=mag50)
    assert {(note.who, note.about) for note in Notes(results).all()} == {
        ("rosa", mag50),
        ("rosa", "cat"),
        ("emil", mag75),
    }
    page.say("search", text="tag=ship", submitted=True)
    assert page.app.state.selected == [mag50, mag75]
    page.say("note_tag", tag="ask")
    assert "'=cmd()" in page.say("notes_csv")["save"]["text"]
    page.say("note_table")
    assert (page.app.state.page, page.app.state.where) == ("table", {" tags": "any"})
    report = next(view for view in page.app._views if isinstance(view, ReportView)).html()
    assert "3 notes" in report
    assert "=cmd() &lt;b&gt;" in report


@pytest.mark.parametrize(
    ("header", "request_", "command", "who"),
    [
        ("X-User", SimpleNamespace(headers={"X-User": " rosa\n"}), ["--address", "0.0.0.0"], "rosa"),
        ("X-User", SimpleNamespace(_request=SimpleNamespace(headers={}), headers={"X-User": "forged"}), [], "anonymous"),
        ("", SimpleNamespace(headers={"X-User": "rosa"}), ["--address=0.0.0.0"], "anonymous"),
        ("", SimpleNamespace(cookies={"user": "rosa"}), ["--address=0.0.0.0"], "anonymous"),
        ("", SimpleNamespace(cookies={}), ["--address", "127.0.0.1"], this_user()),
        ("", None, ["panel", "serve"], this_user()),
    ],
)  # fmt: skip
def test_the_author_is_whom_the_server_knows(header, request_, command, who, monkeypatch):
    monkeypatch.setenv("BOUILLON_USER_HEADER", header)
    assert author_of(request_, command) == who


def test_the_author_is_who_logged_in_by_a_signed_cookie_alone(monkeypatch):
    from panel.config import config
    from tornado.web import create_signed_value

    monkeypatch.delenv("BOUILLON_USER_HEADER", raising=False)
    monkeypatch.setattr(config, "cookie_secret", "secret")
    for secret, who in (("secret", "rosa"), ("guess", "anonymous")):
        cookie = create_signed_value(secret, "user", "rosa").decode()
        assert author_of(SimpleNamespace(cookies={"user": cookie}), ["--address=0.0.0.0"]) == who


def test_a_flag_offers_ones_own_note_to_change_and_shows_what_others_said(tmp_path):
    results = tmp_path / "results.duckdb"
    publish(results, study(8)).close()
    key = key_of("resnet50trained-mag50")
    Notes(results).add("model", key, "rosas words", who="rosa", tags=("ship",))
    page = Page(visit(results, {"selected": key, "page": "table", "card": key}))
    page.app.session.user = "emil"
    for markup in (page.app._view_of(Rail).draw_rail(), page.app._draw_page()):
        form = markup[markup.index('data-about="' + key) :].partition("</form>")
        assert "rosas words" not in form[0], "it is not emil's to save as his own"
        assert "unflag" not in markup
        assert "rosas words" in form[2]
    page.say("rail_flag", kind_of="model", about=key, why="emils words", tags="")
    assert {(note.who, note.why) for note in Notes(results).all()} == {("rosa", "rosas words"), ("emil", "emils words")}
    markup = page.app._view_of(Rail).draw_rail()
    assert "emils words</textarea>" in markup
    assert markup.count("rail_unflag") == 1
    page.say("rail_find", text="tag=ship nothing")
    assert "No other model matches" in page.updates[-1]["panes"]["rail_found"]
    page.app.state.pick([])
    assert key in page.say("rail_find", text="tag=ship")["panes"]["rail_found"], "tags are words of this search too"


def test_the_table_shows_the_models_of_the_very_tag(tmp_path):
    results = tmp_path / "results.duckdb"
    publish(results, study(8)).close()
    first, second = (key_of(f"resnet50trained-{name}") for name in ("mag50", "mag75"))
    Notes(results).add("model", first, "", who="rosa", tags=("ship or not",))
    Notes(results).add("model", second, "", who="rosa", tags=("ship or not yet",))
    page = Page(visit(results, {"page": "notes"}))
    page.say("note_tag", tag="ship or not")
    page.say("note_table")
    table = page.app._view_of(TableView)
    assert [page.app.session.results.keys[row] for row in table.rows()] == [first]


def test_a_view_has_no_colours_of_its_author_and_too_much_for_one_is_refused(tmp_path):
    results = tmp_path / "results.duckdb"
    publish(results, study(8)).close()
    page = Page(visit(results, {"page": "table", "theme": "dark"}))
    page.app.session.user = "emil"
    page.say("view_save", name="mine")
    assert "theme" not in SavedViews(results).find("mine", "emil").query
    page.app.state.change({"page": "compare"})
    page.say("view_open", query="page=table&theme=light")
    assert (page.app.state.page, page.app.state.theme) == ("table", "dark"), "the reader's own stay"
    page.app.state.change({"notes_text": "x" * 70_000})
    assert page.say("view_save", name="much")["flash"].startswith("Not saved: the address has 70,")
    assert page.say("view_save", name=" ")["flash"] == "A view needs a name"
    assert [view.name for view in SavedViews(results).all()] == ["mine"]
