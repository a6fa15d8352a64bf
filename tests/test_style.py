"""Rules of the house that no linter knows."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.measure.metrics.api import METRICS

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 400


def tracked(*patterns):
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", *patterns], check=True, capture_output=True, text=True
    ).stdout
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).exists()]


def test_no_module_is_longer_than_four_hundred_lines():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked("*.py")
        if (lines := len(path.read_text().splitlines())) > LONGEST
    }
    assert not long


def test_nothing_names_one_machine():
    machine = re.compile(r"(?<![\w.])/(root|home/\w+|work|Users/\w+)/\w")
    found = []
    for path in tracked("*.py", "*.md", "*.yaml", "*.toml", "*.sql", "scripts/*", ".ci/*"):
        if path.suffix != ".png":
            found += [
                f"{path.relative_to(ROOT)}: {line}" for line in path.read_text().splitlines() if machine.search(line)
            ]
    assert not found


HOMONYMS = {
    "parameters": ("ops/", "pipeline/", "viewer/", "scripts/"),  # of operations, functions and modules
    "fixed_length": ("pipeline/models/onnx_export.py", "pipeline/targets/api.py"),  # what is said of a file
    "sparsity": (
        "ops/",
        "pipeline/measure/lints/size.py",
        "pipeline/measure/lints/effect.py",
        "pipeline/plan/candidates.py",
        "viewer/layers/",
        "viewer/session/state.py",
        "scripts/",
    ),
    "energy": ("ops/factorize/", "pipeline/plan/candidates.py"),  # of singular values
    "integer_mac_share": ("ops/quantize/", "scripts/bench/"),  # a note of an operation
    "macs": (  # of a layer
        "pipeline/measure/sensitivity/",
        "pipeline/plan/allocation.py",
        "pipeline/stages/sensitivity.py",
        "pipeline/store/merge.py",
        "pipeline/sweep/allocation/",
        "viewer/layers/",
    ),
    "loss": (  # of training, of a layer's change, and the word of sentences
        "ops/core/tasks/functions.py",
        "pipeline/plan/allocation.py",
        "pipeline/store/",
        "viewer/decide/",
        "viewer/layers/",
    ),
    "speedup": (
        "pipeline/delivery/",
        "pipeline/measure/lints/",
        "pipeline/store/records/timing_records.py",
    ),  # a row of the view `speedups`
    "agreement": ("viewer/behaviours/",),  # of two models on the instances chosen
    "f1": ("viewer/behaviours/",),  # a measure of answers
}
"""Words that are names of metrics and of something else -> where they mean that."""


def test_a_metric_is_named_where_it_is_defined_and_nowhere_else():
    """Others ask for its role, or import its function: a person's own metric must fare like ours."""
    quoted = re.compile("|".join(f"(?<=['\"]){name}(?=['\"])" for name in METRICS))
    found = []
    for path in tracked("ops/*.py", "pipeline/*.py", "viewer/*.py", "scripts/*"):
        name = str(path.relative_to(ROOT))
        if name.startswith(("pipeline/measure/metrics/", "scripts/studies/")) or b"\0" in path.read_bytes():
            continue  # the studies' pages tell of certain figures
        if path.suffix != ".py" and not path.read_text().startswith("#!/usr/bin/env python3"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                metrics = {node.value} & set(METRICS) or set(quoted.findall(node.value))
                found += [
                    f"{name}:{node.lineno} {metric}"
                    for metric in metrics
                    if not name.startswith(HOMONYMS.get(metric, ()))
                ]
    assert not found


def test_the_tree_holds_no_cache_of_a_tool():
    """Caches hold paths of one machine; every folder at the top is one that the guides name."""
    folders = {path.relative_to(ROOT).parts[0] for path in tracked() if path.parent != ROOT}
    assert folders == {".ci", ".github", "conf", "ops", "pipeline", "scripts", "tests", "viewer"}


def test_private_modules_of_the_operations_stay_among_them():
    """What the halves share is public. (import-linter cannot name modules by the beginning of their name.)"""
    private = re.compile(r"\bops\._\w+|\bfrom ops import .*\b_\w+")
    found = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in tracked("pipeline/*.py", "viewer/*.py", "scripts/*.py")
        for line in path.read_text().splitlines()
        if private.search(line)
    ]
    assert not found


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("from ops.core.operation import OPERATIONS; list(OPERATIONS)", id="operations"),
        pytest.param("from ops.core.tasks.task import TASKS; list(TASKS)", id="tasks"),
        pytest.param("import pipeline.cli.main, pipeline.plan.planner, pipeline.sweep.run", id="command line"),
    ],
)
def test_planning_and_help_import_no_heavy_library(code):
    """Torch alone takes seconds: a typo in a recipe must not cost them."""
    heavy = "torch", "onnxruntime", "transformers", "panel", "sklearn"
    code = f"{code}; import sys; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert run.stdout.strip() == "[]"


def test_the_name_of_a_task_is_written_out_in_its_definition_alone():
    command = [sys.executable, ROOT / "scripts" / "style"]
    measures = subprocess.run(command, check=False, capture_output=True, text=True).stdout  # others may be broken
    (line,) = [line for line in measures.splitlines() if line.startswith("task strings outside definitions")]
    assert line.endswith("ok"), line
