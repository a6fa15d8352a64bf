"""The page Compare: what was done differently, figures by the question they answer, one interval for each verdict."""

import re

import pytest

from pipeline.store.records import run_records as facts
from pipeline.store.writer import Store
from tests.viewer.inside_stores import START
from tests.viewer.visits import Page, visit

METRICS = [
    facts.Metric("kl_to_base", "nat", ".3g", "lower", False, "", "change", "none"),
    facts.Metric("latency_p50", "ms", ".3g", "lower", True, "", "cost", "wall_time"),
    facts.Metric("file_bytes", "B", ",.0f", "lower", True, "", "size", "none"),
    facts.Metric("parameters", "", ",.0f", "lower", False, "", "size", "none"),
    facts.Metric("accuracy", "", ".1%", "higher", True, "", "quality", "none"),
]
VALUES = {
    "base": {"accuracy": (0.90, 0.88, 0.92), "file_bytes": 1000.0, "parameters": 50.0, "latency_p50": (2.0, 1.9, 2.1), "kl_to_base": 0.0},
    "half": {"accuracy": (0.80, 0.77, 0.83), "file_bytes": 600.0, "parameters": 50.0, "latency_p50": (2.0, 1.9, 2.1), "kl_to_base": 0.2},
    "most": {"accuracy": (0.89, 0.87, 0.91), "file_bytes": 300.0, "parameters": 50.0, "latency_p50": (1.0, 0.9, 1.1), "kl_to_base": 0.1},
}  # fmt: skip
STEPS = {
    "base": ("train", {"epochs": 3}),
    "half": ("magnitude_prune", {"sparsity": 0.5}),
    "most": ("quantize", {"to": "int8"}),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("compare") / "results.duckdb"
    found: list[facts.Record] = [facts.Run("r1", "study", {}, {}, {}, None, START), *METRICS]
    found.append(facts.DatasetInfo("d1", "pictures", "image-classification", ["a"], {"evaluation": 9}, {}))
    for name, (op, params) in STEPS.items():
        parent = None if name == "base" else "base"
        kind = "prune" if parent else "base"
        found.append(facts.Model(name, parent, name, "", "study", op, 1, kind, "torch", params))
        for metric, value in VALUES[name].items():
            middle, low, high = value if isinstance(value, tuple) else (value, None, None)
            found.append(
                facts.Measurement(name, "", "", "d1", metric, middle, low, high, None, "r1", START, f"{name}{metric}")
            )
    store = Store(path)
    store.write(found)
    store.publish()
    store.close()
    return path


def drawn(path, **fields):
    page = Page(visit(path, {"page": "compare", "selected": "base,half,most"}))
    page.app.state.change(fields)
    return page.app._draw_page()


def rows_of(markup):
    """Head of each row -> the texts of its cells."""
    rows = [re.sub(r"\s+", " ", row) for row in re.findall(r"<tr>(.*?)</tr>", markup, re.DOTALL)]
    cells = [
        [re.sub("<[^>]+>", " ", cell).strip() for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)] for row in rows
    ]
    return {cell[0]: cell[1:] for cell in cells if cell}


def test_what_was_done_differently_comes_first(path):
    markup = drawn(path)
    rows = rows_of(markup)
    assert rows["magnitude prune"] == ["—", "yes", "—"], "of a step that nothing sweeps, whether it is there"
    assert rows["quantize"] == ["—", "—", "yes"]
    assert "epochs" not in " ".join(rows), "what is the same is no difference"
    assert markup.index("What was done differently") < markup.index("Quality")


def test_figures_stand_by_the_question_that_they_answer(path):
    heads = re.findall(r'scope="rowgroup"[^>]*>\s*([^<]*?)\s*<', drawn(path))
    assert heads == ["What was done differently", "Quality", "Size", "Speed and work", "Change of the answers"]


def test_what_nobody_changed_is_folded_and_unfolds(path):
    assert "parameters" not in rows_of(drawn(path))
    assert "1 unchanged" in drawn(path)
    assert rows_of(drawn(path, unchanged=True))["parameters"][0] == "50"
    page = Page(visit(path, {"page": "compare", "selected": "base,half,most"}))
    update = page.say("set", field="unchanged", value=True)
    assert "unchanged=1" in update["link"]["query"], "it is in the address"


def test_a_verdict_has_one_interval(path):
    accuracy = rows_of(drawn(path))["accuracy"]
    for cell in accuracy[1:]:
        assert len(re.findall(r"\[|±|\d to \d", cell)) == 1, cell
    assert "within noise" in accuracy[2]
    assert "within noise" not in accuracy[1]
