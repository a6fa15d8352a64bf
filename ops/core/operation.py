"""The contract of an operation: a keyword-only function from one model to another.

A newcomer adds one file to `ops/`:

    @operation(kind=Kind.PRUNE, version=1)
    def magnitude_prune(model: TorchModel, ctx: Context, *, sparsity: Fraction) -> TorchModel:
        '''Zero the weights of smallest magnitude.'''

The signature is the only declaration of the parameters: recipes are checked against it, and the documentation is made
from it. Operation modules are imported when a recipe is planned, so they import torch, onnx and the like inside the
function, never at the top.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, Field, ValidationError

from ops.core.errors import BadParamsError, OperationError
from ops.core.model import OnnxModel, TorchModel
from ops.core.params import explain_errors, not_finite, params_model
from ops.core.registry import FAMILIES, Registry

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "OPERATIONS",
    "Ancestry",
    "BadParamsError",
    "Batch",
    "ChannelMultiple",
    "Context",
    "Data",
    "Exclude",
    "Format",
    "Fraction",
    "Include",
    "Kind",
    "ModelEntry",
    "ModelRef",
    "OnnxModel",
    "OpSpec",
    "OperationError",
    "Processor",
    "TorchModel",
    "Uses",
    "operation",
]

Fraction = Annotated[float, Field(ge=0, le=1)]

_MODEL_ENTRY, _MODEL_REF, _CHANNEL_MULTIPLE = "model entry", "model reference", "channel multiple"
ModelEntry = Annotated[dict[str, Any] | str | None, _MODEL_ENTRY]
"""An entry of conf/model: recipes give its name, the plan replaces it by its content; None means the recipe's `model`."""
ModelRef = Annotated[str, _MODEL_REF]
"""Another model of the recipe: `base` (the root of this branch), the name of an ancestor step, or the path of any step."""

ChannelMultiple = Annotated[int | None, Field(ge=1), _CHANNEL_MULTIPLE]
"""Channels that kernels take at a time. None: the plan writes the number that suits the recipe's targets in its place."""

Include = Annotated[Sequence[str], Field(description="layers to change: name globs, module types or groups")]
Exclude = Annotated[Sequence[str], Field(description="layers to leave alone: name globs, module types or groups")]


class Kind(StrEnum):
    """The purpose of an operation; the viewer groups and colours by it."""

    BASE = "base"
    PRUNE = "prune"
    QUANTIZE = "quantize"
    FACTORIZE = "factorize"
    CLUSTER = "cluster"
    CALIBRATE = "calibrate"
    FINETUNE = "finetune"
    RESTORE = "restore"


class Format(StrEnum):
    """The form of a model between operations."""

    TORCH = "torch"
    ONNX = "onnx"


class Uses(StrEnum):
    """A thing besides model and parameters that an operation reads: it enters the step's key, and all else is refused."""

    DATA = "data"
    """Instances of the training and calibration splits, and the data set's interface."""
    INTERFACE = "interface"
    """Of the data set only what a model is built to fit: its task, its classes in order, its inputs."""
    SEED = "seed"
    """Random numbers, the initial weights of a network or of a new head among them."""


@dataclass(frozen=True, slots=True)
class Processor:
    """The 8-bit products of a CPU, as far as they decide how a model is quantized for it."""

    activations: Literal["uint8", "int8"]
    """The type that its integer kernels take."""
    reduce_range: bool
    """Whether weights need 7 bits: without VNNI, x86 adds pairs of 8-bit products in 16 bits, which saturates."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Instances ready for a model: every array has one row per instance, in the order of `ids`.

    `inputs` are named as the model's forward arguments (`pixel_values` float32 NCHW; `input_ids`, `attention_mask` int64
    NL), `targets` as the task says (`labels` int64 (N,) for classification): see `ops.core.tasks`.
    """

    ids: tuple[str, ...]
    inputs: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.ids)


class Data(Protocol):
    """The part of a data set that operations may use. The evaluation split is out of their reach."""

    @property
    def fingerprint(self) -> str:
        """Changes with the content, the splits and the preprocessing."""
        ...

    @property
    def task(self) -> str:
        """The name of one in `ops.core.tasks`."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """Class names, in the order of the logits."""
        ...

    def size(self, split: Literal["train", "calibration"]) -> int:
        """Number of instances."""
        ...

    def batches(
        self,
        split: Literal["train", "calibration"],
        *,
        batch_size: int,
        samples: int | None = None,
        seed: int | None = None,
        augment: bool = False,
    ) -> Iterator[Batch]:
        """Yield `samples` instances (default: all of the split), in stored order, or shuffled by `seed`.

        Args:
            split: `train` or `calibration`.
            batch_size: instances per batch; the last may have fewer.
            samples: the number of instances; a smaller sample is part of a larger one.
            seed: of the shuffle and of what `augment` draws; None: stored order.
            augment: vary training inputs as the data set's settings say (shifts, crops, flips).
        """
        ...


class Context(Protocol):
    """Everything an operation may touch besides its model and parameters. The worker implements it.

    It hands out only what the operation declares with `uses`, since that is what the step's key holds.
    """

    scratch: Path
    """A folder of this step alone; it survives a killed run and goes when the step is done. For checkpoints."""

    @property
    def seed(self) -> int:
        """The step's seed. Only for operations that declare `Uses.SEED`."""
        ...

    @property
    def data(self) -> Data:
        """The recipe's data set. Only for operations that declare `Uses.DATA`."""
        ...

    def build(self, entry: Mapping[str, Any], *, pretrained: bool) -> TorchModel | OnnxModel:
        """Build a conf/model entry, with its pretrained weights or with weights initialised from the seed.

        Only for operations that declare `Uses.INTERFACE` or `Uses.DATA`; random weights (all, or those of a new head)
        take `Uses.SEED` too.
        """
        ...

    def load(self, reference: str) -> TorchModel:
        """Load the model that a `ModelRef` parameter names."""
        ...

    def note(self, name: str, value: Any) -> None:
        """Record something about the result (JSON-ready), e.g. the layers left alone and why."""
        ...

    def progress(self, done: float, total: float, text: str = "") -> None:
        """Tell the person how far this step is.

        Args:
            done: how much is done, in any unit.
            total: how much there is, in the same unit.
            text: a few words on what is being done.
        """
        ...


@dataclass(frozen=True, slots=True)
class Ancestry:
    """Facts about a step's input when the recipe is planned."""

    model: Mapping[str, Any]
    """The conf/model entry at the root."""
    task: str
    operations: tuple[tuple[str, Mapping[str, Any]], ...]
    """(name, checked parameters) of every operation from the root to the parent."""


Params = Mapping[str, Any]
Refusal = Callable[[Ancestry, Params], str | None]
Joint = Callable[[TorchModel, Params], list[tuple[str, ...]]]


class Requirement(StrEnum):
    """A thing that an operation cannot do without, so that a plan on data that lack it refuses the step."""

    INSTANCES = "instances"
    """Inputs as the model will see them: noise in their place would give worthless figures."""
    LABELS = "labels"
    """What is right of such instances."""


@dataclass(frozen=True, slots=True)
class OpSpec:
    """A registered operation."""

    name: str
    kind: Kind
    version: int
    consumes: Format | None
    """None: a root, an operation that takes no model."""
    produces: Format
    uses: frozenset[Uses]
    params: type[BaseModel]
    apply: Callable[..., Any]
    refuse: Refusal | None
    """Given what is known at plan time, the reason why this step cannot work and what would, or None."""
    draws: Callable[[Params], bool] | None = None
    """Whether these parameters make it draw random numbers; None: it does so whenever it uses the seed."""
    settle: Callable[[Params, Processor], Mapping[str, Any]] | None = None
    """The parameters that are left open and that the processor decides: they are written into the plan."""
    libraries: tuple[str, ...] = ()
    """Distributions whose releases give other results: their versions enter the step's key."""
    joint: Joint | None = None
    """Given a model and parameters, the layers that can only change together, group by group; None: each alone."""
    needs: Callable[[Params], Requirement | None] | None = None
    """What it cannot do without under some parameters; None: nothing."""

    def uses_with(self, params: Params) -> frozenset[Uses]:
        """Return what it reads under these parameters."""
        if self.draws is not None and not self.draws(params):
            return self.uses - {Uses.SEED}
        return self.uses

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the full, JSON-ready parameters, or say what is wrong with them.

        Raises:
            BadParamsError: naming each wrong parameter, the problem, and the nearest name or the allowed values.
        """
        try:
            params = self.params.model_validate(dict(values)).model_dump(mode="json")
        except ValidationError as error:
            raise BadParamsError(f"Operation '{self.name}': {explain_errors(error, self.params)}") from None
        odd = not_finite(params)
        if odd is not None:
            raise BadParamsError(f"Operation '{self.name}': {odd[0]}: must be a finite number (got {odd[1]})")
        return params

    def marked(self, mark: Literal["model entry", "model reference", "channel multiple"]) -> tuple[str, ...]:
        """Return the names of the parameters that are a ModelEntry, a ModelRef, or a ChannelMultiple."""
        return _marked(self.params, mark)


@cache
def _marked(params: type[BaseModel], mark: str) -> tuple[str, ...]:
    return tuple(name for name, field in params.model_fields.items() if _has_mark(field, mark))


def _has_mark(field: Any, mark: str) -> bool:
    if mark in field.metadata:
        return True
    return any(mark in getattr(part, "__metadata__", ()) for part in getattr(field.annotation, "__args__", ()))


OPERATIONS: Registry[OpSpec] = Registry("operation", *FAMILIES)

F = TypeVar("F", bound=Callable[..., Any])


def _on_plain_weights(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Let an operation that changes weights see plain ones, and masks under all names of a tensor; give masks so too."""

    @functools.wraps(fn)
    def apply(model: TorchModel, ctx: Context, **params: Any) -> Any:
        # by name: what a recipe is planned with knows this module, and not torch
        plain_weights = importlib.import_module("ops.core.network.parametrized").plain_weights
        spread_masks = importlib.import_module("ops.core.network.sharing").spread_masks
        plain, folded = plain_weights(model)
        if folded:
            ctx.note("plain_weights", folded)
        if plain.masks:
            plain = replace(plain, masks=spread_masks(plain.module, plain.masks))
        result = fn(plain, ctx, **params)
        if isinstance(result, TorchModel) and result.masks:
            result.masks = spread_masks(result.module, result.masks)
        return result

    return apply


def operation(
    *,
    kind: Kind,
    version: int,
    consumes: Format | None = Format.TORCH,
    produces: Format | None = None,
    uses: frozenset[Uses] | set[Uses] = frozenset(),
    refuse: Refusal | None = None,
    draws: Callable[[Params], bool] | None = None,
    settle: Callable[[Params, Processor], Mapping[str, Any]] | None = None,
    libraries: tuple[str, ...] = (),
    joint: Joint | None = None,
    needs: Callable[[Params], Requirement | None] | None = None,
) -> Callable[[F], F]:
    """Register a function as an operation and return it unchanged.

    The function takes `(model, ctx, *, ...)`, or `(ctx, *, ...)` when it consumes nothing. Raise `version` whenever its
    result changes: cached results of the old version are then left alone. (The code of a person's own operation is part
    of its steps' keys, so there `version` need not be raised.)

    Args:
        kind: what it is for.
        version: of its results.
        consumes: the format of the model that it takes; None: none.
        produces: the format of its result; None: the one that it takes.
        uses: what it reads besides model and parameters; the context refuses everything else.
        refuse: as `OpSpec.refuse`.
        draws: as `OpSpec.draws`.
        settle: as `OpSpec.settle`.
        libraries: as `OpSpec.libraries`.
        joint: as `OpSpec.joint`.
        needs: as `OpSpec.needs`.
    """

    def register(fn: F) -> F:
        spec = OpSpec(
            name=fn.__name__,
            kind=kind,
            version=version,
            consumes=consumes,
            produces=produces or consumes or Format.TORCH,
            uses=frozenset(uses),
            params=params_model(fn, skip=1 if consumes is None else 2),
            apply=_on_plain_weights(fn) if consumes is Format.TORCH and kind is not Kind.FINETUNE else fn,
            refuse=refuse,
            draws=draws,
            settle=settle,
            libraries=libraries,
            joint=joint,
            needs=needs,
        )
        OPERATIONS.add(spec.name, spec)
        return fn

    return register
