"""Small nets with weights that lie beside this file, so that tests of operations begin with the same ones on every machine.

Training amplifies the last bit of a matrix product, which differs between processors: what a test pins may not begin with
one. `python -m tests.ops.test_golden --weights` trains these nets anew; do so only when a net of `NETS` itself changes.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ops.core.operation import TorchModel
from pipeline.models.build import build
from tests.ops.context import NETS, need

FOLDER = Path(__file__).with_name("weights")
_LAST_BIT = 2.0**-23
READERS = ("residual", "depthwise")
"""Nets of which there is a second state, trained on more digits for longer."""


def load(net: str, *, reader: bool = False) -> TorchModel:
    """A net of `NETS`: halfway trained, with gradients that are not small yet, or one that reads well."""
    model = build(NETS[net], need())
    model.module.load_state_dict(load_file(_file(net, reader=reader)))
    model.module.eval()
    return model


@cache
def base(net: str) -> TorchModel:
    """The halfway trained net, shared: operations leave it alone."""
    return load(net)


@contextmanager
def nudged(seed: int) -> Iterator[None]:
    """Let `base` give nets whose weights are moved by one bit at random: as much as another processor could.

    A result that then differs by more than its tolerance stands on a tie: two scores that are equal to rounding.
    """
    random = np.random.default_rng(seed)
    saved = {net: copy.deepcopy(base(net).module.state_dict()) for net in NETS}
    try:
        for net in NETS:
            for tensor in filter(torch.is_floating_point, base(net).module.state_dict().values()):
                steps = random.integers(-1, 2, tuple(tensor.shape)).astype(np.float32)
                tensor.mul_(1 + torch.from_numpy(steps) * _LAST_BIT)
        yield
    finally:
        for net in NETS:
            base(net).module.load_state_dict(saved[net])


def store() -> None:
    """Train all nets anew and write their weights."""
    from tests.ops.context import trained
    from tests.ops.digits import apply, context

    FOLDER.mkdir(exist_ok=True)
    for net, entry in NETS.items():
        _save(trained(entry), _file(net, reader=False))
    for net in READERS:
        reader = apply("train", context(), model=NETS[net], epochs=12, batch_size=32, learning_rate=5e-3)
        _save(reader, _file(net, reader=True))


def _file(net: str, *, reader: bool) -> Path:
    return FOLDER / f"{net}{'-reader' if reader else ''}.safetensors"


def _save(model: TorchModel, file: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in model.module.state_dict().items()}, file)
