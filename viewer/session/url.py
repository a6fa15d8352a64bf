"""The state of a view as the query of a URL, and back. Pure: text in, values out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import param

from viewer.results.budget import Range
from viewer.results.names import unique_length
from viewer.session.state import ViewState

__all__ = ["Keys", "clip", "name_page", "read_link", "write_link"]

_UNNAMED_PAGE = "overview"
"""The page of an address that says something, but names no page."""
_BUNDLE = "bundle-"


class Keys:
    """Model keys as short prefixes that are unique among the models at hand."""

    def __init__(self, keys: Collection[str]) -> None:
        self._length = unique_length(keys)
        self._full = {key[: self._length]: key for key in keys}

    def short(self, key: str) -> str:
        """Return the prefix that stands for a key."""
        return key[: self._length]

    def full(self, text: str) -> str | None:
        """Return the one key that starts with `text`, or None. Links made when there were fewer models stay valid."""
        if text[: self._length] in self._full and self._full[text[: self._length]].startswith(text):
            return self._full[text[: self._length]]
        matches = [key for key in self._full.values() if text and key.startswith(text)]
        return matches[0] if len(matches) == 1 else None


def write_link(state: ViewState, keys: Keys, without: Collection[str] = ()) -> str:
    """Return the query that reproduces the state; what is as it was at the start is left out, and so are fields of no matter.

    Args:
        state: of a visitor.
        keys: of the models at hand.
        without: fields that are left out in any case.
    """
    pairs: list[tuple[str, str]] = []
    for name in state.fields():
        value = state.value(name)
        if name not in without and value != state.parameter(name).default:
            pairs.extend((name, text) for text in _WRITERS.get(name, _plain)(value, keys))
    page = ("page", state.page)
    others = [pair for pair in pairs if pair[0] != "page"]
    if others:
        pairs = others if state.page == _UNNAMED_PAGE else [page, *others]
    return urlencode(pairs, quote_via=quote, safe=":,.[]~")


def read_link(query: str, keys: Keys) -> tuple[dict[str, Any], list[str]]:
    """Return the fields that a query sets, and a sentence for each part of it that makes no sense.

    A part without sense changes nothing. Keys of models that are not there are left out and counted.
    """
    values: dict[str, Any] = {}
    notices: list[str] = []
    parts: dict[str, list[str]] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        parts.setdefault(name, []).append(text)
    fresh = ViewState()
    for name, texts in parts.items():
        if name not in fresh.fields():
            notices.append(f"The address has an unknown part '{clip(name)}'; it was ignored.")
            continue
        try:
            value = _READERS.get(name, _read_plain(fresh.parameter(name)))(texts, keys, notices)
            fresh.change({name: value})  # the parameter's own check: type, bounds, allowed values
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            notices.append(f"The address says {name}={clip(', '.join(texts))}, which means nothing here; ignored.")
        else:
            values[name] = value
    return values, notices


def name_page(values: Mapping[str, Any]) -> dict[str, Any]:
    """Add the page that an address without one means: the first page if it says nothing else, else that of old addresses."""
    return {"page": _UNNAMED_PAGE, **values} if values else {}


def clip(text: str, longest: int = 60) -> str:
    """Return a part of an address for a message: not too long."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _plain(value: Any, keys: Keys) -> list[str]:
    if isinstance(value, bool):
        return ["1" if value else "0"]
    return [str(part) for part in value] if isinstance(value, list) else [str(value)]


def _write_keys(value: Sequence[str], keys: Keys) -> list[str]:
    return [",".join(keys.short(key) for key in value)]


def _write_units(value: Sequence[str], keys: Keys) -> list[str]:
    return [",".join(unit if unit.startswith(_BUNDLE) else keys.short(unit) for unit in value)]


def _write_base(value: str, keys: Keys) -> list[str]:
    return [keys.short(value)]


def _write_filters(value: Sequence[Range], keys: Keys) -> list[str]:
    return [f"{_bound(low)}~{_bound(high)}~{metric}" for metric, low, high in value]


def _bound(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def _write_json(value: Mapping[str, Any], keys: Keys) -> list[str]:
    return [json.dumps(value, separators=(",", ":"), ensure_ascii=False)]


def _read_plain(field: param.Parameter) -> Callable[[list[str], Keys, list[str]], Any]:
    def read(texts: list[str], keys: Keys, notices: list[str]) -> Any:
        if isinstance(field, param.List):
            return texts
        if isinstance(field, param.Boolean):
            return {"1": True, "0": False}[texts[-1]]
        return int(texts[-1]) if isinstance(field, param.Integer) else texts[-1]

    return read


def _read_keys(texts: list[str], keys: Keys, notices: list[str]) -> list[str]:
    prefixes = [part for text in texts for part in text.split(",") if part]
    keys_ = [key for part in prefixes if (key := keys.full(part)) is not None]
    if len(keys_) < len(prefixes):
        missing = len(prefixes) - len(keys_)
        notices.append(f"{missing} of the {len(prefixes)} models in the address are not in these results.")
    return list(dict.fromkeys(keys_))


def _read_units(texts: list[str], keys: Keys, notices: list[str]) -> list[str]:
    """Bundles come and go with the models; one that is gone is passed over."""
    parts = [part for text in texts for part in text.split(",") if part]
    models = _read_keys([part for part in parts if not part.startswith(_BUNDLE)], keys, notices)
    return models + [part for part in parts if part.startswith(_BUNDLE)]


def _read_base(texts: list[str], keys: Keys, notices: list[str]) -> str:
    matches = _read_keys(texts[-1:], keys, notices)
    return matches[0] if matches else ""


def _read_filters(texts: list[str], keys: Keys, notices: list[str]) -> list[Range]:
    return [_range(*text.split("~", 2)) for text in texts]


def _range(low: str, high: str, metric: str) -> Range:
    return metric, _number(low), _number(high)


def _number(text: str) -> float | None:
    if text == "":
        return None
    if not math.isfinite(value := float(text)):
        raise ValueError(text)
    return value


def _read_budgets(texts: list[str], keys: Keys, notices: list[str]) -> dict[str, list[Range]]:
    raw = json.loads(texts[-1])
    return {
        str(name): [(str(metric), _json_bound(low), _json_bound(high)) for metric, low, high in filters]
        for name, filters in raw.items()
    }


def _json_bound(value: Any) -> float | None:
    return None if value is None else _number(str(float(value)))


def _read_refine(texts: list[str], keys: Keys, notices: list[str]) -> dict[str, list[str]]:
    return {str(name): [str(value) for value in values] for name, values in json.loads(texts[-1]).items()}


def _read_where(texts: list[str], keys: Keys, notices: list[str]) -> dict[str, str]:
    return {str(name): str(text) for name, text in json.loads(texts[-1]).items()}


_WRITERS: dict[str, Callable[[Any, Keys], list[str]]] = {
    "selected": _write_keys,
    "opened": _write_units,
    "closed": _write_units,
    "base": _write_base,
    "t_origin": _write_base,
    "card": _write_base,
    "where": _write_json,
    "filters": _write_filters,
    "budgets": _write_json,
    "refine": _write_json,
    "only": _write_json,
}
_READERS: dict[str, Callable[[list[str], Keys, list[str]], Any]] = {
    "selected": _read_keys,
    "opened": _read_units,
    "closed": _read_units,
    "base": _read_base,
    "t_origin": _read_base,
    "card": _read_base,
    "where": _read_where,
    "filters": _read_filters,
    "budgets": _read_budgets,
    "refine": _read_refine,
    "only": _read_refine,
}
