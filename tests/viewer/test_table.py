"""The table: parameters as columns, filters as they are typed, seeds pooled, cards, and parallel coordinates."""

import html
import json
import re

import numpy as np
import pytest

from tests.studies import study
from tests.viewer.stores import key_of, publish
from tests.viewer.test_experiments import records
from tests.viewer.visits import Page, visit
from viewer.format.filter_text import whole_text
from viewer.results.results import load_results
from viewer.session.state import ViewState
from viewer.table.columns import TableColumn, TableColumns
from viewer.table.filters import FilterError, matching
from viewer.table.parallel import ParallelCoordinates, axis_of
from viewer.table.replicates import summarize_seeds
from viewer.table.rows import TableRows
from viewer.table.table_view import TableView

AMOUNT, EPOCHS = "param:magnitude prune.amount", "param:train.epochs"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "results.duckdb"
    publish(path, study(52)).close()
    return path


@pytest.fixture(scope="module")
def results(path):
    return load_results(path)


@pytest.fixture(scope="module")
def models():
    return {model["id"]: model for model in study(52)["models"]}


@pytest.fixture
def page(path):
    return Page(visit(path, {"page": "table"}))


def table_of(page):
    return next(view for view in page.app._views if isinstance(view, TableView))


def names(page):
    results = page.app.session.results
    return [results.forest[results.keys[row]].name for row in table_of(page).rows()]


def lineage(models, name):
    path = [models[name]]
    while path[0]["base"]:
        path.insert(0, models[path[0]["base"]])
    return [model["operation"] for model in path]


def test_a_parameter_s_column_has_its_values_along_the_lineage(results, models):
    columns = results.shared(TableColumns).parameters
    for row, key in enumerate(results.keys):
        steps = lineage(models, results.forest[key].name)
        for op, name in (("magnitude prune", "amount"), ("train", "epochs"), ("quantize", "method")):
            values = [step["parameters"][name] for step in steps if step["name"] == op]
            column = columns[f"param:{op}.{name}"]
            assert column.text(row) == " → ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)
            if column.is_number:
                assert np.isnan(column.values[row]) if not values else column.values[row] == values[-1]
    assert columns["param:quantize.method"].is_number is False
    assert list(columns)[:3] == [EPOCHS, AMOUNT, "param:gradient prune.amount"], (
        "those that tell models apart come first"
    )
    usual = results.shared(TableColumns).usual
    assert "param:quantize.method" not in usual, "it is the same in all"


@pytest.mark.parametrize(
    ("column", "text", "fits"),
    [
        (AMOUNT, "> 0.5", lambda m: m["amount"] is not None and m["amount"] > 0.5),
        (AMOUNT, "<=0.5", lambda m: m["amount"] is not None and m["amount"] <= 0.5),
        (AMOUNT, "0.5 to 0.75", lambda m: m["amount"] in (0.5, 0.75)),
        (AMOUNT, "0.75..0.5", lambda m: m["amount"] in (0.5, 0.75)),
        (AMOUNT, "0.25 or 0.9", lambda m: m["amount"] in (0.25, 0.9)),
        (AMOUNT, "> 0.25 < 0.9", lambda m: m["amount"] in (0.5, 0.75)),
        (AMOUNT, ">0.25 and <0.9", lambda m: m["amount"] in (0.5, 0.75)),
        (AMOUNT, "!= 0.5", lambda m: m["amount"] not in (None, 0.5)),
        (AMOUNT, "none", lambda m: m["amount"] is None),
        (AMOUNT, "any", lambda m: m["amount"] is not None),
        (AMOUNT, "not > 0.5", lambda m: m["amount"] is None or m["amount"] <= 0.5),
        ("Top-1 Accuracy", ">= 78%", lambda m: round(100 * m["Top-1 Accuracy"], 1) >= 78),
        ("Latency", "< 3 s", lambda m: m["Latency"] < 3000),
        ("Model Size", "<= 25 MB", lambda m: m["Model Size"] <= 25e6),
        (" name", "mag75 int8", lambda m: "mag75" in m["id"] and "int8" in m["id"]),
        (" name", "mag75 -int8", lambda m: "mag75" in m["id"] and "int8" not in m["id"]),
        (" name", "MAG75 | gra75", lambda m: "mag75" in m["id"] or "gra75" in m["id"]),
        (" op", "calibrate", lambda m: m["operation"]["name"] == "calibrate"),
        (" op", "not quantize", lambda m: m["operation"]["name"] != "quantize"),
        (" name", "= resnet50trained", lambda m: m["id"] == "resnet50trained"),
        ("param:quantize.amount", "int8", lambda m: m["operation"]["name"] == "quantize"),
        ("param:quantize.amount", "", lambda m: True),
    ],
)  # fmt: skip
def test_filters_are_read_as_people_write_them(results, models, column, text, fits):
    wanted = set()
    for name, model in models.items():
        amounts = [s["parameters"]["amount"] for s in lineage(models, name) if s["name"] == "magnitude prune"]
        if fits({**model, **model["metrics"], "amount": amounts[-1] if amounts else None}):
            wanted.add(name)
    mask = matching(text, results.shared(TableColumns).find(column), len(results.keys))
    assert {results.forest[results.keys[row]].name for row in np.flatnonzero(mask)} == wanted
    assert wanted


@pytest.mark.parametrize(
    ("column", "text", "says"),
    [
        (AMOUNT, "high", "holds numbers: write > 0.5"), (AMOUNT, ">", "is no filter of numbers"),
        ("Top-1 Accuracy", "> 90", "did you mean 90%"), (" name", "> 3", "holds words"), ("Latency", "< 3 MB", "does not fit"),
    ],
)  # fmt: skip
def test_a_filter_that_cannot_be_read_says_why(results, column, text, says):
    with pytest.raises(FilterError, match=re.escape(says)):
        matching(text, results.shared(TableColumns).find(column), len(results.keys))


def test_a_filter_narrows_table_file_and_sql_and_a_wrong_one_is_said(page, path):
    from pipeline.store.reader import open_results

    page.say("where", column=AMOUNT, text="> 0.5", typed="where")
    assert len(names(page)) == 12
    assert page.app.state.where == {AMOUNT: "> 0.5"}
    assert len(page.say("csv")["save"]["text"].splitlines()) == 13
    page.say("sort", order="Latency")
    db = open_results(path)
    rows = db.execute(page.say("sql")["copy"].rstrip(";")).fetchall()
    db.close()
    assert [row[0] for row in rows] == names(page)
    link = page.say("where", column="Latency", text="fast")
    assert "&#39;Latency&#39; holds numbers" in link["panes"]["page"]
    assert len(names(page)) == 12, "what cannot be read lets all through"
    again = visit(path, {"where": json.dumps({AMOUNT: "> 0.5", "gone": "x"})})
    assert again.state.where == {AMOUNT: "> 0.5"}
    assert again.session.notices == ["The table has no column 'gone' to filter by."]
    page.say("where_clear")
    assert len(names(page)) == 52


def test_rows_sort_by_parameters_with_those_without_last(page):
    page.say("sort", order=AMOUNT)
    column = page.app.session.results.shared(TableColumns).find(AMOUNT)
    for _ in range(2):
        values = column.values[table_of(page).rows()]
        finite = values[np.isfinite(values)]
        assert np.isnan(values[len(finite) :]).all()
        page.say("sort", order=AMOUNT)
    page.say("sort", order="param:quantize.method")
    assert [name for name in names(page) if name.endswith("int8")] == names(page)[:26]


def test_columns_are_chosen_told_to_the_browser_and_come_back_without_a_step_in_the_history(page, path):
    usual = page.app.session.results.shared(TableColumns).usual
    told = page.say("column_shown", column="param:quantize.method")
    assert told["columns"]["names"] == [*usual[:3], "param:quantize.method", *usual[3:]]
    assert told["link"]["push"] is True
    fresh = Page(visit(path, {"page": "table"}))
    back = fresh.say("columns_remembered", study="results.duckdb", names=["Latency", "gone", AMOUNT, 3])
    assert fresh.app.state.columns == [AMOUNT, "Latency"]
    assert back["link"]["push"] is False
    fresh.say("columns_remembered", study="results.duckdb", names=["Epochs"])
    assert fresh.app.state.columns == [AMOUNT, "Latency"], "what is chosen already stays"
    other = Page(visit(path, {"page": "table"}))
    other.say("columns_remembered", study="another.duckdb", names=["Latency"])
    assert other.app.state.columns == []
    fresh.say("columns_usual")
    assert fresh.app.state.columns == []


def test_a_row_opens_its_card_in_the_address_and_the_card_takes_notes(tmp_path):
    results = tmp_path / "results.duckdb"
    publish(results, study(8)).close()
    page = Page(visit(results, {"page": "table"}))
    key = key_of("resnet50trained-mag50")
    drawn = page.say("row_card", key=key)
    assert f"card={key[:6]}" in drawn["link"]["query"]
    assert 'aria-label="Card of the model"' in drawn["panes"]["page"]
    said = page.say("t_flag", kind_of="model", about=key, why="<b>too slow</b>", tags="Slow, ask QA")["panes"]["page"]
    assert "&lt;b&gt;too slow&lt;/b&gt;" in said
    assert "slow, ask qa" in said, "the column of tags appears with the first"
    page.say("where", column=" tags", text="slow")
    assert names(page) == ["resnet50trained-mag50"]
    assert "too slow" in page.say("csv")["save"]["text"].splitlines()[1]
    page.say("t_unflag", kind_of="model", about=key)
    page.say("row_card", key=key)
    assert page.app.state.card == ""


# ---- seeds
@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    from pipeline.store.writer import Store

    path = tmp_path_factory.mktemp("seeds") / "results.duckdb"
    store = Store(path)
    store.write(records())
    store.publish()
    store.close()
    return path


def test_models_that_differ_in_their_seeds_alone_are_one_row_with_mean_spread_and_count(seeds):
    page = Page(visit(seeds, {"page": "table", "group": "replicates"}))
    table = table_of(page).table()
    keys = [[table.results.keys[row] for row in entry] for entry in table.entries]
    assert sorted(keys) == sorted(
        [["s0", "s7"], ["s0/int8", "s7/int8"], ["words"], ["unmeasured"], ["a0"], ["a1"], ["b0"]]
    )
    entry = next(entry for entry in table.entries if table.results.keys[entry[0]] == "s0")
    figures = summarize_seeds(table.results.values("accuracy"), entry)
    assert (figures.mean, figures.low, figures.high, figures.count) == (pytest.approx(0.905), 0.90, 0.91, 2)
    drawn = html.unescape(table_of(page).draw_page())
    assert "2 models: seeds 0, 7" in drawn
    assert '0.905<br><span class="soft">0.9 to 0.91, n = 2</span>' in drawn
    assert 'seed 7"' not in drawn
    page.say("sort", order="file_bytes")
    means = [
        np.mean(table_of(page).table().results.values("file_bytes")[list(e)]) for e in table_of(page).table().entries
    ]
    assert means == sorted(means)
    page.say("row", keys="s0,s7")
    assert page.app.state.selected == ["s0", "s7"]
    page.say("row", keys="s0,s7")
    assert page.app.state.selected == []


def test_seeds_that_steps_give_are_pooled_like_those_of_recipes(tmp_path):
    trees = study(1)
    for seed in (10, 2):
        step = {"base": "resnet50trained", "tag": "", "metrics": {"Latency": 100.0 * seed}}
        name = f"resnet50trained/finetune[seed={seed},epochs=3]"
        trees["models"] += [
            {**step, "id": name, "operation": {"name": "finetune", "parameters": {"epochs": 3, "seed": seed}}},
            {**step, "id": f"{name}/int8", "base": name, "operation": {"name": "quantize", "parameters": {}}},
        ]
    publish(tmp_path / "results.duckdb", trees).close()
    table = table_of(Page(visit(tmp_path / "results.duckdb", {"page": "table", "group": "replicates"}))).table()
    lines = [table.line(entry) for entry in table.entries]
    assert [(line["name"], line["count"], line["seeds"]) for line in lines] == [
        ("resnet50trained", 1, ""), ("finetune epochs 3", 2, "seeds 2, 10"), ("finetune epochs 3 → int8", 2, "seeds 2, 10"),
    ]  # fmt: skip


def test_without_replicates_there_is_nothing_to_pool(page):
    assert not table_of(page).table().replicates.exist
    page.app.state.change({"group": "replicates"})
    assert "Models 1 to 50 of 52" in table_of(page).draw_page()
    assert "mean and spread" not in table_of(page).draw_page()


# ---- lines
def test_axes_place_numbers_logarithms_and_words(results):
    columns, everything = results.shared(TableColumns), np.ones(52, dtype=bool)
    amounts = axis_of(columns.find(AMOUNT), everything)
    measured = np.isfinite(amounts.places)
    assert (amounts.low, amounts.high, amounts.is_log) == (0.25, 0.9, False)
    assert amounts.places[measured] == pytest.approx((amounts.column.values[measured] - 0.25) / 0.65)
    assert [text for _, text in amounts.ticks()] == ["0.25", "0.5", "0.75", "0.9"]
    words = axis_of(columns.find(" op"), everything)
    assert words.words[0] == "calibrate data train batch"
    assert words.places.min() == 0
    assert words.places.max() == 1
    spread = axis_of(columns.find("Top-1 Accuracy"), everything)
    assert spread.value(spread.place(0.5, 0.0)) == pytest.approx(0.5)


def test_a_range_of_an_axis_is_a_budget_a_filter_or_a_selection(page):
    page.app.state.change({"look": "lines"})
    drawn = page.say("axis", column="Top-1 Accuracy", low=0.5, high=1.0)["panes"]["page"]
    (metric, low, high) = page.app.state.filters[0]
    values = page.app.session.results.values("Top-1 Accuracy")
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    assert (metric, high) == ("Top-1 Accuracy", None)
    assert low == pytest.approx(middle, rel=1e-3)
    inside = int((values >= low).sum())
    assert f"{inside} models" in drawn
    assert drawn.count('class="single"') == inside
    page.say("axis", column="Top-1 Accuracy")
    assert page.app.state.filters == [], "a click clears"
    page.say("axis", column=AMOUNT, low=0.3, high=0.8)
    assert page.app.state.where == {AMOUNT: "0.445 to 0.77"}
    page.say("axis", column=AMOUNT)
    page.app.state.change({"columns": ["param:quantize.amount", AMOUNT]})
    page.say("axis", column="param:quantize.amount", low=0.4, high=0.6)
    assert page.app.state.where == {}, "the only word is no filter"
    page.app.state.change({"dragging": "select"})
    page.say("axis", column="Sparsity", low=0.9, high=1.0)
    sparsity = page.app.session.results.values("Sparsity")
    most = sparsity.min() + 0.9 * (sparsity.max() - sparsity.min())
    assert set(page.app.state.selected) == {
        key for key, value in zip(page.app.session.results.keys, sparsity, strict=True) if value >= most
    }
    for odd in ({"low": "x"}, {"low": float("nan"), "high": 2}, {"low": None, "high": []}):
        page.say("axis", column="Sparsity", **odd)
    page.say("axis", column="gone", low=0, high=1)
    assert page.app.session.notices == []


def test_lines_that_look_alike_are_drawn_once_and_many_are_drawn_together(results, monkeypatch):
    from viewer.table import parallel

    table = TableRows(results, ViewState(), {})
    apart = ParallelCoordinates(table, dark=False).drawing()
    assert (len(apart["lines"]), apart["groups"]) == (52, [])
    monkeypatch.setattr(parallel, "MOST_APART", 10)
    together = ParallelCoordinates(table, dark=False).drawing()
    assert together["lines"] == []
    moves = sum(group["d"].count("M") for group in together["groups"])
    assert 1 < len(together["groups"]) < 30
    assert moves <= 52
    assert ParallelCoordinates(TableRows(results, ViewState(), {}), dark=True).drawing()["front"] == 52


def test_a_budget_that_is_dragged_on_an_axis_leaves_out_of_the_selection_what_it_excludes(page):
    page.app.state.change({"look": "lines"})
    results = page.app.session.results
    values = results.values("Top-1 Accuracy")
    order = np.argsort(np.nan_to_num(values, nan=-1.0))
    worst, best = (results.keys[row] for row in (order[0], order[-1]))
    page.app.state.pick([worst, best])
    page.say("axis", column="Top-1 Accuracy", low=0.5, high=1.0)
    assert page.app.state.selected == [best]


TEXTS = ["one or two", "one", "two", "a|b", 'say "x"', "none", "not one", "", "= one", "any"]


@pytest.mark.parametrize("text", filter(None, TEXTS))
def test_a_whole_text_is_written_so_that_it_is_found_alone(text):
    column = TableColumn("words", "words", TEXTS.__getitem__)
    assert np.flatnonzero(matching(whole_text(text), column, len(TEXTS))).tolist() == [TEXTS.index(text)]
    both = matching(f"{whole_text(text)} or {whole_text('two')}", column, len(TEXTS))
    assert set(np.flatnonzero(both)) == {TEXTS.index(text), TEXTS.index("two")}


def test_quotes_hold_words_together_and_a_minus_before_them_takes_them_out():
    column = TableColumn("words", "words", TEXTS.__getitem__)

    def rows(text):
        return [TEXTS[row] for row in np.flatnonzero(matching(text, column, len(TEXTS)))]

    assert rows('"or two"') == ["one or two"]
    assert rows('one -"or two" -no') == ["one", "= one"]
    assert rows('"a|b" | two') == ["one or two", "two", "a|b"]
    assert rows('"say ""x"""') == ['say "x"']
    with pytest.raises(FilterError, match="longer than"):
        matching("x " * 3000, column, len(TEXTS))


def test_a_tag_is_found_by_itself_and_not_within_another():
    tags = [("ship",), ("shipping",), ("do not ship", "ask"), ("ask", "ship")]
    column = TableColumn(" tags", "Tags", lambda row: ", ".join(tags[row]), texts=tags.__getitem__)
    assert np.flatnonzero(matching(whole_text("ship"), column, 4)).tolist() == [0, 3]
    assert np.flatnonzero(matching("ship", column, 4)).tolist() == [0, 1, 2, 3]
