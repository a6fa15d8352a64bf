"""The views in notebooks and in Panel pages of other people."""

import ast
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bouillon
import viewer
from pipeline.core.errors import BouillonError
from tests.studies import study
from tests.viewer.browsing import DRAWN, PATIENCE, served, why_not
from tests.viewer.stores import key_of, publish

PAGE = """
import panel as pn
import viewer

pn.extension()
plot = viewer.scatterplot({path!r}, x="Model Size", y="Top-1 Accuracy")
pn.Column(plot, viewer.model_map({path!r}), viewer.compare({path!r}, "resnet50trained", "resnet50trained-mag75"), viewer.table({path!r}, order="Latency"),
          pn.pane.Str(pn.bind(lambda keys: "chosen: " + ",".join(keys), plot.param.selected))).servable()
"""
SELECT = """(key) => {
    const models = Bokeh.documents.flatMap((d) => [...d._all_models.values()]).filter((m) => m.type === "ColumnDataSource" && m.name === "models");
    models[0].selected.indices = [[...models[0].data.key].indexOf(key)];
}"""
DEEP = """() => { const walk = (root) => [...root.querySelectorAll("*")].flatMap((e) => e.shadowRoot ? [e, ...walk(e.shadowRoot)] : [e]);
    const all = walk(document); return {
    canvases: all.filter((e) => e.tagName === "CANVAS" && e.getBoundingClientRect().height > 100).length,
    text: all.filter((e) => !e.children.length && e.checkVisibility()).map((e) => e.textContent).join("|"),
    rows: all.filter((e) => e.matches(".models tbody tr")).length, ground: all.filter((e) => e.matches(".bouillon")).map((e) => getComputedStyle(e).backgroundColor) }; }"""


ROOT, PRUNED, MENDED = "resnet50trained", "resnet50trained-mag75", "resnet50trained-mag75-calibrated"
SIZE, QUALITY = "Model Size", "Top-1 Accuracy"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "results.duckdb"
    publish(path, study(12)).close()
    return path


def test_a_scatterplot_follows_its_parameters_and_tells_its_selection(small):
    plot = viewer.scatterplot(small, x=SIZE, y=QUALITY)
    session = plot.session.results
    assert plot.view.models.data["name"] == [session.text.name(key) for key in session.keys]
    assert all(renderer.visible for renderer in plot.figure.renderers)
    assert plot.figure.xaxis[0].axis_label.startswith(SIZE)
    assert plot.front() == bouillon.Results(small).pareto(SIZE, QUALITY)["model_key"].tolist()
    plot.x = "Latency"
    assert plot.figure.xaxis[0].axis_label.startswith("Latency")
    plot.budget = "accuracy >= 90%; size <= 1 kB".replace("accuracy", QUALITY)
    assert max(plot.view.models.data["alpha"]) < 0.5, "all are outside the budget"
    plot.budget = ""
    plot.view.models.selected.indices = [1]
    assert plot.selected == [session.keys[1]]
    plot.selected = []
    assert plot.view.models.selected.indices == []


def test_results_of_the_library_and_every_way_to_name_a_model_are_taken(small, monkeypatch):
    library = bouillon.Results(small)
    by_path = viewer.compare(small, ROOT, PRUNED)
    assert f">{PRUNED}<" in by_path.html()
    assert by_path.html() == viewer.compare(ROOT, PRUNED, results=library).html()
    monkeypatch.chdir(small.parent)
    assert by_path.html() == viewer.compare(ROOT, PRUNED).html()
    assert by_path.html() == viewer.compare(library, key_of(ROOT), key_of(PRUNED)[:10]).html()


def test_the_cell_of_the_readme_shows_a_scatterplot(small, monkeypatch):
    cells = re.findall(r"```python\n(.*?)```", (Path(viewer.__file__).parents[1] / "README.md").read_text(), re.DOTALL)
    (cell,) = (cell for cell in cells if "import viewer" in cell)
    monkeypatch.chdir(small.parent)
    *statements, last = ast.parse(cell).body
    names = {}
    exec(compile(ast.Module(statements, []), "cell", "exec"), names)
    plot = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    assert len(plot.view.models.data["key"]) == 12


def test_what_is_not_there_is_said_with_what_is(small):
    with pytest.raises(BouillonError, match="There is no metric 'speed_of_light'"):
        viewer.scatterplot(small, x="speed_of_light")
    with pytest.raises(BouillonError, match=r"No model is called 'huge'\. Some of these results: 'resnet50trained'"):
        viewer.compare(small, ROOT, "huge")
    with pytest.raises(BouillonError, match="holds numbers"):
        viewer.table(small, where={QUALITY: "good"})
    with pytest.raises(BouillonError, match="is no budget"):
        viewer.model_map(small, budget="small")


def test_a_table_is_filtered_sorted_and_narrowed_by_a_budget(small):
    table = viewer.table(small, where={" op": "calibrate or retrain or train"}, order=QUALITY, descending=True)
    values = table.session.results.values(QUALITY)[table.view.table().rows]
    assert len(values) == 8
    assert list(values) == sorted(values, reverse=True)
    table.param.update(where={}, rows=3)
    assert table.html().count('<td class="name">') == 1 + 3, "one is the filter's"
    table.budget = f"{QUALITY} >= 99%"
    assert "No model is within the budget" in table.html()


def test_every_view_shows_itself_in_a_notebook_and_in_a_file(small, results):
    import panel as pn

    pages = {
        "Made by": viewer.table(small), "noise": viewer.compare(small, ROOT, PRUNED),
        "instances": viewer.behaviours(results, "base", "int8", rows="instances"), "relative change": viewer.layers(results, "base", "int8"),
    }  # fmt: skip
    for text, view in pages.items():
        assert text in view.html()
    views = [viewer.scatterplot(small), viewer.model_map(small, arrange="step"), *pages.values()]
    for view in views:
        assert view._repr_mimebundle_ is not None
        assert pn.panel(view).get_root().references()
    file = io.StringIO()
    pn.Column(*views).save(file, resources="cdn")
    assert all(name in file.getvalue() for name in (PRUNED, "magnitude prune"))


def test_the_server_s_page_imports_no_view_of_a_notebook():
    code = "import sys, viewer, viewer.app; print([m for m in sys.modules if m == 'panel' or m.startswith('viewer.notebook')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.browser
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_the_views_work_in_somebody_s_panel_page(small, tmp_path, chromium):
    (tmp_path / "page.py").write_text(PAGE.format(path=str(small)))
    with served(small, tmp_path / "log", program=tmp_path / "page.py") as address:
        page = chromium.new_page(viewport={"width": 1100, "height": 900})
        page.set_default_timeout(PATIENCE)
        trouble = []
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.goto(address)
        page.wait_for_function(
            f"(() => {{ const seen = ({DEEP})(); return seen.canvases >= 2 && seen.rows === 12; }})()"
        )
        page.evaluate(DRAWN)
        seen = page.evaluate(DEEP)
        assert seen["rows"] == 12
        assert seen["ground"] == ["rgb(241, 243, 246)"] * 2, "the style sheet holds inside the part"
        for text in (PRUNED, "Made by", "Metric"):
            assert text in seen["text"]
        page.evaluate(SELECT, key_of(MENDED))
        page.wait_for_function(f"({DEEP})().text.includes('chosen: {key_of(MENDED)}')")
        assert trouble == []
        page.close()
