import copy
import itertools
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.store.errors import StoreError
from pipeline.store.interchange.compress_and_compare import import_file, read, write
from pipeline.store.interchange.errors import InterchangeError
from pipeline.store.interchange.foreign import Imported
from pipeline.store.reader import open_results
from pipeline.store.records.run_records import Measurement, Metric, Model
from pipeline.store.writer import Store
from tests.pipeline.interchange import files
from tests.pipeline.interchange.files import QUIRKS
from tests.pipeline.store import facts
from tests.studies import study, synthetic_study


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results.duckdb"


@pytest.fixture
def store(results):
    return Store(results)


@pytest.fixture
def query(results):
    def ask(sql, *values):
        with open_results(results) as db:
            return db.execute(sql, values).fetchall()

    return ask


@pytest.fixture
def exported(results, tmp_path):
    def make(recipe=None):
        out = tmp_path / "out.json"
        out.unlink(missing_ok=True)
        with open_results(results) as db:
            write(db, out, recipe)
        return json.loads(out.read_text(encoding="utf-8"))

    return make


def same(one, two):
    """Equal as JSON: order of keys included, 1 and 1.0 kept apart."""
    return json.dumps(one) == json.dumps(two)


@pytest.mark.parametrize(
    ("content", "models", "measurements"),
    [(QUIRKS, 6, 10), (study(), 52, 312), (study(1), 1, 6), (study(0), 0, 0), (synthetic_study(500), 500, 3000)],
    ids=["quirks", "52", "1", "0", "500"],
)
def test_a_round_trip_loses_nothing(store, tmp_path, exported, content, models, measurements):
    imported = import_file(store, files.write(tmp_path / "a.json", content))
    assert imported == Imported("a", models, measurements, is_repeated=False)
    if models:
        assert same(exported(), content)


def test_a_forest_with_children_before_parents(store, tmp_path, query):
    import_file(store, files.write(tmp_path / "a.json", QUIRKS))
    assert query("SELECT name, parent, root, depth, op, kind, title FROM models ORDER BY root, depth") == [
        ("other root", None, "other root", 0, "base", "base", "again"),
        ("root", None, "root", 0, "base", "base", ""),
        ("child", "root", "root", 1, "Prune", "prune", ""),
        ("retrained", "child", "root", 2, "Retrain", "finetune", ""),
        ("trained", None, "trained", 0, "train", "base", "again"),
        ("odd/<b>é,#&?", "trained", "trained", 1, "Prune", "prune", ""),
    ]
    assert query("SELECT params -> 'amount', params -> 'layers' FROM models WHERE name IN ('child', 'retrained') ORDER BY name") == [
        ("0.6000000000000001", None), (None, '["norm","query"]'),
    ]  # fmt: skip


def test_null_is_not_zero_and_undeclared_metrics_are_metrics(store, tmp_path, query):
    import_file(store, files.write(tmp_path / "a.json", QUIRKS))
    assert query('SELECT "F1", "Sparsity", "Latency", "Size", "Undeclared" FROM scoreboard ORDER BY model') == [
        (71.5, None, 17320.0, 1.0, None),
        (None, None, -1.5e300, None, None),
        (None,) * 5,
        (80.0, None, None, None, 3.0),
        (90.25, 0.0, 20000.5, 2.0, None),
        (None,) * 5,
    ]
    assert query("SELECT metric, unit, format, better, is_primary FROM metrics ORDER BY metric") == [
        ("F1", "%", ".4g", "higher", True),
        ("Latency", "ms", ",.0f", "lower", True),
        ("Size", "", ".4g", "lower", False),
        ("Sparsity", "", ".2%", "neither", False),
        ("Undeclared", "", ".4g", "neither", False),
    ]


def test_a_file_is_imported_once(store, tmp_path, query):
    path = files.write(tmp_path / "a.json", study())
    import_file(store, path)
    path.write_text(json.dumps(study(), indent=3))  # spacing means nothing
    assert import_file(store, path).is_repeated
    assert query("SELECT (SELECT count(*) FROM models), (SELECT count(*) FROM runs)") == [(52, 1)]


def test_two_files_with_the_same_ids_and_other_measurements_coexist(store, tmp_path, query, exported):
    one, two = study(20), copy.deepcopy(study(20))
    for model in two["models"]:
        model["metrics"]["Latency"] *= 1.176
    import_file(store, files.write(tmp_path / "T1.json", one))
    import_file(store, files.write(tmp_path / "T2.json", two))
    found = query('SELECT recipe, "Latency" FROM scoreboard WHERE model = ? ORDER BY recipe', one["models"][0]["id"])
    assert found == [(name, s["models"][0]["metrics"]["Latency"]) for name, s in (("T1", one), ("T2", two))]
    assert same(exported("T1"), one)
    assert same(exported("T2"), two)
    with pytest.raises(InterchangeError, match="The results hold 2 recipes; say which with --recipe NAME: T1, T2"):
        exported()
    with pytest.raises(InterchangeError, match=re.escape("hold no recipe 'T11'. Did you mean 'T1'? Known: T1, T2")):
        exported("T11")


def test_a_metric_of_another_meaning_gets_a_name_of_its_own(store, tmp_path, query, exported):
    seconds = {
        "operations": [],
        "metrics": [{"name": "Latency", "unit": "s"}],
        "models": [{"id": "m", "metrics": {"Latency": 2}}],
    }
    import_file(store, files.write(tmp_path / "study.json", study()))
    import_file(store, files.write(tmp_path / "cifar.json", seconds))
    assert query("SELECT metric, unit FROM metrics WHERE metric LIKE 'Latency%' ORDER BY metric") == [
        ("Latency", "ms"), ("Latency (cifar)", "s"),
    ]  # fmt: skip
    assert query('SELECT "Latency", "Latency (cifar)" FROM scoreboard WHERE model = \'m\'') == [(None, 2.0)]
    assert same(exported("cifar"), seconds)


def broken(change):
    content = copy.deepcopy(QUIRKS)
    change(content)
    return content


def set_at(*path_and_value):
    *path, last, value = path_and_value

    def change(content):
        for step in path:
            content = content[step]
        content[last] = value

    return change


BAD = [
    ("duplicate id", lambda c: c["models"].append({"id": "root", "metrics": {}}), "models[6] ('root'): models[2] has the same id"),
    ("unknown parent", set_at("models", 0, "base", "rot"), "models[0] ('child'): base 'rot' is not in the file. Did you mean 'root'?"),
    ("cycle", set_at("models", 2, "base", "retrained"), "models form a cycle: child -> root -> retrained -> child"),
    ("itself", set_at("models", 2, "base", "root"), "models form a cycle: root -> root"),
    ("two parents", set_at("models", 0, "base", ["root", "trained"]), "models[0] ('child'): 'base' is a list; a model has one parent"),
    ("number as parent", set_at("models", 0, "base", 3), "models[0] ('child'): 'base' is the number 3; it must be an id or null"),
    ("text as metric", set_at("models", 0, "metrics", "F1", "71.5"), "models[0] ('child'): metric 'F1' is \"71.5\"; it must be a number or null"),
    ("truth as metric", set_at("models", 0, "metrics", "F1", True), "models[0] ('child'): metric 'F1' is true; it must be a number"),
    ("list of metrics", set_at("models", 0, "metrics", []), "models[0] ('child'): 'metrics' is a list; it must be an object"),
    ("no metrics", lambda c: c["models"][0].pop("metrics"), "models[0] ('child'): there are no 'metrics'"),
    ("no id", lambda c: c["models"][0].pop("id"), "models[0]: there is no 'id'"),
    ("empty id", set_at("models", 0, "id", ""), "models[0] (''): 'id' is the text \"\"; it must be text"),
    ("number as id", set_at("models", 0, "id", 7), "models[0]: 'id' is the number 7; it must be text"),
    ("text as model", set_at("models", 0, "root"), 'models[0]: is the text "root"; it must be an object'),
    ("tag", set_at("models", 0, "tag", 1), "models[0] ('child'): 'tag' is the number 1; it must be text"),
    ("operation", set_at("models", 0, "operation", "Prune"), "models[0] ('child'): 'operation' is the text \"Prune\"; it must be an object"),
    ("operation without a name", set_at("models", 0, "operation", {}), "models[0] ('child'): its operation: there is no 'name'"),
    ("list of used parameters", set_at("models", 0, "operation", "parameters", ["x"]), "models[0] ('child'): its operation's 'parameters' is a list; it must be an object"),
    ("declared parameters", set_at("operations", 0, "parameters", 1), "operations[0] ('Prune'): 'parameters' is the number 1; it must be an object or a list of names"),
    ("parameter names", set_at("operations", 1, "parameters", [1]), "operations[1] ('train'): a parameter's name must be text"),
    ("operation twice", lambda c: c["operations"].append({"name": "train"}), "operations[3] ('train'): operations[1] has the same name"),
    ("metric twice", lambda c: c["metrics"].append({"name": "F1"}), "metrics[4] ('F1'): metrics[0] has the same name"),
    ("metric's bound", set_at("metrics", 0, "max", "1"), "metrics[0] ('F1'): 'max' is the text \"1\"; it must be a number or null"),
    ("metric's unit", set_at("metrics", 0, "unit", 1), "metrics[0] ('F1'): 'unit' is the number 1; it must be text"),
    ("no models", lambda c: c.pop("models"), "there is no 'models': it must be a list"),
    ("misspelt part", lambda c: c.update(metric=c.pop("metrics")), "there is no 'metrics' Did you mean 'metric'?: it must be a list"),
    ("empty metric name", set_at("models", 0, "metrics", "", 5), "models[0] ('child'): a metric is called \"\"; its name must be text without NUL"),
    ("NUL in a metric's name", set_at("metrics", 0, "name", "a\0b"), "metrics[0] ('a\\x00b'): a metric is called \"a\\u0000b\"; its name must be text without NUL"),
    ("half a surrogate pair as id", set_at("models", 3, "id", "a\ud800"), "models[3] ('a\\ud800'): the text \"a\\ud800\" has half of a surrogate pair"),
    ("half a surrogate pair deep inside", set_at("models", 3, "x", [{"\udc00": 1}]), "models[3] ('other root'): the text \"\\udc00\" has half of a surrogate pair"),
    ("half a surrogate pair elsewhere", set_at("note", ["\ud800"]), "the file: the text \"\\ud800\" has half of a surrogate pair"),
    ("too large a metric", set_at("models", 0, "metrics", "F1", 10**400), "models[0] ('child'): a whole number is larger than 1.8e308"),
    ("object of models", set_at("models", {}), "'models' is an object: it must be a list"),
]  # fmt: skip


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """A store into which everything is imported in vain."""
    path = tmp_path_factory.mktemp("untouched") / "results.duckdb"
    store = Store(path)
    yield store
    store.publish()
    with open_results(path) as db:
        for table in ("run", "model", "metric", "measurement", "import_detail", "ingestion"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchall() == [(0,)]


@pytest.mark.parametrize(("change", "message"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_a_bad_record_is_named_and_nothing_imported(untouched, tmp_path, change, message):
    path = files.write(tmp_path / "a.json", broken(change))
    with pytest.raises(InterchangeError, match=re.escape(f"{path} was not imported:")) as caught:
        import_file(untouched, path)
    assert f"\n  {message}" in str(caught.value)
    assert isinstance(caught.value, StoreError)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "it is not JSON: Expecting property name enclosed in double quotes in line 1, column 2"),
        (b"\xff\xfe", "it is not UTF-8 text (byte 0)"),
        (b"[]", "the file is a list; a models.json is an object with operations, metrics and models"),
        (b'{"models": [], "models": []}', "an object has the name 'models' twice"),
        (b"[" * 200_000, "it is nested too deeply"),
        (b"", "it is not JSON"),
    ],
)
def test_what_is_not_a_models_json(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InterchangeError, match=re.escape(message)):
        read(path)


def test_a_number_with_more_digits_than_python_reads(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(QUIRKS).replace("71.5", "-" + "9" * 5000))
    with pytest.raises(InterchangeError, match=re.escape("models[0] ('child'): a whole number is larger than 1.8e308")):
        read(path)


@pytest.mark.parametrize("name", ["ACCURACY", "model_key", 'a"b;--', "x" * 100_000, " ", "\n.", "\u0130"])
def test_a_metric_may_have_any_name_that_sql_can_spell(store, tmp_path, query, name):
    content = {"operations": [], "metrics": [], "models": [{"id": "m", "metrics": {name: 1, "accuracy": 2}}]}
    import_file(store, files.write(tmp_path / "a.json", content))
    assert query("SELECT count(*) FROM scoreboard_column") == [(2,)]
    assert 1.0 in query("SELECT * FROM scoreboard")[0]


def test_models_of_a_recipe_are_not_lost_behind_an_import_of_its_name(store, tmp_path, exported):
    store.write([*facts.GROUND, facts.model("mine")])
    own = {"operations": [], "metrics": [], "models": [{"id": "theirs", "metrics": {"F1": 1}}]}
    import_file(store, files.write(tmp_path / f"{facts.RUN.recipe}.json", own))
    assert sorted(made["id"] for made in exported(facts.RUN.recipe)["models"]) == ["mine", "theirs"]


def test_two_imports_of_one_name_are_written_together(store, tmp_path, exported):
    for name in ("one", "two"):
        own = {"operations": [], "metrics": [], "models": [{"id": name, "metrics": {}}]}
        import_file(store, files.write(tmp_path / "a.json", own))
    assert sorted(made["id"] for made in exported("a")["models"]) == ["one", "two"]


def test_all_problems_are_told_at_once(tmp_path):
    path = files.write(tmp_path / "a.json", {"operations": [], "metrics": [], "models": [{"id": "x"}] * 8})
    with pytest.raises(InterchangeError) as caught:
        read(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 12
    assert lines[-1] == "  and 5 more"


def test_no_file(tmp_path):
    with pytest.raises(InterchangeError, match="There is no file"):
        read(tmp_path / "none.json")
    with pytest.raises(InterchangeError, match="cannot be read: Is a directory"):
        read(tmp_path)


def test_an_export_never_overwrites(store, results, tmp_path):
    path = files.write(tmp_path / "a.json", study())
    import_file(store, path)
    before = path.read_bytes()
    with open_results(results) as db:
        with pytest.raises(InterchangeError, match=r"exists\. Move it away, or name another file"):
            write(db, path)
        with pytest.raises(InterchangeError, match="cannot be written: No such file or directory"):
            write(db, tmp_path / "no folder" / "x.json")
    assert path.read_bytes() == before


def test_empty_results_cannot_be_exported(store, exported):
    store.publish()
    with pytest.raises(InterchangeError, match="The results hold no models yet"):
        exported()


def test_what_the_store_knows_keeps_its_definition(tmp_path):
    path = files.write(tmp_path / "a.json", study(1))
    mine = Metric("Latency", "ms", ".1f", "lower", False, "Mine.", "cost")
    records = read(path, {"Latency": mine})
    assert not any(isinstance(record, Metric) and record.metric.startswith("Latency") for record in records)
    assert any(isinstance(record, Measurement) and record.metric == "Latency" for record in records)


NUMBERS = itertools.count()
NAMES = st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable())
VALUES = st.one_of(st.none(), st.integers(-(10**12), 10**12), st.floats(allow_nan=False, allow_infinity=False))
LEAVES = st.one_of(VALUES, st.booleans(), st.text(max_size=5))
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=5
)


@st.composite
def documents(draw):
    """Forests of any shape, in any order."""
    ids = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    metrics = draw(st.lists(NAMES, max_size=4, unique=True))
    models = []
    for position, name in enumerate(ids):
        model = {
            "id": name,
            "metrics": draw(st.dictionaries(st.sampled_from(metrics), VALUES) if metrics else st.just({})),
        }
        base = draw(st.sampled_from([None, *ids[:position]]))
        if base is not None or draw(st.booleans()):
            model["base"] = base
        if draw(st.booleans()):
            model["operation"] = {"name": draw(NAMES), "parameters": draw(st.dictionaries(NAMES, JSON, max_size=3))}
        model |= draw(
            st.fixed_dictionaries({}, optional={"tag": st.one_of(st.none(), st.text(max_size=5)), "extra": JSON})
        )
        models.append(model)
    declared = draw(st.lists(st.sampled_from(metrics), unique=True)) if metrics else []
    return {
        "operations": [{"name": name, "parameters": draw(JSON.filter(lambda v: v is None or isinstance(v, dict)))} for name in draw(st.lists(NAMES, max_size=2, unique=True))],
        "metrics": [{"name": name, "primary": draw(st.booleans()), "max": draw(VALUES)} for name in declared],
        "models": draw(st.permutations(models)),
    }  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("shared") / "results.duckdb")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(content=documents())
def test_any_valid_file_survives_the_round_trip(shared, content):
    name = f"file-{next(NUMBERS)}"
    out = shared.results.with_name("out.json")
    out.unlink(missing_ok=True)
    import_file(shared, files.write(shared.results.with_name(f"{name}.json"), content))
    with open_results(shared.results) as db:
        write(db, out, name)
        found = dict(db.execute("SELECT name, parent FROM models WHERE recipe = ?", [name]).fetchall())
        values = db.execute(MEASURED, [name]).fetchall()
    assert same(json.loads(out.read_text(encoding="utf-8")), content)
    assert found == {model["id"]: model.get("base") for model in content["models"]}
    expected = {
        (model["id"], name): float(value)
        for model in content["models"] for name, value in model["metrics"].items() if value is not None
    }  # fmt: skip
    assert {(model, metric): value for model, metric, value in values} == expected


MEASURED = """
SELECT model, metric, value
FROM measurements SEMI JOIN (SELECT model_key FROM models WHERE recipe = ?) USING (model_key)
"""


def test_two_reads_name_the_models_alike_and_two_files_differently(tmp_path):
    def keys(name, content):
        return [r.model_key for r in read(files.write(tmp_path / name, content)) if isinstance(r, Model)]

    assert keys("a.json", study(3)) == keys("a.json", study(3))
    assert not set(keys("a.json", study(3))) & set(keys("b.json", study(3)))
    assert not set(keys("a.json", study(3))) & set(keys("a.json", study(4)))
