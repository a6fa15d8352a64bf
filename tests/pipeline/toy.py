"""A builder and operations that cost nothing, and some that fail in every way: a plugin for the engine's tests."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ops.core.operation import (
    Context,
    Format,
    Fraction,
    Kind,
    ModelEntry,
    ModelRef,
    OnnxModel,
    TorchModel,
    Uses,
    operation,
)
from pipeline.models.api import Need, builder

ENTRY = {"name": "toy", "builder": "toy_net"}


@builder
def toy_net(need: Need, *, width: int = 2):
    """A linear classifier of any input."""
    import torch

    size = 1
    for _, shape in need.inputs.values():
        for side in shape:
            size *= side
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(size, width), torch.nn.Linear(width, len(need.classes))
    )


@operation(kind=Kind.BASE, version=1, consumes=None, uses={Uses.INTERFACE, Uses.SEED})
def toy_base(ctx: Context, *, model: ModelEntry = None) -> TorchModel:
    """A model with seeded weights."""
    import torch

    ctx.note("threads", torch.get_num_threads())
    return ctx.build(model or ENTRY, pretrained=False)


@operation(kind=Kind.PRUNE, version=1)
def toy_add(model: TorchModel, ctx: Context, *, amount: float = 1.0, fraction: Fraction = 0.5) -> TorchModel:
    """Add to every weight."""
    import torch

    model = model.copy()
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.add_(amount)
    ctx.note("added", amount)
    ctx.note("threads", torch.get_num_threads())
    return model


@operation(kind=Kind.FINETUNE, version=1, uses={Uses.DATA, Uses.SEED})
def toy_tune(
    model: TorchModel, ctx: Context, *, teacher: ModelRef | None = None, epochs: Annotated[int, Field(ge=1)] = 1
) -> TorchModel:
    """Depends on data, seed and, if asked, a teacher."""
    import torch

    model = model.copy()
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.add_(torch.randn(parameter.shape))
        if teacher:
            for mine, theirs in zip(model.module.parameters(), ctx.load(teacher).module.parameters(), strict=True):
                mine.copy_(theirs)
    return model


@operation(kind=Kind.QUANTIZE, version=1, consumes=Format.ONNX)
def toy_onnx(model: OnnxModel, ctx: Context) -> OnnxModel:
    """Give the ONNX file back."""
    return model


@operation(kind=Kind.PRUNE, version=1)
def toy_fail(model: TorchModel, ctx: Context, *, marker: str = "", how: str = "raise") -> TorchModel:
    """Fail as told, unless the file `marker` exists; what hangs makes that file first."""
    if marker and os.path.exists(marker):  # noqa: PTH110 - a plain question
        return model.copy()
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hang":
        Path(marker).touch()
        time.sleep(600)
    if how == "memory":
        hog = [bytearray(10_000_000) for _ in range(200)]
        time.sleep(600)
        del hog
    if how == "print":
        sys.stdout.write(f"out {marker}\n")
        sys.stdout.flush()
        sys.stderr.write(f"err {marker}\n")
    raise RuntimeError("told to fail")


@operation(kind=Kind.PRUNE, version=1)
def toy_spin(model: TorchModel, ctx: Context, *, seconds: float = 0.1, label: int = 0) -> TorchModel:
    """Use the processor for some seconds of its time, on one thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return model.copy()


@operation(kind=Kind.FINETUNE, version=1, uses={Uses.SEED})
def toy_epochs(model: TorchModel, ctx: Context, *, epochs: int = 3, log: str = "") -> TorchModel:
    """Add a random number to every weight in each epoch, with a checkpoint after it; half a second each."""
    import torch

    model = model.copy()
    checkpoint = ctx.scratch / "checkpoint.pt"
    state = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else None
    if state is not None:
        torch.set_rng_state(state["random"])
        model.module.load_state_dict(state["weights"])
    for epoch in range(state["epoch"] if state else 0, epochs):
        with torch.no_grad():
            for parameter in model.module.parameters():
                parameter.add_(torch.randn(parameter.shape))
        time.sleep(0.5)
        if log:
            with Path(log).open("a") as stream:
                stream.write(f"{epoch}\n")
        beside = checkpoint.with_suffix(".new")
        torch.save({"epoch": epoch + 1, "weights": model.module.state_dict(), "random": torch.get_rng_state()}, beside)
        beside.replace(checkpoint)
        ctx.progress(epoch + 1, epochs, f"epoch {epoch + 1}/{epochs}")
    return model
