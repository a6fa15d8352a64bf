"""JSON Schema of recipes, for editors and other programs: what they may hold, with every operation's parameters.

A schema says what a recipe looks like. That its names exist, that references lead somewhere and that steps fit each other is
checked by the planner.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from ops.core.operation import OPERATIONS, OpSpec, Uses
from ops.core.params import argument_texts
from pipeline.plan.allocation import COSTS, DAMAGES, SAMPLES
from pipeline.plan.recipe import ALLOCATE, MOST_SEED
from pipeline.plan.steps import SEED

__all__ = ["operation_schemas", "recipe_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = {"type": "string", "pattern": r"\$\{"}
"""A reference to another value, which is put in its place before the recipe is checked."""
_NAME = {"type": "string", "minLength": 1}
_BOUND = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "minLength": 1}]}
_ALLOCATION = {
    "type": "object",
    "description": "In the place of `op`: choose one candidate for each layer, of the least damage under budgets.",
    "additionalProperties": False,
    "required": ["candidates", "budget"],
    "properties": {
        "candidates": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": ["object", "null"]},
            "description": "Operation -> parameters; a list makes a candidate of each value.",
        },
        "budget": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": False,
            "properties": {cost: _BOUND["anyOf"][1] if unit == "s" else _BOUND for cost, unit in COSTS.items()},
            "description": "Cost -> the most of it: a share of the parent's, or an amount such as 150 kB.",
        },
        "damage": {"enum": list(DAMAGES), "default": DAMAGES[0]},
        "exclude": {"type": "array", "items": _NAME, "description": "Layers that stay: names or globs."},
        "limits": {
            "type": "object",
            "additionalProperties": {"type": "number", "minimum": 0},
            "description": "Name or glob -> the most damage of such a layer.",
        },
        "samples": {"type": "integer", "minimum": 1, "default": SAMPLES, "description": "Calibration instances."},
        "exact": {"type": ["integer", "null"], "minimum": 1, "description": "Layers of a candidate that are measured."},
    },
}
_SEED = {
    "type": "integer",
    "minimum": 0,
    "maximum": MOST_SEED,
    "description": "in the place of the recipe's, of the random numbers that the step draws.",
}
_OPEN: tuple[dict[str, Any], ...] = (
    {
        "type": "object",
        "description": "Values that `search` tries.",
        "properties": {
            "from": {"type": "number"},
            "to": {"type": "number"},
            "log": {"type": "boolean"},
            "step": {"type": "number", "exclusiveMinimum": 0},
        },
        "required": ["from", "to"],
        "additionalProperties": False,
    },
    {
        "type": "object",
        "properties": {"any": {"type": "array", "minItems": 1}},
        "required": ["any"],
        "additionalProperties": False,
    },
)
"""What a recipe may leave open for `search` (`pipeline.plan.search_words`)."""


def recipe_schema(names: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    """Return the schema of a recipe.

    Args:
        names: `model`, `dataset` and `target` -> the entries that recipes may name. Without them any name is taken.
    """
    choice = {group: _choice(names.get(group)) if names else _NAME for group in ("model", "dataset", "target")}
    operations = {name: _parameters(OPERATIONS[name]) for name in OPERATIONS}
    return {
        "$schema": _DIALECT,
        "title": "Bouillon recipe",
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "tree"],
        "properties": {
            "name": {**_NAME, "description": "The name in results and on the page."},
            "description": {"type": "string"},
            "model": {**_or_reference(choice["model"]), "description": "An entry of conf/model."},
            "dataset": {**_or_reference(choice["dataset"]), "description": "An entry of conf/dataset."},
            "targets": {
                "type": "array",
                "minItems": 1,
                "items": choice["target"],
                "default": ["onnxruntime"],
                "description": "Runtimes: entries of conf/target.",
            },
            "seed": _or_reference({"type": "integer", "minimum": 0, "maximum": MOST_SEED, "default": 0}),
            "evaluate": {
                "type": ["object", "array"],
                "description": "Evaluation sets beside the data set's own: NAME: {corruption, severity}, {slice} or {dataset, ...}; or a "
                "list of corruptions with their severity, gaussian_blur-3.",
            },
            "defaults": {
                "type": "array",
                "description": "Files of conf/ that the recipe builds on, composed by Hydra.",
            },
            "tree": {"$ref": "#/$defs/steps", "minProperties": 1},
        },
        "$defs": {
            "steps": {
                "type": "object",
                "propertyNames": {"pattern": r"^[^/\[\]]+$"},
                "additionalProperties": {"$ref": "#/$defs/step"},
            },
            "step": _step(operations),
            **{f"with_{name}": schema for name, schema in operations.items()},
        },
    }


def operation_schemas() -> dict[str, Any]:
    """Return what each operation is and takes: name -> summary, kind, what it consumes and produces, parameters."""
    return {
        name: {
            "summary": (inspect.getdoc(spec.apply) or "").partition("\n")[0],
            "kind": spec.kind.value,
            "consumes": spec.consumes and spec.consumes.value,
            "produces": spec.produces.value,
            "parameters": _described(spec),
        }
        for name, spec in ((name, OPERATIONS[name]) for name in OPERATIONS)
    }


def _step(operations: Mapping[str, Any]) -> dict[str, Any]:
    """A step; which parameters it takes depends on its operation."""
    return {
        "type": "object",
        "additionalProperties": False,
        "oneOf": [{"required": ["op"]}, {"required": [ALLOCATE]}],
        "properties": {
            ALLOCATE: _ALLOCATION,
            "op": {"anyOf": [{"enum": list(operations)}, _NAME], "description": "An operation; plug-ins have more."},
            "with": {"type": "object", "description": "Parameters; {each: [...]} makes a branch per value."},
            "then": {"$ref": "#/$defs/steps", "description": "Steps that take what this one makes."},
            "ablate": {
                "enum": [True, False, "all"],
                "description": "Run the chain without each step, or all its parts.",
            },
            "permute": {
                "anyOf": [{"type": "boolean"}, {"type": "array", "minItems": 2, "items": _NAME}],
                "description": "Run the chain in all orders, or those of the named steps.",
            },
            "optional": {"type": "boolean", "description": "A search may leave the step out."},
        },
        "allOf": [
            {
                "if": {"properties": {"op": {"const": name}}, "required": ["op"]},
                "then": {
                    "properties": {"with": {"$ref": f"#/$defs/with_{name}"}},
                    **({"required": ["with"]} if schema["required"] else {}),
                },
            }
            for name, schema in operations.items()
        ],
    }


def _parameters(spec: OpSpec) -> dict[str, Any]:
    """The parameters as recipes write them: any may be a reference, or `{each: [...]}`."""
    own = _described(spec)
    properties = {}
    extra = {SEED: _SEED} if Uses.SEED in spec.uses and SEED not in own["properties"] else {}
    for name, schema in {**own["properties"], **extra}.items():
        words = {word: schema[word] for word in ("description", "default") if word in schema}
        value = _or_reference({word: part for word, part in schema.items() if word not in words})
        values = {"type": "array", "minItems": 1, "items": value}
        each = {
            "type": "object",
            "properties": {"each": _or_reference(values)},
            "required": ["each"],
            "additionalProperties": False,
        }
        properties[name] = {**words, "anyOf": [*value["anyOf"], each, *_OPEN]}
    return {**own, "properties": properties}


def _described(spec: OpSpec) -> dict[str, Any]:
    """The parameters' own schema, with what the docstring says of each; a definition of pydantic's is written in its place."""
    schema = spec.params.model_json_schema(by_alias=True)
    texts = argument_texts(inspect.getdoc(spec.apply) or "")
    fields = {field.alias or name: name for name, field in spec.params.model_fields.items()}  # `from` is a keyword
    definitions = schema.get("$defs", {})
    properties = {}
    for name, own in schema.get("properties", {}).items():
        text = texts.get(fields[name])
        properties[name] = {**_inlined(own, definitions), **({"description": text} if text else {})}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": schema.get("required", []),
    }


def _inlined(value: Any, definitions: Mapping[str, Any]) -> Any:
    """Put definitions in the place of references to them, and leave titles out, which only repeat names."""
    if isinstance(value, list):
        return [_inlined(one, definitions) for one in value]
    if not isinstance(value, Mapping):
        return value
    if "$ref" in value:
        return _inlined(definitions[str(value["$ref"]).rpartition("/")[2]], definitions)
    return {word: _inlined(part, definitions) for word, part in value.items() if word != "title"}


def _or_reference(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [dict(schema), _REFERENCE]}


def _choice(names: Sequence[str] | None) -> dict[str, Any]:
    return {"enum": list(names)} if names else _NAME
