"""Pinned results: an operation whose result changes must say so by a raised version, for cached results to be left alone.

`python -m tests.ops.test_golden [OPERATION ...]` writes the figures of new examples and of raised versions; those of a
version that stays it does not touch.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from ops.core.operation import OPERATIONS, OnnxModel
from tests.ops.apply import apply, outputs
from tests.ops.examples import EXAMPLES

FILE = Path(__file__).with_name("golden.json")
CASES = [(op, n, net) for op in EXAMPLES for n, example in enumerate(EXAMPLES[op]) for net in example.nets]


def figures(model) -> dict[str, float]:
    """What tells two models apart but not two processors: sums, not bits, to four digits."""
    logits = np.concatenate([values.ravel() for values in outputs(model, batch=16).values()]).astype(np.float64)
    found = {"logits_abs_mean": np.abs(logits).mean(), "logits_std": logits.std()}
    if not isinstance(model, OnnxModel):  # a file also holds the paths of the code that exported it
        tensors = [tensor.double() for tensor in model.module.state_dict().values() if tensor.is_floating_point()]
        found["numbers"] = sum(tensor.numel() for tensor in tensors)
        found["zeros"] = sum(int((~mask).sum()) for mask in model.masks.values())
        found["abs_sum"] = sum(float(tensor.abs().sum()) for tensor in tensors)
    return {name: float(f"{value:.4g}") if isinstance(value, float) else int(value) for name, value in found.items()}


def key(op: str, number: int, net: str) -> str:
    return f"{op} {json.dumps(EXAMPLES[op][number].params, sort_keys=True)} on {net}"


@pytest.mark.parametrize(("op", "number", "net"), CASES)
def test_the_result_is_the_pinned_one(results, op, number, net):
    pinned = json.loads(FILE.read_text()).get(key(op, number, net))
    assert pinned, "a new example: run `python -m tests.ops.test_golden`"
    version = OPERATIONS[op].version
    assert pinned["version"] == version, f"the version was raised to {version}: run `python -m tests.ops.test_golden`"
    found = figures(results(op, number, net).after)
    assert found == pytest.approx(pinned["figures"], rel=EXAMPLES[op][number].tolerance), (
        f"the result of '{op}' changed: raise its version= and run `python -m tests.ops.test_golden`"
    )


def test_nothing_is_pinned_that_is_no_longer_an_example():
    assert set(json.loads(FILE.read_text())) <= {key(*case) for case in CASES}


def regenerate(only: list[str]) -> int:
    """Write the golden file; return how many figures of an unraised version changed and were left alone."""
    old = json.loads(FILE.read_text()) if FILE.exists() else {}
    new, refused = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for op, number, net in CASES:
            name, version = key(op, number, net), OPERATIONS[op].version
            before = old.get(name)
            if only and op not in only:
                new |= {name: before} if before else {}
                continue
            scratch = Path(folder, f"{op}-{number}-{net}")
            found = figures(apply(op, EXAMPLES[op][number], net, folder=Path(folder), scratch=scratch).after)
            new[name] = {"version": version, "figures": found}
            if before and before["version"] == version:
                new[name] = before
                if found != pytest.approx(before["figures"], rel=EXAMPLES[op][number].tolerance):
                    refused.append(name)
    FILE.write_text(json.dumps(new, indent=1, sort_keys=True) + "\n")
    sys.stderr.writelines(
        f"{name}: changed with the same version, left alone; raise version= first\n" for name in refused
    )
    return len(refused)


if __name__ == "__main__":
    sys.exit(1 if regenerate(sys.argv[1:]) else 0)
