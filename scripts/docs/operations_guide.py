"""The guide's list of operations, made from their signatures and docstrings: what is documented is what runs."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

from ops.core.operation import OPERATIONS, Format, OpSpec, Uses
from ops.core.params import argument_texts

_SECTION = re.compile(r"\n\s*(?:Args|Raises|Returns|Yields):\n")
_HEAD = "| parameter | allowed | default | |\n|---|---|---|---|"


def operations_guide() -> str:
    """Return a table of contents and a section per operation in Markdown, roots first, then by kind and name."""
    specs = sorted((OPERATIONS[name] for name in OPERATIONS), key=lambda s: (s.consumes is not None, s.kind, s.name))
    contents = "\n".join(f"| [`{spec.name}`](#{spec.name}) | {_summary(spec)} | {_traits(spec)} |" for spec in specs)
    return "\n\n".join(["| operation | | |\n|---|---|---|\n" + contents, *(_section(spec) for spec in specs)])


def _section(spec: OpSpec) -> str:
    text = inspect.getdoc(spec.apply) or ""
    _, _, rest = _SECTION.split(text)[0].partition("\n\n")
    meanings = argument_texts(text)
    properties = spec.params.model_json_schema(by_alias=True)["properties"]
    required = spec.params.model_json_schema(by_alias=True).get("required", [])
    fields = {field.alias or name: name for name, field in spec.params.model_fields.items()}  # `from` is a keyword
    rows = [
        f"| `{name}` | {_cell(allowed(schema))} | {_default(name, schema, required)} | {_cell(meanings.get(fields[name], ''))} |"
        for name, schema in properties.items()
    ]
    source = re.search(r"\n\n([A-Z][^\n]*\b(?:19|20)\d\d\.)\s*$", text)
    parts = [
        f"### {spec.name}",
        _summary(spec),
        _line(rest),
        "\n".join([_HEAD, *rows]) if rows else "",
        f"Source: {source[1]}" if source else "",
    ]
    return "\n\n".join(part for part in parts if part)


def allowed(schema: Mapping[str, Any]) -> str:
    """Return the values that a parameter takes, from its JSON schema: `0 to 1`, `"global", "layer"`, `integer, at least 1`."""
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return ", or ".join(allowed(choice) for choice in choices)
    if isinstance(schema.get("additionalProperties"), Mapping):
        return "such a value by layer"
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if kind in ("number", "integer"):
        return _range(schema, kind)
    if kind == "array":
        return f"a list: {allowed(schema.get('items', {}))}"
    return {"null": "`null`", "boolean": "`true`, `false`", "string": "text", "object": "a mapping"}.get(str(kind), "")


def _range(schema: Mapping[str, Any], kind: str) -> str:
    words = [
        text.format(schema[key])
        for key, text in (
            ("exclusiveMinimum", "above {}"),
            ("minimum", "at least {}"),
            ("exclusiveMaximum", "below {}"),
            ("maximum", "at most {}"),
        )
        if key in schema
    ]
    if {"minimum", "maximum"} <= schema.keys():
        words = [f"{schema['minimum']} to {schema['maximum']}"]
    return ", ".join([kind, *words])


def _default(name: str, schema: Mapping[str, Any], required: list[str]) -> str:
    return "**required**" if name in required else f"`{json.dumps(schema.get('default'))}`"


def _summary(spec: OpSpec) -> str:
    return _cell((inspect.getdoc(spec.apply) or "").partition("\n\n")[0])


def _traits(spec: OpSpec) -> str:
    """What it takes, what it gives, and whether it reads data."""
    takes = {None: "a root", Format.TORCH: "takes torch", Format.ONNX: "takes ONNX"}[spec.consumes]
    gives = "gives ONNX" if spec.produces is Format.ONNX else ""
    data = "reads data" if Uses.DATA in spec.uses else ""
    return ", ".join(part for part in (takes, gives, data) if part)


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")
