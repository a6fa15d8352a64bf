"""The matrix of architectures and operations: the guide's table is whole, and a slice of it is still true."""

import re
from dataclasses import replace

import pytest
import torch

from ops.core.errors import OperationError
from ops.core.operation import OPERATIONS
from scripts.bench.matrix import cuts
from scripts.bench.matrix.architectures import SUBJECTS
from scripts.bench.matrix.cells import COLUMNS
from scripts.bench.matrix.data import Noise, network
from scripts.bench.matrix.table import RIGHT, kind
from scripts.bench.strangers import cells
from scripts.docs.guides import OPERATIONS_GUIDE

SMALL = ("Conv1d", "tied embedding", "weight norm")
"""Seconds each, for all operations."""
WITHOUT_FILES = tuple(column.title for column in COLUMNS if column.op not in ("load_onnx", "quantize"))
"""Exporting takes longer than all else."""


def guide():
    """Architecture -> operation -> mark, and number -> reason, as the guide has them."""
    text = re.search(r"<!-- strangers -->\n(.*)\n<!-- /strangers -->", OPERATIONS_GUIDE.read_text(), re.DOTALL)[1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    titles = [cell.replace("`", "") for cell in rows[0][1:]]
    marks = {row[0].rpartition(" (")[0]: dict(zip(titles, row[1:], strict=True)) for row in rows[2:]}
    return marks, dict(re.findall(r"^(\d+)\. (.*)$", text, re.MULTILINE))


def test_every_operation_has_a_column_and_every_architecture_a_row():
    ours = {name for name in OPERATIONS if OPERATIONS[name].apply.__module__.startswith("ops.")}
    assert {column.op for column in COLUMNS} == ours
    marks, reasons = guide()
    assert list(marks) == [subject.name for subject in SUBJECTS]
    assert len(marks) >= 40
    for row in marks.values():
        assert list(row) == [column.title for column in COLUMNS]
        assert all(mark == RIGHT or mark in reasons for mark in row.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_cells_of_small_architectures_are_as_the_guide_says(name, tmp_path):
    marks, reasons = guide()
    subject = next(subject for subject in SUBJECTS if subject.name == name)
    titles = WITHOUT_FILES if name != SMALL[0] else [column.title for column in COLUMNS]
    for outcome in cells(subject, titles, tmp_path):
        mark = marks[name][outcome.column]
        assert outcome.state == ("right" if mark == RIGHT else "refused"), f"{outcome.column}: {outcome.text}"
        assert mark == RIGHT or kind(outcome.text, name) == reasons[mark]


def test_another_result_than_the_one_by_hand_is_a_fault(tmp_path, monkeypatch):
    """The bench would see a weight that is lost, an output that is moved, a traceback and a reason of two lines."""
    subject = next(subject for subject in SUBJECTS if subject.name == "Conv1d")
    spec = OPERATIONS["magnitude_prune"]

    def state(wrong):
        monkeypatch.setitem(OPERATIONS._items, spec.name, wrong)
        return next(iter(cells(subject, [spec.name], tmp_path)))

    def with_result(change):
        def apply(model, ctx, **params):
            result = spec.apply(model, ctx, **params)
            change(result)
            return result

        return replace(spec, apply=apply)

    assert state(with_result(lambda result: None)).state == "right"
    assert "not what it should be" in state(with_result(lambda r: r.module.head.bias.data.add_(1))).text

    def lose(result):
        result.masks["head.weight"][0] = False
        result.module.head.weight.data[0] = 0

    assert state(with_result(lose)).state == "FAULT"
    assert state(with_result(lambda result: 1 / 0)).state == "FAULT"

    def refuse(_):
        raise OperationError("two\nlines")

    assert "not one line" in state(with_result(refuse)).text


def test_channels_zeroed_by_hand_are_those_that_layers_no_longer_read():
    """Of a network whose arithmetic is written out: the head reads the mean of what the second convolution gives."""
    subject = next(subject for subject in SUBJECTS if subject.name == "groups concatenated")
    data = Noise(subject)
    module = network(subject, data).module
    kept = {"head": {"in": [0, 2, 5]}, "mix": {"out": [0, 2, 5]}}
    with torch.no_grad():
        pixels = torch.from_numpy(data.batch(4).inputs["pixel_values"])
        stem = torch.relu(module.stem(pixels))
        both = torch.relu(module.norm(torch.cat([module.narrow(stem), module.wide(stem)], 1)))
        read = torch.relu(module.mix(both)).mean((2, 3))[:, [0, 2, 5]]
        expected = read @ module.head.weight[:, [0, 2, 5]].T + module.head.bias
        values = cuts.without_channels(module, kept)(pixels)
    assert torch.allclose(values, expected, atol=1e-6)
