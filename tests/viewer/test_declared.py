"""Ends of scales that an imported file declares."""

import json

import pytest

from pipeline.store.interchange.compress_and_compare import import_file
from pipeline.store.writer import Store
from viewer.map.appearance import appearance
from viewer.results.results import load_results


def imported(folder, *files):
    """Import files of (name, metrics, values of each model) and open the results."""
    store = Store(folder / "results.duckdb")
    for name, metrics, models in files:
        content = {
            "operations": [], "metrics": metrics,
            "models": [{"id": f"m{at}", "base": None, "operation": None, "tag": "", "metrics": values}
                       for at, values in enumerate(models)],
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(content))
        import_file(store, folder / f"{name}.json")
    store.close()
    return load_results(folder / "results.duckdb")


@pytest.mark.parametrize(
    ("low", "high", "values", "ends"),
    [
        pytest.param(0, 1, [0.2, 0.8], (0.0, 1.0), id="the declared ends"),
        pytest.param(0, None, [3, 9], (0.0, 9.0), id="one declared end"),
        pytest.param(None, None, [3, 9], (3.0, 9.0), id="none declared"),
        pytest.param(0, 1, [0.75, 0.77], (0.75, 0.77), id="values that take a small part of it"),
        pytest.param(0, 1, [0.2, 1.5], (0.0, 1.5), id="a value outside"),
    ],
)
def test_a_scale_has_the_declared_ends_if_the_values_fill_it(low, high, values, ends, tmp_path):
    metric = {"name": "Accuracy", "min": low, "max": high}
    study = imported(tmp_path, ("one", [metric], [{"Accuracy": value} for value in values]))
    assert appearance(study).ends("Accuracy") == ends
    share = appearance(study).sizes("Accuracy")
    assert share.tolist() == pytest.approx([((v - ends[0]) / (ends[1] - ends[0])) ** 0.5 for v in values])


def test_of_two_files_the_wider_ends_count_and_another_meaning_keeps_its_own(tmp_path):
    study = imported(
        tmp_path,
        (
            "one",
            [{"name": "F1", "min": 0, "max": 1}, {"name": "Size", "unit": "MB", "min": 0}],
            [{"F1": 0.4, "Size": 3}],
        ),
        (
            "two",
            [{"name": "F1", "min": 0, "max": 2}, {"name": "Size", "unit": "kB", "min": 1}],
            [{"F1": 1.4, "Size": 9}],
        ),
    )
    specs = {spec.name: (spec.low, spec.high) for spec in study.metrics}
    assert specs == {"F1": (0.0, 2.0), "Size": (0.0, None), "Size (two)": (1.0, None)}
