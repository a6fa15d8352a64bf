"""What an operation is: a keyword-only function from one model to another.

A newcomer adds one file to `ops/`:

    @operation(kind=Kind.PRUNE, version=1)
    def magnitude_prune(model: TorchModel, ctx: Context, *, sparsity: Fraction) -> TorchModel:
        '''Zero the weights of smallest magnitude.'''

The signature is the only declaration of the parameters: recipes are checked against it, and the documentation is made
from it. Operation modules are imported when a recipe is planned, so they import torch, onnx and the like inside the
function, never at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, Field, ValidationError

from ops.core.errors import BadParamsError, OperationError
from ops.core.model import OnnxModel, TorchModel
from ops.core.params import explain, not_finite, params_model
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
    "TorchModel",
    "Uses",
    "operation",
]  # fmt: skip

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
    """What an operation is for; the viewer groups and colours by it."""

    BASE = "base"
    PRUNE = "prune"
    QUANTIZE = "quantize"
    FACTORIZE = "factorize"
    CLUSTER = "cluster"
    CALIBRATE = "calibrate"
    FINETUNE = "finetune"
    RESTORE = "restore"


class Format(StrEnum):
    """How a model is stored between operations."""

    TORCH = "torch"
    ONNX = "onnx"


class Uses(StrEnum):
    """What an operation's result depends on besides model and parameters; it then enters the step's key."""

    DATA = "data"
    SEED = "seed"


@dataclass(frozen=True, slots=True)
class Batch:
    """Instances ready for a model: every array has one row per instance, in the order of `ids`.

    `inputs` are named as the model's forward arguments (`pixel_values` float32 NCHW; `input_ids`, `attention_mask` int64
    NL; `decoder_input_ids` where answers are written). `targets` are named by task: `labels` int64 (N,) for
    classification, `start_positions` and `end_positions` int64 (N,) for question answering, `answer_tokens` int64 (N, T)
    for generative question answering, -100 after the end.
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
        """`image-classification`, `text-classification`, `question-answering` or `generative-question-answering`."""
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
        """Yield `samples` instances (default: all of the split), in stored order, or shuffled by `seed`."""
        ...


class Context(Protocol):
    """Everything an operation may touch besides its model and parameters. The worker implements it."""

    seed: int
    scratch: Path
    """A folder of this step alone; it survives a killed run and goes when the step is done. For checkpoints."""

    @property
    def data(self) -> Data:
        """The recipe's data set. Only for operations that declare `Uses.DATA`."""
        ...

    def build(self, entry: Mapping[str, Any], *, pretrained: bool) -> TorchModel | OnnxModel:
        """Build a conf/model entry, with its pretrained weights or with weights initialised from the seed."""
        ...

    def load(self, reference: str) -> TorchModel:
        """Load the model that a `ModelRef` parameter names."""
        ...

    def note(self, name: str, value: Any) -> None:
        """Record something about the result (JSON-ready), e.g. the layers left alone and why."""
        ...

    def progress(self, done: float, total: float, text: str = "") -> None:
        """Tell the person how far this step is."""
        ...


@dataclass(frozen=True, slots=True)
class Ancestry:
    """What is known of a step's input when the recipe is planned."""

    model: Mapping[str, Any]
    """The conf/model entry at the root."""
    task: str
    operations: tuple[tuple[str, Mapping[str, Any]], ...]
    """(name, checked parameters) of every operation from the root to the parent."""


Refusal = Callable[[Ancestry, Mapping[str, Any]], str | None]


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

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the full, JSON-ready parameters, or say what is wrong with them.

        Raises:
            BadParamsError: naming each wrong parameter, the problem, and the nearest name or the allowed values.
        """
        try:
            params = self.params.model_validate(dict(given)).model_dump(mode="json")
        except ValidationError as error:
            raise BadParamsError(f"Operation '{self.name}': {explain(error, self.params)}") from None
        odd = not_finite(params)
        if odd is not None:
            raise BadParamsError(f"Operation '{self.name}': {odd[0]}: must be a finite number (got {odd[1]})")
        return params

    def marked(self, mark: Literal["model entry", "model reference", "channel multiple"]) -> tuple[str, ...]:
        """Return the names of the parameters that are a ModelEntry, a ModelRef, or a ChannelMultiple."""
        return tuple(name for name, field in self.params.model_fields.items() if _has_mark(field, mark))


def _has_mark(field: Any, mark: str) -> bool:
    if mark in field.metadata:
        return True
    return any(mark in getattr(part, "__metadata__", ()) for part in getattr(field.annotation, "__args__", ()))


OPERATIONS: Registry[OpSpec] = Registry("operation", *FAMILIES)

F = TypeVar("F", bound=Callable[..., Any])


def operation(
    *,
    kind: Kind,
    version: int,
    consumes: Format | None = Format.TORCH,
    produces: Format | None = None,
    uses: frozenset[Uses] | set[Uses] = frozenset(),
    refuse: Refusal | None = None,
) -> Callable[[F], F]:
    """Register a function as an operation and return it unchanged.

    The function takes `(model, ctx, *, ...)`, or `(ctx, *, ...)` when it consumes nothing. Raise `version` whenever its
    result changes: cached results of the old version are then left alone.
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
            apply=fn,
            refuse=refuse,
        )
        OPERATIONS.add(spec.name, spec)
        return fn

    return register
