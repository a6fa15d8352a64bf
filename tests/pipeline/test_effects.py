"""The guide's tables of effects are made from results, and say what the results say."""

import re
from pathlib import Path

import numpy as np
import pytest

from ops.core.operation import OPERATIONS
from pipeline.store.records import run_records
from pipeline.store.records.timing_records import Speedup
from pipeline.store.writer import Store
from scripts.docs.effects.markdown import markdown
from scripts.docs.effects.networks import networks
from scripts.docs.guides import OPERATIONS_GUIDE, with_part
from tests.pipeline.store.facts import DEVICE, RUN, START, measurement

COUNT = 1000
DATA = run_records.DatasetInfo("data1", "digits", "image-classification", ["cat", "dog"], {"evaluation": COUNT}, {})
SIZE = run_records.Metric("file_bytes", "B", ",.0f", "lower", True, "Bytes of the file.", "size")
ACCURACY = run_records.Metric("accuracy", "", ".1%", "higher", True, "Share of right answers.", "quality", "instances")
INSTANCES = run_records.Instances("data1", "evaluation", [str(at) for at in range(COUNT)], ["cat"] * COUNT, {})
MODELS = {
    # name: (operation, parameters, right answers of a thousand, bytes, times as fast as the base)
    "net": ("train", {"model": {"name": "small", "builder": "digits_resnet"}}, 900, 100, None),
    "net/int8": ("quantize", {}, 895, 25, 4.0),
    "net/half": ("magnitude_prune", {"sparsity": 0.5, "scope": "layer"}, 500, 100, 1.0),
    "net/half/calibrated": ("calibrate", {}, 700, 100, 1.0),
    "net/half/finetuned": ("finetune", {}, 800, 100, 1.0),
    "net/half/finetuned/int8": ("quantize", {}, 780, 25, 4.1),
    "net/half/distilled": ("finetune", {"teacher": "base"}, 850, 100, 1.0),
    "net/most": ("magnitude_prune", {"sparsity": 0.9, "scope": "layer"}, 100, 100, 1.0),
    "net/most/calibrated": ("calibrate", {}, 100, 100, 1.0),
    "net/wanda": ("activation_prune", {"sparsity": 0.5}, 650, 100, 1.0),
    "net/sparsegpt": ("activation_prune", {"sparsity": 0.5, "method": "sparsegpt"}, 500, 100, 1.0),
}


def facts():
    yield from (RUN, DEVICE, DATA, SIZE, ACCURACY, INSTANCES)
    for name, (op, params, right, size, speed) in MODELS.items():
        spec, parent = OPERATIONS[op], name.rpartition("/")[0]
        checked = spec.check(params)
        yield run_records.Model(name, parent or None, name, "", "study", op, 1, spec.kind.value, "torch", checked)
        correct = np.arange(COUNT) < right
        values = correct.astype(np.float32)
        yield run_records.InstanceValues(name, "onnxruntime", "", "data1", "accuracy", values, f"{name}-accuracy")
        yield measurement(name, "file_bytes", float(size), target="")
        if speed:
            # two threads gain less: the tables tell of one
            for threads, ratio in ((2, 0.5 * speed), (1, speed), (4, 0.3 * speed)):
                yield Speedup(
                    "session", name, "net", "base", "onnxruntime", "laptop", "single_stream", 1, threads, "cpu", ratio,
                    ratio * 0.9, ratio * 1.1, "faster", 16, 0.01, False, 0, START,
                )  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("effects") / "results.duckdb"
    store = Store(path)
    store.write(list(facts()))
    store.publish()
    return path


@pytest.fixture(scope="module")
def text(results):
    return markdown(networks([results]))


# Intervals of shares on the same instances: Tango's, which `tests/viewer/test_paired.py` finds in another way
def row(text, start):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_holds_quality_speed_and_size_of_an_operation_and_of_its_repairs(text):
    head = row(text, "**small on digits** (1,000 instances)")
    assert head[1:] == [
        "accuracy",
        "change",
        "recalibrated",
        "fine-tuned",
        "distilled",
        "then int8",
        "times as fast",
        "file",
    ]
    found = dict(zip(head, row(text, "`magnitude_prune` 0.5, scope layer"), strict=True))
    assert found["accuracy"] == "50.0"
    assert found["change"] == "-40.0 [-43.1, -37.0]"
    assert found["recalibrated"] == "70.0 (+20.0 [+17.6, +22.6])"
    assert found["fine-tuned"] == "80.0 (+30.0 [+27.2, +32.9])"
    assert found["distilled"] == "85.0 (+35.0 [+32.1, +38.0])"
    assert found["then int8"] == "78.0 (-2.0 [-3.1, -1.3])"
    assert found["times as fast"] == "1.00 [0.90, 1.10] · 4.10 [3.69, 4.51]"
    assert found["file"] == "1.00 · 0.25"


def test_rows_stand_by_operation_and_strength(text):
    names = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| `")]
    assert names == [
        "`train`", "`activation_prune` 0.5, method sparsegpt", "`activation_prune` 0.5",
        "`magnitude_prune` 0.5, scope layer", "`magnitude_prune` 0.9, scope layer", "`quantize`",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "claim",
    [
        "Recalibration raises accuracy in 1 of 2 cases, by +20.0 [+17.6, +22.6] points at most (after `magnitude_prune` 0.5, scope layer).",
        "`activation_prune` 0.5 is better by +15.0 [+12.9, +17.3] points than `magnitude_prune` 0.5, scope layer.",
        "`activation_prune` 0.5, method sparsegpt is no different (+0.0 ± 0.4 points) from `magnitude_prune` 0.5, scope layer.",
        "Distillation after `magnitude_prune` 0.5, scope layer is better by +5.0 [+3.8, +6.5] points than plain fine-tuning.",
        "int8 loses no more than one point in 1 of 2 cases; the largest change for the worse is -2.0 [-3.1, -1.3] (`net/half/finetuned/int8`).",
    ],
)
def test_claims_are_those_of_the_figures(text, claim):
    assert f"- {claim}" in text.splitlines()


def test_only_the_roots_asked_for_are_shown(results):
    assert networks([results], ["other"]) == []
    assert len(networks([results, results], ["net"])) == 1


def test_the_readme_has_a_table_for_each_kind_of_network():
    part = re.search(r"<!-- effects -->\n(.*?)\n<!-- /effects -->", OPERATIONS_GUIDE.read_text(), flags=re.DOTALL)
    heads = re.findall(r"^\| \*\*(.+?)\*\* \([\d,]+ instances\) \| (accuracy|f1) \|", part[1], flags=re.MULTILINE)
    assert heads
    assert all(
        re.search(rf"^\| `{op}`", part[1], flags=re.MULTILINE) for op in ("train", "quantize", "magnitude_prune")
    )
    assert with_part(OPERATIONS_GUIDE.read_text(), "effects", part[1]) == OPERATIONS_GUIDE.read_text()


def test_a_readme_without_the_place_is_named():
    with pytest.raises(ValueError, match=r"the guide has no place for 'effects': <!-- effects -->"):
        with_part(Path(__file__).read_text().replace("<!--", ""), "effects", "")
