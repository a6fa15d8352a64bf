"""Names that identify: no two models by one text, in any list, and no longer than need be."""

import csv
import html
import io
import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings

from pipeline.store.records import run_records as facts
from pipeline.store.writer import Store
from tests.viewer.forests import node_lists
from tests.viewer.stores import START, key_of
from tests.viewer.visits import Page, visit
from viewer.results.lineage import Forest, Node
from viewer.results.names import unique_names
from viewer.results.results import load_results

SWEEP = {
    "base": None,
    "base/int8": "base",
    "base/magnitude[sparsity=0.5]": "base",
    "base/magnitude[sparsity=0.5]/finetuned": "base/magnitude[sparsity=0.5]",
    "base/magnitude[sparsity=0.5]/finetuned/int8": "base/magnitude[sparsity=0.5]/finetuned",
    "base/magnitude[sparsity=0.8,scope=layer]": "base",
    "base/magnitude[sparsity=0.8,scope=layer]/finetuned": "base/magnitude[sparsity=0.8,scope=layer]",
    "base/magnitude[sparsity=0.8,scope=layer]/finetuned/int8": "base/magnitude[sparsity=0.8,scope=layer]/finetuned",
}


def forest_of(lineage, **fields):
    return Forest(Node(key, parent, key, **fields) for key, parent in lineage.items())


def test_a_name_is_the_end_of_a_lineage_as_long_as_it_must_be():
    forest = forest_of(SWEEP)
    assert list(unique_names(forest, SWEEP).values()) == [
        "base",
        "base → int8",
        "magnitude sparsity 0.5",
        "magnitude sparsity 0.5 → finetuned",
        "magnitude sparsity 0.5 → finetuned → int8",
        "magnitude sparsity 0.8, scope layer",
        "magnitude sparsity 0.8, scope layer → finetuned",
        "magnitude sparsity 0.8, scope layer → finetuned → int8",
    ]
    few = ["base", "base/magnitude[sparsity=0.5]/finetuned", "base/int8"]
    assert list(unique_names(forest, few).values()) == ["base", "finetuned", "int8"]


def test_titles_of_imported_files_are_steps_of_names():
    nodes = [Node("a", None, "r50", title="ResNet50")]
    nodes += [Node(f"p{at}", "a", f"r50-mag{at}", title=f"Magnitude prune (amount: 0.{at})") for at in (5, 9)]
    nodes += [Node(f"q{at}", f"p{at}", f"r50-mag{at}-q", title="Quantize (amount: int8)") for at in (5, 9)]
    names = unique_names(Forest(nodes), ["a", "p5", "p9", "q5", "q9"])
    assert names["q5"] == "Magnitude prune (amount: 0.5) → Quantize (amount: int8)"
    assert names["p9"] == "Magnitude prune (amount: 0.9)"


def twins(*fields):
    """Models that were made by the same steps, with what else is known of each."""
    nodes = [Node(f"{at}{'0' * 11}", None, "base", **each) for at, each in enumerate(fields)]
    return list(unique_names(Forest(nodes), [node.key for node in nodes]).values())


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ([{"notes": {"seed": 1}}, {"notes": {"seed": 7}}], ["base · seed 1", "base · seed 7"]),
        (
            [{"params": {"learning_rate": 0.1}}, {"params": {"learning_rate": 0.30000000001}}],
            ["base · learning rate 0.1", "base · learning rate 0.3"],
        ),
        ([{"notes": {"recipe": "a"}}, {"notes": {"recipe": "b"}}], ["base · recipe a", "base · recipe b"]),
        (
            [{"notes": {"seed": s, "recipe": r}} for s, r in [(1, "a"), (1, "b"), (2, "a")]],
            ["base · seed 1 · recipe a", "base · seed 1 · recipe b", "base · seed 2 · recipe a"],
        ),
        ([{}, {}], ["base · 000000", "base · 100000"]),
        ([{"params": {"layers": list(range(50))}}, {"params": {"note": "x" * 99}}], ["base · 000000", "base · 100000"]),
        ([{"notes": {"seed": 1}}, {}], ["base · seed 1", "base"]),
    ],
    ids=["seeds", "parameters", "recipes", "seeds and recipes", "nothing", "nothing short", "a seed that one has"],
)
def test_twins_are_told_apart_by_as_little_as_will_do(fields, names):
    assert twins(*fields) == names


@given(node_lists())
@settings(max_examples=60)
def test_no_two_models_have_one_name_and_the_order_of_asking_does_not_matter(nodes):
    forest = Forest(replace(node, name="") for node in nodes)
    keys = list(forest.nodes)
    names = unique_names(forest, keys)
    assert set(names) == set(keys)
    assert all(names.values())
    assert len(set(names.values())) == len(keys)
    assert unique_names(forest, keys[::-1]) == names


def test_a_chain_of_one_operation_has_names_of_bounded_length():
    lineage = {"p0": None} | {f"p{at}": f"p{at - 1}" for at in range(1, 300)}
    forest = Forest(Node(key, parent, "", op="prune") for key, parent in lineage.items())
    names = unique_names(forest, lineage)
    assert len(set(names.values())) == 300
    assert max(map(len, names.values())) < 200


# ---- in the lists of the pages
@pytest.fixture(scope="module")
def twin_results(tmp_path_factory):
    """Two seeds of one recipe, whose models have the same paths and titles."""
    path = tmp_path_factory.mktemp("twins") / "results.duckdb"
    store = Store(path)
    for seed in (1, 2):
        store.write(_run(seed))
    store.publish()
    store.close()
    return path


def _run(seed):
    run = f"run-{seed}"
    yield facts.Run(run, "study", {"recipe": {"name": "study", "seed": seed}}, {}, {}, None, START)
    yield facts.RunEnd(run, START, 0)
    yield facts.DatasetInfo("d1", "photos", "image-classification", ["a", "b"], {"evaluation": 10}, {})
    yield facts.Instances("d1", "evaluation", ["i0"], ["a"], {})
    yield facts.Metric("accuracy", "", ".1%", "higher", True, "Right answers.", "quality")
    yield facts.Metric("file_bytes", "B", ".3g", "lower", True, "Size.", "size")
    parent = None
    for at, name in enumerate(("base", "base/prune", "base/prune/int8")):
        key = key_of(f"{name} {seed}")
        title = "Quantize (amount: int8, method: quantize)" if at == 2 else ""
        yield facts.Model(key, parent, name, title, "study", "train" if at == 0 else "quantize", 1, "base", "torch", {})
        yield facts.Step(run, name, "operation", key, parent, "train", "base", {}, "done", 1.0, finished_at=START)
        for metric, value in (("accuracy", 0.9 - at / 10 + seed / 100), ("file_bytes", 3e6 - 1e6 * at + seed)):
            yield facts.Measurement(key, "ort", "", "d1", metric, value, None, None, None, run, START, f"{key}{metric}")
        parent = key


def test_the_seed_of_a_run_is_what_tells_its_models_apart(twin_results):
    results = load_results(twin_results)
    assert {results.forest[key].notes["seed"] for key in results.keys} == {1, 2}
    names = Counter(results.text.name(key) for key in results.keys)
    assert set(names.values()) == {1}
    steps = ("base", "prune", "int8")
    assert set(names) == {f"{step} · seed {seed}" for step in steps for seed in (1, 2)}


LISTS = {
    "table": ("page=table", r'<td class="name"><div title="[^"]*"[^>]*>(.*?)</div>'),
    "front": ("", r'class="facts best">.*?</table>'),
    "compare": ("page=compare", r'<span class="who"[^>]*>(.*?)</span>'),
    "budgets": ("pane=budgets&filters=~9e9~file_bytes", r'class="curve".*?</svg>'),
}


@pytest.mark.parametrize("name", LISTS)
def test_no_list_shows_two_models_by_one_text(name, twin_results):
    query, pattern = LISTS[name]
    page = Page(visit(twin_results))
    page.say("link", query=query)
    if name == "compare":
        page.app.state.pick(list(page.app.session.results.keys))
    app = page.app
    markup = html.unescape("\n".join([app._draw_page(), *(m for view in app._views for m in view.markup().values())]))
    names = [app.session.results.text.name(key) for key in app.session.results.keys]
    listed = re.findall(pattern, markup, re.DOTALL)
    assert listed
    text = re.sub(r"<wbr>", "", "\n".join(listed))
    assert sum(each in text for each in names) >= 2
    shown = re.sub("|".join(map(re.escape, sorted(names, key=len, reverse=True))), "", text)
    assert "Quantize (amount" not in shown
    assert not re.search(r">\s*base\s*<", shown)


def test_search_report_and_files_use_the_same_names(twin_results):
    page = Page(visit(twin_results))
    text = page.app.session.results.text
    names = {text.name(key) for key in page.app.session.results.keys}
    found = page.say("search", text="seed int8 2")["panes"]["found"]
    assert html.unescape(found).count("int8 · seed 2<") == found.count("data-do=") == 1
    found = "".join(page.say("search", text=name)["panes"]["found"] for name in names)
    assert all(html.escape(name) in found for name in names)
    rows = list(csv.DictReader(io.StringIO(page.say("csv", every="1")["save"]["text"])))
    assert {row["model"] for row in rows} == names
    assert Counter(row["name"] for row in rows) == {"base": 2, "base/prune": 2, "base/prune/int8": 2}
    report = page.say("report")["save"]["text"]
    assert all(html.escape(name) in report for name in names)
    for key in page.app.session.results.keys:
        card = page.say("hover", key=key)["card"]
        assert f"<h2>{html.escape(text.name(key))}</h2>" in card["html"]


def test_names_on_the_front_stay_apart_where_they_are_cut(twin_results):
    text = load_results(twin_results).text
    keys = load_results(twin_results).keys
    assert len(set(text.short_names(keys))) == len(keys)
