"""Pinned results: an operation whose result changes must say so by a raised version, for cached results to be left alone.

Every result begins with the nets of `tests/ops/weights` and real digits, so that it is the same on every machine but for
rounding. `python -m tests.ops.test_golden [OPERATION ...]` writes the figures of new examples and of raised versions; those
of a version that stays it does not touch. With `--weights` it trains the nets anew first.
"""

import json
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ops.core.operation import OPERATIONS, OnnxModel
from tests.ops.apply import apply, damaged, onnx_base, outputs
from tests.ops.context import digits
from tests.ops.examples import EXAMPLES
from tests.ops.stored import nudged, store

FILE = Path(__file__).with_name("golden.json")
DIGITS = [18247.334, 5477.4336, 11418.025]
"""Sums of the magnitudes of all pixels of the training, calibration and evaluation split."""
CASES = [(op, n, net) for op in EXAMPLES for n, example in enumerate(EXAMPLES[op]) for net in example.nets]


def figures(model) -> dict[str, float]:
    """What tells two models apart but not two processors: sums, not bits, to six digits."""
    logits = np.concatenate([values.ravel() for values in outputs(model, inputs=pictures()).values()]).astype(
        np.float64
    )
    found = {"logits_abs_mean": np.abs(logits).mean(), "logits_std": logits.std()}
    if isinstance(model, OnnxModel):
        tensors = [numpy_helper.to_array(tensor) for tensor in onnx.load(model.path).graph.initializer]
    else:
        tensors = [tensor.numpy() for tensor in model.module.state_dict().values() if tensor.is_floating_point()]
        found["zeros"] = sum(int((~mask).sum()) for mask in model.masks.values())
    found["numbers"] = sum(tensor.size for tensor in tensors)
    found["abs_sum"] = sum(float(np.abs(tensor.astype(np.float64)).sum()) for tensor in tensors)
    return {name: float(f"{value:.6g}") if isinstance(value, float) else int(value) for name, value in found.items()}


@cache
def pictures() -> dict[str, np.ndarray]:
    """Of the evaluation split: their values are exact, as those of random generators are not."""
    return dict(next(iter(digits().batches("evaluation", batch_size=16))).inputs)


def near(pinned: dict[str, float], op: str, number: int) -> dict[str, object]:
    """What is equal to the figures within the example's tolerance; counts are equal exactly."""
    tolerance = EXAMPLES[op][number].tolerance
    return {
        name: value if isinstance(value, int) else pytest.approx(value, rel=tolerance) for name, value in pinned.items()
    }


def key(op: str, number: int, net: str) -> str:
    return f"{op} {json.dumps(EXAMPLES[op][number].params, sort_keys=True)} on {net}"


@pytest.mark.parametrize(("op", "number", "net"), CASES)
def test_the_result_is_the_pinned_one(results, op, number, net):
    pinned = json.loads(FILE.read_text()).get(key(op, number, net))
    assert pinned, "a new example: run `python -m tests.ops.test_golden`"
    version = OPERATIONS[op].version
    assert pinned["version"] == version, f"the version was raised to {version}: run `python -m tests.ops.test_golden`"
    found = figures(results(op, number, net).after)
    assert found == near(pinned["figures"], op, number), (
        f"the result of '{op}' changed: raise its version= and run `python -m tests.ops.test_golden`"
    )


def test_the_digits_are_the_pinned_ones():
    """If they change, all results do, and no operation is at fault."""
    assert pictures()["pixel_values"].shape == (16, 1, 8, 8)
    values = [
        float(np.abs(batch.inputs["pixel_values"]).sum(dtype=np.float64))
        for split in ("train", "calibration", "evaluation")
        for batch in digits().batches(split, batch_size=1000)
    ]
    assert values == pytest.approx(DIGITS, rel=1e-6)


def test_nothing_is_pinned_that_is_no_longer_an_example():
    assert set(json.loads(FILE.read_text())) <= {key(*case) for case in CASES}


def regenerate(only: list[str]) -> list[str]:
    """Write the golden file; return complaints.

    Figures of an unraised version that changed are left alone, and so are those that stand on a tie.
    """
    old = json.loads(FILE.read_text()) if FILE.exists() else {}
    pinned, complaints = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for op, number, net in CASES:
            name, version = key(op, number, net), OPERATIONS[op].version
            before = old.get(name)
            if only and op not in only:
                pinned |= {name: before} if before else {}
                continue
            found = fresh(op, number, net, Path(folder))
            pinned[name] = {"version": version, "figures": found}
            with nudged(seed=0):
                other = fresh(op, number, net, Path(folder, "nudged"))
            if other != near(found, op, number):
                complaints.append(
                    f"{name}: a last bit changes it from {found} to {other}; give the example other parameters"
                )
            if before and before["version"] == version:
                pinned[name] = before
                if found != near(before["figures"], op, number):
                    complaints.append(f"{name}: changed with the same version, left alone; raise version= first")
    FILE.write_text(json.dumps(pinned, indent=1, sort_keys=True) + "\n")
    return complaints


def fresh(op: str, number: int, net: str, folder: Path) -> dict[str, float]:
    """Figures of a model that is made now, from the nets as they are now."""
    damaged.cache_clear()
    onnx_base.cache_clear()
    folder.mkdir(exist_ok=True)
    scratch = folder / f"{op}-{number}-{net}"
    return figures(apply(op, EXAMPLES[op][number], net, folder=folder, scratch=scratch).after)


def main(words: list[str]) -> int:
    if "--weights" in words:
        store()
    complaints = regenerate([word for word in words if word != "--weights"])
    sys.stderr.writelines(f"{complaint}\n" for complaint in complaints)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
