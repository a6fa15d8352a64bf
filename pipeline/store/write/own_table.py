"""Records with a table of their own: one declaration gives the record, the table and what its columns mean.

    @own_table("zeros", model_key="model")
    @dataclass(frozen=True, slots=True)
    class Zeros:
        '''Exact zeros among a model's weights.'''

        model_key: Annotated[str, "The model."]
        count: Annotated[int, "Number of weights that are exactly zero."]

The table is made when the first record is written. Beside the record's columns it has `fact`, a digest of the row, and
`recorded_at`. Records are never changed: another meaning of a column is another column, in a table of another name.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pipeline.store.schema import definition
from pipeline.store.write.table_map import KEY_COLUMN, TABLES, TableMap

R = TypeVar("R", bound=type)
_TYPES = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN", datetime: "TIMESTAMP", Mapping: "VARCHAR"}
"""Mappings are stored as JSON."""


def own_table(name: str, **refers: str) -> Callable[[R], R]:
    """Declare the table of a record, which is a frozen dataclass; its docstring becomes the table's comment.

    Args:
        name: of the table.
        refers: column -> table whose key its values are: `model`, `run`, `dataset`, `metric` or `device`.

    Raises:
        TypeError: if the name or a referred table does not suit, or a column has no type of SQL or no description.
    """

    def declare(record: R) -> R:
        others = {table.name for kind, table in TABLES.items() if _address(kind) != _address(record)}
        if not name.isidentifier() or name in others | definition.names():
            raise TypeError(
                f"{record.__name__}: the store has a table or view '{name}', or it is no name; choose another"
            )
        unknown = sorted(set(refers.values()) - KEY_COLUMN.keys())
        if unknown:
            raise TypeError(f"{record.__name__}: the store has no table '{unknown[0]}' to refer to")
        for kind in [kind for kind in TABLES if _address(kind) == _address(record)]:  # its module is loaded again
            del TABLES[kind]
        TABLES[record] = TableMap(
            name, recorded=True, refers=tuple(refers.items()), statements=_statements(name, record)
        )
        return record

    return declare


def _address(record: type) -> tuple[str, str]:
    return record.__module__, record.__qualname__


def _statements(name: str, record: type) -> tuple[str, ...]:
    columns = {
        column: _column(f"{record.__name__}.{column}", hint)
        for column, hint in get_type_hints(record, include_extras=True).items()
    }
    lines = [f"{column} {kind}" for column, (kind, _) in columns.items()]
    comments = {f"TABLE {name}": (record.__doc__ or "").strip().partition("\n")[0]}
    comments |= {f"COLUMN {name}.{column}": text for column, (_, text) in columns.items()}
    return (
        f"CREATE TABLE IF NOT EXISTS {name} "
        f"(fact UUID PRIMARY KEY, {', '.join(lines)}, recorded_at TIMESTAMP NOT NULL)",
        *(f"COMMENT ON {place} IS '{text.replace(chr(39), 2 * chr(39))}'" for place, text in comments.items()),
    )


def _column(place: str, hint: Any) -> tuple[str, str]:
    """The type in SQL, and the description."""
    if get_origin(hint) is not Annotated or not isinstance(hint.__metadata__[0], str):
        raise TypeError(f'{place}: give the column a description: Annotated[TYPE, "..."]')
    options = [hint.__origin__]
    if get_origin(hint.__origin__) in (Union, types.UnionType):
        options = list(get_args(hint.__origin__))
    plain = [get_origin(option) or option for option in options if option is not types.NoneType]
    if len(plain) != 1 or plain[0] not in _TYPES:
        raise TypeError(f"{place}: a column is one of {', '.join(kind.__name__ for kind in _TYPES)}, or that or None")
    return _TYPES[plain[0]] + ("" if types.NoneType in options else " NOT NULL"), hint.__metadata__[0]
