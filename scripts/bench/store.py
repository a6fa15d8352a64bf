"""What the store costs: sizes, writing, publishing, the viewer's questions. CPU seconds; wall seconds where threads help.

    python scripts/bench/store.py

One store of 52 models x 10,000 instances x 10 classes, one of 4 x 50,000 x 1,000; 500 steps in batches of 20; a study of
5,000 models imported.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.store.interchange.compress_and_compare import import_file
from pipeline.store.reader import js_divergence, kl_divergence, log_probabilities, margin, open_results
from pipeline.store.records.run_records import DatasetInfo, Instances, Model, PredictionSet, Run, Step
from pipeline.store.writer import Store
from tests.studies import synthetic_study

RUN = Run("run", "bench", {}, {}, {}, None, datetime.now(UTC))
CLASS_TABLE = "SELECT model_key, label, avg(correct::INT) FROM predictions GROUP BY ALL"
ONE_MODEL = "SELECT label, avg(correct::INT) FROM predictions WHERE model = 'model 1' GROUP BY ALL"
PAGE = (
    "SELECT * EXCLUDE (probabilities) FROM predictions WHERE model = 'model 1' ORDER BY position LIMIT 50 OFFSET 5000"
)
FLIPS = """
SELECT base.predicted, other.predicted, other.model, count(*) AS n
FROM predictions base JOIN predictions other USING (dataset_key, split, position, target)
WHERE base.model = 'model 0' AND other.model <> 'model 0' AND base.predicted <> other.predicted
GROUP BY ALL ORDER BY n DESC LIMIT 20
"""


def main() -> None:
    """Print everything."""
    with tempfile.TemporaryDirectory() as folder:
        steps(Path(folder) / "steps.duckdb")
        study(Path(folder), 5_000)
        predictions(Path(folder) / "small.duckdb", 52, 10_000, 10)
        predictions(Path(folder) / "large.duckdb", 4, 50_000, 1_000)


@contextmanager
def timed(what: str, per: int = 1, unit: str = "") -> Iterator[None]:
    """Print the CPU and wall time of a block, divided by `per`."""
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    cpu, wall = (time.process_time() - cpu) / per, (time.perf_counter() - wall) / per
    print(f"  {what:42} {1000 * cpu:9.1f} ms CPU {1000 * wall:9.1f} ms{unit}")


def steps(path: Path) -> None:
    """500 step records, as a run writes them."""
    print("steps")
    with timed("make a store"):
        store = Store(path)
    store.write([RUN])
    with timed("write, 25 batches of 20", per=500, unit=" per step"):
        for batch in range(25):
            store.write([_step(f"{batch}/{number}") for number in range(20)])
    with timed("publish"):
        store.publish()
    with timed("publish when nothing changed"):
        store.publish()


def study(folder: Path, models: int) -> None:
    """A file of another program, and the views of a large store."""
    file = folder / "study.json"
    file.write_text(json.dumps(synthetic_study(models)))
    store = Store(folder / "study.duckdb")
    print(f"study of {models} models")
    with timed("import and publish"):
        import_file(store, file)
    with open_results(store.results) as db:
        for view in ("models", "scoreboard", "measurements", "lineage"):
            with timed(f"FROM {view}"):
                db.sql(f"FROM {view}").to_arrow_table()


def predictions(path: Path, models: int, instances: int, classes: int) -> None:
    """Bulk evidence, and what the viewer asks of it."""
    print(f"predictions of {models} models x {instances} instances x {classes} classes")
    store, names = Store(path), [f"class {number}" for number in range(classes)]
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, instances)
    ids = [str(number) for number in range(instances)]
    store.write([RUN, DatasetInfo("data", "data", "image-classification", names, {}, {})])
    store.write([Instances("data", "evaluation", ids, [names[label] for label in labels], {})])
    store.write([_model(number) for number in range(models)])
    cpu = 0.0
    for number in range(models):
        record = _predictions(number, names, labels, rng)
        begin = time.process_time()
        store.write([record])
        cpu += time.process_time() - begin
    print(f"  {'write':42} {1000 * cpu / models:9.1f} ms CPU per model")
    with timed("publish"):
        store.publish()
    print(f"  {'size':42} {path.stat().st_size / 1e6:9.1f} MB")
    with open_results(path) as db:
        for what, query in (
            ("class table", CLASS_TABLE),
            ("of one model", ONE_MODEL),
            ("flips", FLIPS),
            ("page", PAGE),
        ):
            with timed(f"{what}, first time"):
                db.sql(query).fetchall()
            with timed(f"{what}, again"):
                db.sql(query).fetchall()
        keys = [f"{number:064x}" for number in range(models)]
        base, *others = log_probabilities(db, keys, target="onnxruntime", dataset_key="data").values()
        compare: dict[str, Callable[[], Any]] = {  # reading included, the first one's from the file
            "KL divergence of all from the first": lambda: kl_divergence(base, others),
            "JS divergence of all from the first": lambda: js_divergence(base, others),
            "margin of all": lambda: margin([base, *others]),
        }
        for what, call in compare.items():
            with timed(what):
                call()


def _step(path: str) -> Step:
    return Step("run", path, "operation", "0" * 64, None, "prune", "prune", {"sparsity": 0.5}, "done", 1.0, 1.0)


def _model(number: int) -> Model:
    parent = f"{0:064x}" if number else None
    return Model(f"{number:064x}", parent, f"model {number}", "", "bench", "prune", 1, "prune", "torch", {})


def _predictions(number: int, names: list[str], labels: np.ndarray, rng: np.random.Generator) -> PredictionSet:
    """Logits of a model that is often right and rarely sure."""
    rows = np.arange(len(labels))
    logits = rng.normal(size=(len(labels), len(names))).astype(np.float32) * 2
    logits[rows, labels] += 2 * np.sqrt(2 * np.log(len(names)))
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    best = probabilities.argmax(axis=1)
    correct = best == labels
    return PredictionSet(
        f"{number:064x}", "onnxruntime", "data", [names[at] for at in best], probabilities[rows, best],
        probabilities[rows, labels], correct, correct.astype(np.float32), probabilities,
    )  # fmt: skip


if __name__ == "__main__":
    main()
