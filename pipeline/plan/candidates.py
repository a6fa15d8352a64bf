"""Candidates: what may be done to a layer. Plain data out of a recipe or the command line, checked as steps are.

    palettize: {bits: [2, 4, 8]}
    magnitude_prune: {sparsity: [0.5, 0.8], scope: layer}
    quantize: {method: static}

A list makes a candidate of each value, several lists one of each combination. A candidate is an ordinary call of its operation: for one
layer its strength is a mapping with that layer alone, or `include` names it where the operation has no strength by layer.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.core.errors import BadParamsError
from ops.core.operation import OPERATIONS, Ancestry, Format, Kind, OpSpec
from ops.core.params import per_layer_names
from ops.core.registry import UnknownNameError, nearest
from ops.core.text import show
from pipeline.core.keys import Key
from pipeline.plan.steps import Facts

__all__ = ["DEFAULT_CANDIDATES", "LayerCandidate", "SensitivityRequest", "read_candidates"]

DEFAULT_CANDIDATES: Mapping[str, Mapping[str, Any]] = {
    "magnitude_prune": {"sparsity": [0.5, 0.7, 0.9], "scope": "layer"},
    "palettize": {"bits": [2, 3, 4, 6, 8]},
    "factorize": {"energy": [0.9]},
}
"""What is tried where nothing is said: operations on networks that need no training and change one layer at a time."""
_KINDS = (Kind.PRUNE, Kind.QUANTIZE, Kind.FACTORIZE, Kind.CLUSTER)
_NAMES = ("include", "exclude")
_MOST = 64


@dataclass(frozen=True, slots=True)
class LayerCandidate:
    """An operation at one strength."""

    op: str
    label: str
    """What tells it from the others: `palettize bits=4`."""
    params: Mapping[str, Any]
    """In full, for all layers."""
    strengths: tuple[str, ...]
    """Parameters that take a value for each layer; none: `include` names the layers."""

    @property
    def spec(self) -> OpSpec:
        """The operation."""
        return OPERATIONS[self.op]

    @property
    def on_network(self) -> bool:
        """Whether it takes a torch network, and not an ONNX file."""
        return self.spec.consumes is Format.TORCH

    def params_for(self, layers: Collection[str]) -> dict[str, Any]:
        """Return the parameters with which these layers alone change."""
        if not self.strengths:
            return {**self.params, "include": sorted(layers)}
        return {**self.params, **{name: dict.fromkeys(layers, self.params[name]) for name in self.strengths}}


@dataclass(frozen=True, slots=True)
class SensitivityRequest:
    """A model whose layers are measured."""

    model: Key
    candidates: tuple[LayerCandidate, ...]
    samples: int
    """Calibration instances."""
    exact: int | None = None
    """So many layers of each candidate are run, those of the largest score; None: all of a small network."""
    targets: tuple[str, ...] = ()
    """Runtimes on which layers are timed."""


def read_candidates(
    raw: Any, facts: Facts, *, where: str, parent: Format, ancestry: Ancestry | None
) -> tuple[LayerCandidate, ...]:
    """Check candidates and complete their parameters.

    Args:
        raw: operation -> parameters, lists of values among them.
        facts: what the plan knows of processors and targets.
        where: what messages begin with.
        parent: form of the model that they are for.
        ancestry: of that model, so that operations can say what does not go with it; None: not known yet.

    Raises:
        BadParamsError: naming the place, the problem and the nearest fix.
    """
    if not isinstance(raw, Mapping) or not raw:
        raise BadParamsError(
            f"{where}: expected operations with their parameters, e.g. {{palettize: {{bits: [2, 4]}}}} (got {show(raw)})"
        )
    candidates = [one for op, values in raw.items() for one in _of_operation(str(op), values, facts, where, ancestry)]
    if len(candidates) > _MOST:
        raise BadParamsError(f"{where}: these are {len(candidates)} candidates for each layer; {_MOST} are the most")
    unfit = [one.op for one in candidates if one.on_network and parent is Format.ONNX]
    if unfit:
        raise BadParamsError(
            f"{where}: '{unfit[0]}' takes a torch network, and the model is an ONNX file; name `quantize`"
        )
    doubles = [one.label for one in candidates if sum(other.label == one.label for other in candidates) > 1]
    if doubles:
        raise BadParamsError(f"{where}: '{doubles[0]}' is there twice; leave one of them out")
    # networks are edited before they become files
    return tuple(sorted(candidates, key=lambda one: not one.on_network))


def _of_operation(
    op: str, values: Any, facts: Facts, where: str, ancestry: Ancestry | None
) -> Iterator[LayerCandidate]:
    spec = _operation(op, where)
    if not isinstance(values or {}, Mapping):
        raise BadParamsError(f"{where}: {op}: expected parameters, e.g. {{bits: [2, 4]}} (got {show(values)})")
    written = {str(name): value for name, value in (values or {}).items()}
    lists = {name: value for name, value in written.items() if _is_list(value) and name not in _NAMES}
    if any(not value for value in lists.values()):
        raise BadParamsError(f"{where}: {op}: a list of strengths is empty")
    for combination in itertools.product(*lists.values()):
        own = {**written, **dict(zip(lists, combination, strict=True))}
        # in the order of the signature, however they are written
        order = [*spec.params.model_fields, *own]
        words = {name: own[name] for name in order if name in own and name not in _NAMES}
        label = " ".join([op, *(f"{name}={_word(value)}" for name, value in words.items())])
        lineage = ancestry or Ancestry({}, facts.task, ())
        yield _candidate(spec, own, label, facts, where=f"{where}: {label}", ancestry=lineage)


def _operation(op: str, where: str) -> OpSpec:
    able = sorted(name for name in OPERATIONS if OPERATIONS[name].kind in _KINDS)
    try:
        spec = OPERATIONS[op]
    except UnknownNameError:
        raise BadParamsError(
            f"{where}: no operation is called '{op}'.{nearest(op, able)} Candidates: {', '.join(able)}"
        ) from None
    if op not in able:
        raise BadParamsError(
            f"{where}: '{op}' is no candidate, since it makes no layer cheaper. Candidates: {', '.join(able)}"
        )
    if spec.marked("model entry") or spec.marked("model reference"):
        raise BadParamsError(f"{where}: '{op}' needs other models, which a candidate has none of")
    return spec


def _candidate(
    spec: OpSpec, own: Mapping[str, Any], label: str, facts: Facts, *, where: str, ancestry: Ancestry
) -> LayerCandidate:
    multiples = {name: facts.channel_multiple for name in spec.marked("channel multiple") if own.get(name) is None}
    able = per_layer_names(spec.params)
    mapped = [name for name in able if isinstance(own.get(name), Mapping)]
    if mapped:
        raise BadParamsError(f"{where}: {mapped[0]}: a candidate is for one layer; give its value alone")
    try:
        params = spec.check({**own, **multiples})
        params |= dict(spec.settle(params, facts.processor)) if spec.settle else {}
        strengths = tuple(name for name in able if own.get(name) is not None)
        strengths = strengths or tuple(name for name in able if params[name] is not None)[:1]
        none = [name for name in strengths if not params[name]]
        if none:
            raise BadParamsError(f"{none[0]}: 0 leaves a layer alone, which needs no candidate")
        candidate = LayerCandidate(spec.name, label, params, strengths)
        alone = spec.check({**params, **{name: {"default": params[name]} for name in strengths}})
    except BadParamsError as error:
        raise BadParamsError(f"{where}: {error}") from None
    for each in (params, alone):
        if spec.refuse and (reason := spec.refuse(ancestry, each)):
            raise BadParamsError(f"{where}: {reason}")
    if not strengths and "include" not in spec.params.model_fields:
        raise BadParamsError(f"{where}: the operation cannot be told which layers to change")
    return candidate


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
