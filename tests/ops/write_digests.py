"""Apply every operation to a small network and write digests of all that comes out: `python -m tests.ops.write_digests FILE`.

A test starts this under several hash seeds, each in a process of its own.
"""

import json
import sys
import tempfile
from functools import cache
from pathlib import Path

from ops.core.model import OnnxModel, TorchModel
from pipeline.models.build import build
from pipeline.stages.operation import settle
from tests.ops import apply as examples_on
from tests.ops.context import NETS, SEED, need
from tests.ops.examples import EXAMPLES, Example

CLIPPED = {"epochs": 2, "samples": 320, "clip_norm": 0.1}
"""So small a bound that every step is clipped: the norm is a sum over all parameters, in their order."""

GENTLE = {"sparsity": 0.3}
"""Of a network that is not trained some layers would lose all their weights at a half."""


@cache
def untrained(net: str) -> TorchModel:
    """A network as it is built: training would take most of the time, and adds nothing here."""
    settle(SEED, threads=1)
    return build(NETS[net], need())


def digests(folder: Path) -> dict[str, object]:
    """Every example of every operation -> digests of its result, and its notes.

    Each on a network with attention and embeddings where the operation takes it, else on the first that it takes.
    """
    results = {}
    for op, examples in EXAMPLES.items():
        for number, example in enumerate(examples):
            net = "transformer" if "transformer" in example.nets else example.nets[0]
            more = GENTLE if "sparsity" in example.params else {}
            results[f"{op} {number}"] = _digest(op, example, net, folder / f"{op}-{number}", **more)
    for op in ("train", "finetune"):
        results[f"{op}, clipped"] = _digest(op, EXAMPLES[op][0], "residual", folder / f"{op}-clipped", **CLIPPED)
    return results


def _digest(op: str, example: Example, net: str, folder: Path, **params: object) -> dict[str, object]:
    case = examples_on.apply(op, example, net, folder=folder.parent, scratch=folder, **params)
    # exported files hold the paths of the code; a model that is only read from one is that file
    result = {} if isinstance(case.after, OnnxModel) and op == "load_onnx" else examples_on.snapshot(case.after)
    return {"result": result, "notes": json.dumps(case.notes).replace(str(folder), "")}


if __name__ == "__main__":
    examples_on.base = untrained
    with tempfile.TemporaryDirectory() as scratch:
        Path(sys.argv[1]).write_text(json.dumps(digests(Path(scratch))))
