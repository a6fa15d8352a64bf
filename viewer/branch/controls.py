"""The controls of an operation's parameters, from its signature, and what is typed into them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import yaml  # type: ignore[import-untyped]

__all__ = ["Control", "controls_of", "typed_value"]

_MOST_NEAR = 4


class Control(NamedTuple):
    """One parameter."""

    name: str
    kind: Literal["choice", "flag", "list", "value"]
    text: str
    """The value that is set; empty: the default."""
    default: str
    """In words; empty: there is none, and a value is required."""
    choices: tuple[str, ...]
    about: str
    bounds: str
    is_near: bool
    """Whether it is shown with the first, not folded with those that are as by default."""


def controls_of(schema: Mapping[str, Any], params: Mapping[str, Any]) -> list[Control]:
    """Return a control for each parameter that is no mapping; those that must be set come first.

    Of many, those that nobody has to set or has set are far, but for the first few.

    Args:
        schema: of the operation.
        params: parameter -> value, as the step has it.
    """
    controls = list(_controls(schema, params))
    near = [at for at, each in enumerate(controls) if each.text or not each.default or at < _MOST_NEAR]
    return [each._replace(is_near=len(controls) <= 2 * _MOST_NEAR or at in near) for at, each in enumerate(controls)]


def _controls(schema: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[Control]:
    properties, required = schema["parameters"]["properties"], schema["parameters"]["required"]
    for name in sorted(properties, key=lambda name: name not in required):
        own = properties[name]
        form = _form(own)
        if any(each.get("additionalProperties") is True for each in _forms(own)):
            continue  # an entry of conf/
        yield Control(
            name=name,
            kind=_kind(form),
            text=_text(params[name]) if name in params else "",
            default="" if name in required else _text(own.get("default")) or "none",
            choices=tuple(_text(each) for each in form.get("enum", ())),
            about=str(own.get("description", "")),
            bounds=_bounds(form),
            is_near=True,
        )


def typed_value(schema: Mapping[str, Any], name: str, text: str) -> Any:
    """Return the value of a parameter that somebody typed or chose; a text where it is none of its type: the check says so.

    Args:
        schema: of the operation.
        name: the parameter.
        text: as typed; it is not empty.
    """
    own = schema["parameters"]["properties"][name]
    form = _form(own)
    if form.get("type") == "array":
        return [part.strip() for part in text.strip("[] ").split(",") if part.strip()]
    if form.get("type") == "string":
        return None if text == "null" else text
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text
    if isinstance(value, dict) and any(each.get("type") == "object" for each in _forms(own)):
        return value  # a strength by layer
    return value if isinstance(value, int | float | bool | None) else text


def _form(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The form of a value that a line holds, where null or a mapping is another."""
    forms = [form for form in _forms(schema) if form.get("type") != "null"]
    return min(forms or [schema], key=lambda form: form.get("type") == "object")


def _forms(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every form that a value may have."""
    others = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if not others:
        yield schema
    for other in others:
        yield from _forms(other)


def _kind(form: Mapping[str, Any]) -> Literal["choice", "flag", "list", "value"]:
    if "enum" in form:
        return "choice"
    if form.get("type") == "boolean":
        return "flag"
    return "list" if form.get("type") == "array" else "value"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return str(yaml.safe_dump(dict(value), default_flow_style=True, width=10_000, sort_keys=False)).strip()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _bounds(form: Mapping[str, Any]) -> str:
    """The range of a number in words."""
    words = [
        (f"at least {form['minimum']:g}" if "minimum" in form else ""),
        (f"above {form['exclusiveMinimum']:g}" if "exclusiveMinimum" in form else ""),
        (f"at most {form['maximum']:g}" if "maximum" in form else ""),
        (f"below {form['exclusiveMaximum']:g}" if "exclusiveMaximum" in form else ""),
    ]
    return ", ".join(word for word in words if word)
