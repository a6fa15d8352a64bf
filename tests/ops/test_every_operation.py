"""The contract of every registered operation, over its examples and three networks."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ops.core.errors import OperationError
from ops.core.operation import OPERATIONS, Format
from pipeline.models import storage
from tests.ops.apply import apply, given, ours, outputs, snapshot
from tests.ops.examples import EXAMPLES, Example

ROOT = Path(__file__).resolve().parents[2]
CASES = [(op, n, net) for op in EXAMPLES for n, example in enumerate(EXAMPLES[op]) for net in example.nets]
TORCH = [case for case in CASES if OPERATIONS[case[0]].produces is Format.TORCH]
CHANGING = [case for case in TORCH if OPERATIONS[case[0]].consumes is Format.TORCH]
SELECTING = [op for op in EXAMPLES if "include" in OPERATIONS[op].params.model_fields]

pytestmark = pytest.mark.matrix

every_case = pytest.mark.parametrize(("op", "number", "net"), CASES)
every_torch_case = pytest.mark.parametrize(("op", "number", "net"), TORCH)


def test_every_operation_has_examples():
    assert set(EXAMPLES) == set(ours())


@pytest.mark.parametrize("op", ours())
def test_it_is_documented(op):
    text = inspect.getdoc(OPERATIONS[op].apply)
    assert text
    assert text.splitlines()[0].endswith(".")
    described = OPERATIONS[op].params.model_fields
    for name, field in described.items():
        assert field.description or re.search(rf"\b{name}\b", text), f"parameter '{name}' of {op} is not described"


@every_case
def test_the_target_is_met_or_the_reason_noted(results, op, number, net):
    EXAMPLES[op][number].met(results(op, number, net))


@every_case
def test_the_input_is_untouched(results, onnx_folder, op, number, net):
    before = snapshot(given(op, EXAMPLES[op][number], net, onnx_folder)) if OPERATIONS[op].consumes else None
    case = results(op, number, net)
    if before is not None:
        assert snapshot(case.before) == before
        assert snapshot(case.before) != snapshot(case.after) or case.notes


@every_case
def test_the_same_seed_gives_the_same_bytes(results, onnx_folder, tmp_path, op, number, net):
    results(op, number, net)
    again = apply(op, EXAMPLES[op][number], net, folder=onnx_folder, scratch=tmp_path)
    assert snapshot(again.after) == results.snapshots[op, number, net]


def test_it_reloads_bit_for_bit_in_a_new_process_without_pickle(results, tmp_path):
    expected = {}
    for op, number, net in CASES:
        folder = tmp_path / f"{op}-{number}-{net}"
        folder.mkdir()
        after = results(op, number, net).after
        expected[folder] = outputs(after)
        storage.save(after, folder)
        assert {file.suffix for file in folder.iterdir()} <= {".json", ".safetensors", ".onnx"}
    subprocess.run([sys.executable, "-m", "tests.ops.reload", tmp_path], check=True, cwd=ROOT)
    for folder, outs in expected.items():
        with np.load(folder / "reloaded.npz") as reloaded:
            for name, values in outs.items():
                assert np.isfinite(values).all(), folder.name
                np.testing.assert_array_equal(reloaded[name], values, err_msg=folder.name)


@pytest.mark.parametrize(("op", "number", "net"), CHANGING)
def test_tensors_keep_their_names(results, op, number, net):
    case = results(op, number, net)
    before, after = set(case.before.module.state_dict()), set(case.after.module.state_dict())
    if EXAMPLES[op][number].names_change:
        assert before - after
    else:
        assert before == after
    assert set(case.after.masks) <= after


@every_torch_case
def test_masked_weights_are_exactly_zero(results, op, number, net):
    after = results(op, number, net).after
    state = after.module.state_dict()
    for name, mask in after.masks.items():
        assert mask.shape == state[name].shape
        assert not state[name][~mask].any(), name


@pytest.mark.parametrize(("op", "net"), sorted({(op, net) for op, _, net in CHANGING if op in SELECTING}))
def test_it_changes_what_is_included_and_not_what_is_excluded(onnx_folder, tmp_path, op, net):
    example = _example(op, net)
    include = example.layers[net]
    whole = given(op, example, net, onnx_folder).module.state_dict()
    only, without = tmp_path / "only", tmp_path / "without"
    inside = _changed(whole, _applied(op, example, net, onnx_folder, only, include=[include]))
    outside = _changed(whole, _applied(op, example, net, onnx_folder, without, exclude=[include]))
    assert inside
    assert outside
    prefix = include.removesuffix("*")
    if not example.spreads:
        assert all(name.startswith(prefix) for name in inside)
        assert not any(name.startswith(prefix) for name in outside)


@pytest.mark.parametrize("op", SELECTING)
def test_a_pattern_that_matches_nothing_is_refused_and_leaves_nothing_behind(onnx_folder, tmp_path, op):
    scratch = tmp_path / "scratch"
    net = EXAMPLES[op][0].nets[0]
    with pytest.raises(OperationError, match=re.escape("'qonv' matches no layer")):
        apply(op, EXAMPLES[op][0], net, folder=onnx_folder, scratch=scratch, include=["qonv"])
    assert not list(scratch.iterdir())


def _example(op: str, net: str) -> Example:
    return next(example for example in EXAMPLES[op] if net in example.nets)


def _applied(op, example, net, folder, scratch, **selection):
    return apply(op, example, net, folder=folder, scratch=scratch, **selection).after.module.state_dict()


def _changed(before, after):
    changed = {name for name in before.keys() & after.keys() if not np.array_equal(before[name], after[name])}
    return changed | (before.keys() ^ after.keys())
