"""Origins of a view's columns: which of them are simply a column of a table, and of which.

Such a column means what the table's means, so it needs no description of its own. DuckDB parses the views; this module
follows the names through their common table expressions, joins and other views.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import duckdb

__all__ = ["Origin", "Origins", "view_origins"]

_PARSE = "SELECT json_serialize_sql(query, skip_null := true, skip_empty := true, skip_default := true) FROM (SELECT unnest(?) AS query)"
_TRANSPARENT = "any_value"
"""The aggregate whose result is a value of the column as it stands."""


class Origin(NamedTuple):
    """A column of a table."""

    table: str
    column: str


Origins = dict[str, Origin | None]
"""Column -> what it simply is; None: it is computed."""
_Relations = Mapping[str, Origins]
_Node = Mapping[str, Any]


def view_origins(
    db: duckdb.DuckDBPyConnection, tables: Mapping[str, list[str]], views: Mapping[str, str]
) -> dict[str, Origins]:
    """Return the origins of each view's columns.

    Args:
        db: any connection; nothing is read from its databases.
        tables: name -> its columns.
        views: name -> its query, in an order in which they can be made.

    Raises:
        LookupError: if this DuckDB writes parsed queries down in another way.
    """
    relations: dict[str, Origins] = {
        name: {column: Origin(name, column) for column in columns} for name, columns in tables.items()
    }
    texts = [text for (text,) in db.execute(_PARSE, [list(views.values())]).fetchall()]
    for name, text in zip(views, texts, strict=True):
        relations[name] = _query(json.loads(text)["statements"][0]["node"], relations)
    return {name: relations[name] for name in views}


def _query(node: _Node, relations: _Relations) -> Origins:
    for entry in node.get("cte_map", {}).get("map", []):
        relations = {**relations, entry["key"]: _query(entry["value"]["query_node"], relations)}
    if node["type"] == "RECURSIVE_CTE_NODE":
        return _query(node["left"], relations)
    if node["type"] == "SET_OPERATION_NODE":
        branches = [_query(child, relations) for child in node.get("children") or (node["left"], node["right"])]
        return {column: origin for branch in reversed(branches) for column, origin in branch.items()}
    return dict(_selected(node, _sources(node["from_table"], relations)))


def _selected(node: _Node, sources: _Relations) -> Iterator[tuple[str, Origin | None]]:
    """The columns of a SELECT."""
    for item in node["select_list"]:
        if item["class"] == "STAR":
            for columns in reversed(list(sources.values())):  # of columns that are joined by, the first is meant
                yield from columns.items()
            continue
        inner = item
        if item["class"] == "FUNCTION" and item["function_name"] == _TRANSPARENT:
            inner = item["arguments"][0]["expression"]
        if inner["class"] != "COLUMN_REF":
            yield item.get("alias", ""), None
            continue
        *source, column = inner["column_names"]
        places = [sources[source[0]]] if source and source[0] in sources else list(sources.values())
        yield item.get("alias", column), next((place[column] for place in places if column in place), None)


def _sources(node: _Node, relations: _Relations) -> dict[str, Origins]:
    """Name in the query -> columns, of everything that is selected from, in order."""
    if node["type"] == "JOIN":
        left = _sources(node["left"], relations)
        return left if node.get("join_type") in ("ANTI", "SEMI") else left | _sources(node["right"], relations)
    if node["type"] == "BASE_TABLE":
        return {node.get("alias", node["table_name"]): relations[node["table_name"]]}
    if node["type"] == "SUBQUERY":
        return {node.get("alias", ""): _query(node["subquery"]["node"], relations)}
    return {}  # of functions, all columns are computed
