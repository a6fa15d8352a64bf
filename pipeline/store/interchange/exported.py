"""A recipe of a store as the content of a models.json."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ops.core.registry import nearest
from pipeline.store.documents import json_mapping, json_value
from pipeline.store.errors import ForeignFileError
from pipeline.store.interchange.d3 import to_d3
from pipeline.store.interchange.errors import InterchangeError

if TYPE_CHECKING:
    from pipeline.store.reader import Connection

_IMPORT = """
SELECT run_id FROM runs
WHERE recipe = $recipe AND config ->> 'import' = $format AND NOT EXISTS (
    FROM models WHERE list_contains(recipes, $recipe)
        AND model_key NOT IN (SELECT model_key FROM import_detail d WHERE d.run_id = runs.run_id AND part = 'models')
)
ORDER BY started_at DESC LIMIT 1
"""
_MODELS = """
SELECT model_key, name, parent_key, op, params, title FROM models WHERE list_contains(recipes, ?) ORDER BY depth, name
"""
_METRICS = "SELECT metric, unit, format, is_primary FROM metrics ORDER BY is_primary DESC, metric"
_MEASUREMENTS = """
SELECT model_key, metric, target, device, dataset, value FROM measurements
WHERE model_key IN (SELECT unnest(?::VARCHAR[])) ORDER BY ALL
"""


def document(db: Connection, file_format: str, recipe: str | None) -> dict[str, Any]:
    """Return the content of the file: an import as it was, anything else from the views.

    A recipe of the import's name may have made models too, and so may another file: all of them are written then.

    Args:
        db: an open results file.
        file_format: that of the import that may be written as it was.
        recipe: whose models; None: the only one there is.

    Raises:
        InterchangeError: there are no models, no recipe of that name, or several and none was named.
    """
    name = recipe_of(db, recipe)
    run = db.execute(_IMPORT, {"recipe": name, "format": file_format}).fetchall()
    return _verbatim(db, run[0][0]) if run else _document(db, name)


def recipe_of(db: Connection, name: str | None) -> str:
    """Return the recipe whose models are to be written.

    Raises:
        InterchangeError: there are no models, no recipe of that name, or several and none was named.
    """
    names = [name for (name,) in db.execute("SELECT DISTINCT unnest(recipes) FROM models ORDER BY ALL").fetchall()]
    if not names:
        raise InterchangeError("The results hold no models yet: nothing to export.")
    if name is None and len(names) > 1:
        raise InterchangeError(
            f"The results hold {len(names)} recipes; say which with --recipe NAME: {', '.join(names)}"
        )
    if name is not None and name not in names:
        raise InterchangeError(f"The results hold no recipe '{name}'.{nearest(name, names)} Known: {', '.join(names)}")
    return name or names[0]


def _verbatim(db: Connection, run_id: str) -> dict[str, Any]:
    query = "SELECT part, content FROM import_detail WHERE run_id = ? ORDER BY part, position"
    parts: dict[str, list[Any]] = defaultdict(list)
    for part, content in db.execute(query, [run_id]).fetchall():
        parts[part].append(json_value(content))
    frame = parts.pop("file", [None])[0]
    if not isinstance(frame, dict):
        raise ForeignFileError("The results hold parts of an imported file without the whole. Name another file.")
    return {name: parts[name] if name in ("operations", "metrics", "models") else frame[name] for name in frame}


def _document(db: Connection, recipe: str) -> dict[str, Any]:
    rows = db.execute(_MODELS, [recipe]).fetchall()
    ids = _ids({key: name for key, name, *_ in rows})
    values = _values(db, list(ids))
    used = {name for measured in values.values() for name in measured}
    models = [
        {
            "id": ids[key],
            "base": ids.get(parent),
            "operation": {"name": op, "parameters": json_mapping(params)},
            "tag": title,
            "metrics": values.get(key, {}),
        }
        for key, _, parent, op, params, title in rows
    ]
    metrics = [
        {"name": name, "primary": primary, "format": to_d3(python), "unit": unit, "min": None, "max": None}
        for metric, unit, python, primary in db.execute(_METRICS).fetchall()
        for name in sorted(used)
        if name == metric or name.startswith(f"{metric} [")
    ]
    return {"operations": _operations(models), "metrics": metrics, "models": models}


def _ids(names: Mapping[str, str]) -> dict[str, str]:
    """Model -> its id: its name, and a piece of its key where runs with different settings made several of the name."""
    count = Counter(names.values())
    return {key: name if count[name] == 1 else f"{name} #{key[:8]}" for key, name in names.items()}


def _values(db: Connection, keys: list[str]) -> dict[str, dict[str, float | None]]:
    """Model -> metric -> value. Where a metric was measured in several places, its name says where: `p50 [openvino]`."""
    rows = db.execute(_MEASUREMENTS, [keys]).fetchall()
    places: dict[str, set[tuple[str | None, ...]]] = defaultdict(set)
    for _, metric, *place, _ in rows:
        places[metric].add(tuple(place))
    values: dict[str, dict[str, float | None]] = defaultdict(dict)
    for key, metric, *place, value in rows:
        name = metric if len(places[metric]) == 1 else f"{metric} [{', '.join(filter(None, place))}]"
        values[key][name] = value if math.isfinite(value) else None
    return values


def _operations(models: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Declare what is used: numbers by their range, everything else by its values."""
    used: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for model in models:
        parameters = used[model["operation"]["name"]]
        for name, value in model["operation"]["parameters"].items():
            parameters[name].append(value)
    return [
        {"name": op, "parameters": {name: _declaration(values) for name, values in parameters.items()}}
        for op, parameters in sorted(used.items())
    ]


def _declaration(values: list[Any]) -> dict[str, Any]:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(values):
        return {"type": "continuous", "min": min(numbers), "max": max(numbers)}
    options = {json.dumps(value, sort_keys=True): value for value in values}
    return {"type": "nominal", "options": [options[text] for text in sorted(options)]}
