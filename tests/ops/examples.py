"""One or more examples of every operation: small parameters, and how to see that the target was met.

Who adds an operation adds its examples here; `test_every_operation.py` and `test_golden.py` run over all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.ops.context import NETS

CNNS = ("residual", "depthwise")
FIRST_BLOCK = {"residual": "stages.0.*", "depthwise": "stages.0.*", "transformer": "vit.layers.0.*"}
"""A pattern per network: the layers of its first block."""
LAST_BLOCK = {"residual": "stages.1.*", "depthwise": "stages.1.*", "transformer": "vit.layers.1.*"}

ROUNDING = 2e-4
"""float32 rounds to 2^-24 of a value. The longest sum here has 288 products (3x3 of 32 channels), and eight such layers
follow each other: if all errors went in one direction, 8 * 288 * 2^-24 = 1.4e-4."""
LEVELS = 2e-3
"""Where values are rounded to 8 bits, one that a last bit lifts over a border moves by a whole level, 1/255 of the range;
of the thousands that a logit sums up, some dozens lie so near to a border that they may."""
SHORT = {"epochs": 1, "samples": 64, "batch_size": 32}
"""Two steps: of more, rounding would grow."""
ADAM = {**SHORT, "learning_rate": 0.02, "weight_decay": 0.5}
"""Steps large enough to be seen in the figures. Not for transformers: Adam divides a gradient by its size, and the one of
the bias of attention's keys is zero on paper, in truth rounding that would move each number by the learning rate."""
SGD = {**SHORT, "optimizer": "sgd", "learning_rate": 0.05, "weight_decay": 0.5, "schedule": "linear", "clip_norm": 1.0}
STEPS = 5 * ROUNDING
"""Of two steps: a forward and a backward pass each, and the last forward pass."""


@dataclass(frozen=True)
class Case:
    """An operation's example applied to one network."""

    before: Any
    after: Any
    notes: Mapping[str, Any]


@dataclass(frozen=True)
class Example:
    params: Mapping[str, Any] = field(default_factory=dict)
    met: Callable[[Case], None] = lambda case: None
    """Asserts that the example's target was met, or that the reason is in the notes."""
    nets: tuple[str, ...] = tuple(NETS)
    after: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """(operation, parameters) applied first, for what mends a model."""
    entry: Callable[[str, Path], Mapping[str, Any]] = lambda net, folder: NETS[net]
    """For operations that take no model: network, folder for files -> the conf/model entry."""
    layers: Mapping[str, str] = field(default_factory=lambda: FIRST_BLOCK)
    """Network -> pattern by which the example is tried with `include` and with `exclude`."""
    names_change: bool = False
    """The kind of operation gives its tensors other names."""
    spreads: bool = False
    """What it does to a chosen layer changes others too."""
    tolerance: float = ROUNDING
    """Relative, of the golden figures."""


def zeros(model, names=None):
    masks = {name: mask for name, mask in model.masks.items() if names is None or name in names}
    return sum(int((~mask).sum()) for mask in masks.values()), sum(mask.numel() for mask in masks.values())


def sparsity(asked: float, *, each: bool = False):
    """All chosen weights together, or each tensor, to one weight."""

    def met(case: Case) -> None:
        state = case.after.module.state_dict()
        for name, mask in case.after.masks.items():
            assert bool((state[name][~mask] == 0).all()), f"{name}: masked weights are zero"
            if each:
                assert abs(int((~mask).sum()) - asked * mask.numel()) <= 1, name
        removed, total = zeros(case.after)
        assert total
        assert each or abs(removed - asked * total) <= 1
        assert case.notes["achieved"]["zeros"] == removed

    return met


def pattern(n: int, m: int):
    def met(case: Case) -> None:
        state = case.after.module.state_dict()
        chosen = {
            name
            for name, tensor in state.items()
            if name.endswith(".weight") and tensor.dim() in {2, 4} and "embed" not in name
        }
        unchanged = {f"{name}.weight" for name in case.notes.get("unchanged", {})}
        for name in chosen - unchanged:
            groups = (state[name].flatten(2) if state[name].dim() == 4 else state[name][..., None]).unflatten(
                1, (-1, m)
            )
            assert int((groups != 0).sum(dim=2).max()) <= n, name
        assert case.after.masks

    return met


def narrower(ratio: float):
    def met(case: Case) -> None:
        count = [sum(p.numel() for p in model.module.parameters()) for model in (case.before, case.after)]
        assert case.notes["achieved"]["parameters"] == count
        assert count[1] < count[0]
        assert abs(case.notes["achieved"]["ratio"] - ratio) <= 0.01 or case.notes["achieved"]["because"]

    return met


def smaller_layers(ratio: float):
    def met(case: Case) -> None:
        ranks = case.notes["achieved"]
        assert ranks
        before, after = case.before.module, case.after.module
        for name, found in ranks.items():
            factors = [part.weight for part in after.get_submodule(name)]
            assert [factor.shape[0] for factor in factors[:-1]] == found["ranks"]
            assert sum(factor.numel() for factor in factors) <= ratio * before.get_submodule(name).weight.numel()
        assert set(case.notes.get("unchanged", {})) | set(ranks)

    return met


def kept_energy(energy: float):
    def met(case: Case) -> None:
        assert all(found["energy"] >= energy - 1e-6 for found in case.notes["achieved"].values())
        assert all(case.notes.get("unchanged", {"all": "replaced"}).values())

    return met


def few_values(bits: int):
    def met(case: Case) -> None:
        assert case.notes["achieved"]["bits"] == bits
        for name, tensor in case.after.module.state_dict().items():
            if not np.array_equal(tensor, case.before.module.state_dict()[name]):
                assert len(np.unique(tensor)) <= 2**bits, name

    return met


def saved_weights(net: str, folder: Path) -> Mapping[str, Any]:
    """An entry with a file of weights."""
    from safetensors.torch import save_file

    from tests.ops.stored import base

    save_file(base(net).module.state_dict(), folder / f"{net}.safetensors")
    return {**NETS[net], "weights": str(folder / f"{net}.safetensors")}


def exported(net: str, folder: Path) -> Mapping[str, Any]:
    """An entry of an ONNX file."""
    from pipeline.models.onnx_export import export_onnx
    from tests.ops.stored import base

    export_onnx(base(net), folder / f"{net}.onnx")
    return {"name": net, "builder": "onnx", "path": str(folder / f"{net}.onnx")}


PRUNED = (("magnitude_prune", {"sparsity": 0.5, "include": ["norm", "conv", "linear"], "scope": "layer"}),)


def learned(case: Case) -> None:
    assert len(case.notes["losses"]) == 1
    assert np.isfinite(case.notes["losses"]).all()
    assert "stopped" not in case.notes


def nearer(case: Case) -> None:
    errors = case.notes["relative_error"].values()
    assert all(after <= before for before, after in errors)
    assert any(after < before for before, after in errors)


def in_integers(share: float):
    def met(case: Case) -> None:
        assert case.notes["integer_mac_share"] >= share
        assert all(case.notes["layers_in_float"].values())  # each with its reason

    return met


ANY_CPU = {"reduce_range": True}
"""Seven bits are right on every processor, with VNNI or without it, where eight may saturate."""

EXAMPLES: dict[str, list[Example]] = {
    "magnitude_prune": [
        Example({"sparsity": 0.5}, sparsity(0.5)),
        Example({"sparsity": 0.75, "scope": "layer"}, sparsity(0.75, each=True)),
        Example({"sparsity": 0.6, "scope": "layer", "allocation": "erk"}, sparsity(0.6)),
        Example({"sparsity": 0.6, "scope": "layer", "allocation": "lamp"}, sparsity(0.6)),
        Example({"sparsity": 0.3, "include": ["norm", "conv", "linear"], "scope": "layer"}, sparsity(0.3, each=True)),
    ],
    "gradient_prune": [
        Example({"sparsity": 0.5, "samples": 64}, sparsity(0.5)),
        Example({"sparsity": 0.4, "samples": 64, "criterion": "snip", "scope": "layer"}, sparsity(0.4, each=True)),
        Example({"sparsity": 0.5, "samples": 32, "criterion": "fisher", "batch_size": 8}, sparsity(0.5)),
    ],
    "activation_prune": [
        Example({"sparsity": 0.5, "samples": 32}, sparsity(0.5, each=True)),
        Example({"sparsity": 0.6, "samples": 32, "method": "sparsegpt"}, sparsity(0.6, each=True)),
    ],
    "nm_prune": [
        Example({}, pattern(2, 4)),
        Example({"n": 4, "m": 8, "score": "wanda", "samples": 32}, pattern(4, 8)),
    ],
    "channel_prune": [
        Example({"ratio": 0.5}, narrower(0.5), layers=LAST_BLOCK, spreads=True),
        Example({"ratio": 0.25, "round_to": 4, "scope": "global", "importance": "taylor", "samples": 32}, narrower(0.25), spreads=True),
        Example({"ratio": 0.25, "round_to": 1, "importance": "bn_scale", "iterations": 2}, narrower(0.25), nets=CNNS, spreads=True),
        Example({"ratio": 0.25, "round_to": 1, "importance": "hessian", "samples": 8, "scope": "isomorphic"}, narrower(0.25), spreads=True),
        Example({"ratio": 0.25, "round_to": 1, "importance": "random"}, narrower(0.25), spreads=True),
    ],
    "factorize": [
        Example({"ratio": 0.5}, smaller_layers(0.5), names_change=True),
        Example({"energy": 0.7}, kept_energy(0.7), names_change=True),
    ],
    "palettize": [
        Example({"bits": 3}, few_values(3)),
        Example({"bits": 2, "group_channels": 8}, lambda case: None),
    ],
    "train": [
        Example(ADAM, learned, nets=CNNS, tolerance=STEPS),
        Example({**SGD, "label_smoothing": 0.1}, learned, tolerance=STEPS),
    ],
    "load": [Example(nets=("transformer",), entry=saved_weights)],
    "load_onnx": [Example(nets=("depthwise",), entry=exported)],
    "finetune": [
        Example(ADAM, learned, nets=CNNS, tolerance=STEPS),
        Example(SGD, learned, tolerance=STEPS),
        Example({**SGD, "teacher": "base", "quantization_aware": True}, learned, tolerance=LEVELS),
    ],
    "calibrate": [
        Example({"samples": 64}, nets=CNNS, after=PRUNED),
        Example({"method": "bias_correction", "samples": 64}, after=PRUNED),
        Example({"method": "reconstruct", "samples": 64}, nearer, after=PRUNED),
    ],
    "smooth": [Example({"samples": 32}, nets=("transformer",))],
    "restore": [Example({"include": ["norm"]}, after=PRUNED)],
    "quantize": [
        Example({"samples": 32, **ANY_CPU, "activations": "uint8"}, in_integers(0.75), tolerance=LEVELS),
        Example({"method": "dynamic", **ANY_CPU}, in_integers(0.75), nets=("transformer",), tolerance=LEVELS),
        Example({"method": "weight_only", "bits": 4}, nets=("transformer",)),
        Example({"method": "float16"}, nets=("residual",)),
    ],
}  # fmt: skip
