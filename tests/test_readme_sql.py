"""The SQL guide: every query gives an answer on a small sweep, every view and column is listed."""

import contextlib
import io
import re

import pytest

from pipeline.store.reader import open_results
from scripts.docs import views_table
from scripts.docs.guides import SQL_GUIDE
from tests.pipeline.command import Place

GUIDE = SQL_GUIDE.read_text()
QUERIES = re.findall(r"```sql\n(.*?)```", GUIDE, flags=re.DOTALL)
TITLES = re.findall(r"^\*\*([^*\n]+?)\.?\*\*.*\n\n```sql\n", GUIDE, flags=re.MULTILINE)

SINGLE = "{scenario: single_stream, batch: 1, threads: 1, runs: 11}"
BATCHES = "{scenario: offline, batch: 8, threads: 2, runs: 3}"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A finished sweep, timed as little as can be under two conditions, in which one step failed."""
    place = Place(tmp_path_factory.mktemp("sql"))
    code, _, err = place.run(
        "recipe=small", "bench=smoke", f"bench.conditions=[{SINGLE},{BATCHES}]", "plugins=[tests.pipeline.toy]",
        "+recipe.tree.base.then.bad={op: toy_fail}",
    )  # fmt: skip
    assert (code, place.results.exists()) == (1, True), err
    return place


def test_there_are_ten_queries_and_more():
    assert len(QUERIES) >= 10
    assert len(set(TITLES)) == len(QUERIES)


@pytest.mark.slow
@pytest.mark.parametrize("query", QUERIES, ids=TITLES)
def test_the_query_gives_an_answer(place, query):
    with open_results(place.results) as db:
        names = db.sql(query).columns
        rows = db.sql(query).fetchall()
    assert rows
    assert [name for at, name in enumerate(names) if all(row[at] is None for row in rows)] == []


@pytest.mark.slow
def test_a_figure_is_that_of_its_raw_samples(place):
    [query] = [query for query in QUERIES if "timing_runs" in query]
    with open_results(place.results) as db:
        rows = db.sql(query).fetchall()
    assert [row[-1] for row in rows] == pytest.approx([row[1] for row in rows])


@pytest.mark.slow
def test_the_python_example_runs(place, monkeypatch):
    [example] = [block for block in re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL) if "duckdb" in block]
    monkeypatch.chdir(place.folder)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(example, "guide", "exec"), {})
    assert "base/int8" in printed.getvalue()


def test_every_view_and_column_is_listed():
    """Make the list anew: scripts/document."""
    assert views_table.markdown(views_table.public()).strip() in GUIDE
