"""The README's table of operations, made from the signatures and docstrings: what is documented is what runs."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping

from pydantic.fields import FieldInfo

from ops.core.operation import OPERATIONS, Format, OpSpec, Uses

_HEAD = "| operation | what it does | parameters (default) | when, and what it costs |\n|---|---|---|---|"


def operations_table() -> str:
    """Return the table in Markdown, roots first, then by kind and name."""
    specs = sorted((OPERATIONS[name] for name in OPERATIONS), key=lambda s: (s.consumes is not None, s.kind, s.name))
    return "\n".join([_HEAD, *(_row(spec) for spec in specs)])


def _row(spec: OpSpec) -> str:
    what, when = _paragraphs(spec)
    parameters = ", ".join(_parameter(name, field) for name, field in spec.params.model_fields.items())
    return f"| `{spec.name}` | {what} | {parameters} | {when} {_needs(spec)} |"


def _paragraphs(spec: OpSpec) -> tuple[str, str]:
    """The docstring's first sentence, and what stands between it and its sections."""
    text = inspect.getdoc(spec.apply) or ""
    body = re.split(r"\n\s*(?:Args|Raises|Returns|Yields):\n", text)[0]
    first, _, rest = body.partition("\n\n")
    return _cell(first), _cell(rest)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def _parameter(name: str, field: FieldInfo) -> str:
    shown = field.alias or name
    if field.is_required():
        return f"**`{shown}`**"
    default = field.get_default(call_default_factory=True)
    return f"`{shown}` ({json.dumps(_plain(default))})"


def _plain(value: object) -> object:
    if isinstance(value, Mapping | str | int | float | bool) or value is None:
        return value
    return list(value) if isinstance(value, list | tuple | set | frozenset) else str(value)


def _needs(spec: OpSpec) -> str:
    """What it reads besides the model, and what it makes of it."""
    data = "Uses data." if Uses.DATA in spec.uses else ""
    onnx = "Gives ONNX." if spec.produces is Format.ONNX else ""
    return " ".join(part for part in (data, onnx) if part)
