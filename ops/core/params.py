"""Parameters that a function's signature declares: how they are checked, and what is said of the wrong ones."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, create_model

from ops.core.registry import nearest
from ops.core.text import cut, show

DEFAULT = "default"
"""The key of a mapping that stands for the layers which no pattern reaches; without it they are left alone."""
FORMS = ONE, BY_LAYER = "one value", "by layer"
"""What pydantic calls the two forms in the paths of its errors."""


def _form(value: Any) -> str:
    return BY_LAYER if isinstance(value, Mapping) else ONE


T = TypeVar("T")
PerLayer = Annotated[
    Annotated[T, Tag(ONE)] | Annotated[dict[str, T], Field(min_length=1), Tag(BY_LAYER)], Discriminator(_form)
]
"""A parameter that takes one value, or a mapping from patterns to values."""


def per_layer_names(params: type[BaseModel]) -> tuple[str, ...]:
    """Return the names of the parameters that take a value for each layer too, in their order."""
    return tuple(name for name, field in params.model_fields.items() if _is_per_layer(field))


def _is_per_layer(part: Any) -> bool:
    """Whether a field, a form of its type or a part of one chooses between one value and a mapping."""
    facts = (*getattr(part, "metadata", ()), *getattr(part, "__metadata__", ()))
    if any(isinstance(fact, Discriminator) and fact.discriminator is _form for fact in facts):
        return True
    return any(_is_per_layer(each) for each in get_args(getattr(part, "annotation", part)))


def largest(value: T | Mapping[str, T]) -> Any:
    """Return the value, or the largest of a mapping."""
    return max(value.values()) if isinstance(value, Mapping) else value


def refuse_one_threshold(params: Mapping[str, Any]) -> str | None:
    """Say why a sparsity for each layer does not go with one threshold for all; None where that is not asked for."""
    if isinstance(params["sparsity"], Mapping) and params["scope"] == "global":
        return "a sparsity for each layer goes with 'scope: layer'; 'scope: global' has one threshold for all"
    return None


_MOST, _LONGEST = 5, 200
"""Problems of one set of parameters that are named, and characters of each part of a message."""


def params_model(fn: Callable[..., Any], *, skip: int) -> type[BaseModel]:
    """Return a pydantic model of the parameters of `fn` after the first `skip`.

    Raises:
        TypeError: if one of them is not keyword-only and annotated.
    """
    declared = list(inspect.signature(fn).parameters.values())[skip:]
    # not get_type_hints(fn): the skipped parameters and the result may name types that only the type checker imports
    annotations = {p.name: p.annotation for p in declared if p.annotation is not p.empty}
    namespace = inspect.unwrap(fn).__globals__
    hints = get_type_hints(SimpleNamespace(__annotations__=annotations), namespace, include_extras=True)
    fields: dict[str, Any] = {}
    for p in declared:
        if p.kind is not p.KEYWORD_ONLY or p.name not in hints:
            where = f"{fn.__module__}.{fn.__qualname__}"
            raise TypeError(f"{where}: parameter '{p.name}' must be keyword-only and annotated")
        fields[p.name] = (hints[p.name], ... if p.default is p.empty else p.default)
    # a parameter whose name in recipes is a Python keyword (`from`) has an alias
    config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), populate_by_name=True)
    return create_model(fn.__name__, __config__=config, **fields)


def argument_texts(docstring: str) -> dict[str, str]:
    """Return what the `Args` section of a docstring says of each parameter, in one line each."""
    match = re.search(r"\n\s*Args:\n(.*?)(?:\n\n|\Z)", docstring, flags=re.DOTALL)
    texts: dict[str, list[str]] = {}
    name = ""
    for line in match[1].splitlines() if match else ():
        entry = re.match(r" {4}(\w+): (.*)", line)
        if entry:
            name = entry[1].rstrip("_")
            texts[name] = [entry[2]]
        elif name:
            texts[name].append(line.strip())
    return {each: " ".join(lines) for each, lines in texts.items()}


def explain_errors(error: ValidationError, params: type[BaseModel]) -> str:
    """Say what is wrong with each parameter: the nearest name, or the allowed values."""
    problems = error.errors()
    more = f"; and {len(problems) - _MOST} more" if len(problems) > _MOST else ""
    return "; ".join(_explain(problem, params) for problem in problems[:_MOST]) + more


def _explain(problem: Mapping[str, Any], params: type[BaseModel]) -> str:
    where = cut(".".join(str(part) for part in problem["loc"] if part not in FORMS), _LONGEST) or "parameters"
    if problem["type"] == "extra_forbidden":
        present = _sibling_names(params, problem["loc"][:-1])
        hint = nearest(str(problem["loc"][-1]), present)
        return f"unknown parameter '{where}'.{hint} Known: {', '.join(present) or 'none'}"
    if problem["type"] == "missing":
        return f"'{where}' is required"
    if problem["type"] in ("sequence_str", "list_type", "tuple_type"):
        return f"{where}: expected a list, e.g. [a, b] (got {show(problem['input'])})"
    return f"{where}: {cut(problem['msg'], _LONGEST)} (got {show(problem['input'])})"


def _sibling_names(params: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """Names of the parameters beside the one at `path`."""
    for part in path:
        annotation = params.model_fields[str(part)].annotation
        choices = [choice for choice in (annotation, *get_args(annotation)) if hasattr(choice, "model_fields")]
        if not choices:
            return []
        params = choices[0]
    return [field.alias or name for name, field in params.model_fields.items()]


def not_finite(value: Any) -> tuple[str, float] | None:
    """The first such number in JSON-ready data, with its path (`schedule.0`); None if there is none."""
    if not _has_odd(value):
        return None
    remaining = [("", value)]
    while remaining:
        path, one = remaining.pop()
        if isinstance(one, float) and not math.isfinite(one):
            return path, one
        parts: list[tuple[Any, Any]] = []
        if isinstance(one, Mapping):
            parts = list(one.items())
        elif isinstance(one, list | tuple):
            parts = list(enumerate(one))
        remaining += [(f"{path}.{name}" if path else str(name), part) for name, part in reversed(parts)]
    return None


def _has_odd(value: Any) -> bool:
    """Whether there is such a number: paths are only worth writing where there is."""
    remaining = [value]  # not by recursion: a recipe may be a long chain
    while remaining:
        one = remaining.pop()
        if isinstance(one, float):
            if not math.isfinite(one):
                return True
        elif isinstance(one, Mapping):
            remaining.extend(one.values())
        elif isinstance(one, list | tuple):
            remaining.extend(one)
    return False
